//! The `embed` command's core.

use std::path::Path;

use pictor::Error;
use pictor::encode::Role;
use pictor::encode::offline::{EmbedRequest, embed};
use pictor::encode::registry::load;
use pictor::model::Precision;

use super::tiny::Tiny;
use super::{encode, pools, rows, settings};

fn request(tiny: &Tiny, out: &Path) -> EmbedRequest {
    EmbedRequest {
        model: tiny.folder.path.clone(),
        out: out.to_owned(),
        settings: settings(Precision::F32),
        ..EmbedRequest::default()
    }
}

#[test]
fn a_file_of_texts_becomes_a_file_of_vectors() {
    let (tiny, work) = (Tiny::new(), tempfile::tempdir().expect("temporary folder"));
    let (list, out) = (work.path().join("texts"), work.path().join("out.safetensors"));
    std::fs::write(&list, "red shoes\r\n\na b c d e f g h i j k l m n o p q\nfind").expect("write");
    let report = embed(&EmbedRequest { texts_from: Some(list), ..request(&tiny, &out) }).expect("embed");
    assert_eq!((report.texts, report.truncated, report.dimension), (4, 1, 32));
    let handle = load(&tiny.folder, &settings(Precision::F32), pools()).expect("load");
    let texts = ["red shoes", "", "a b c d e f g h i j k l m n o p q", "find"];
    let vectors = encode(&handle, &texts, Role::Document);
    let written = rows(&out, "texts");
    assert!(super::worst(&vectors, &written) > 1.0 - 1e-5);
    for vector in &written {
        let norm: f64 = vector.iter().map(|&number| f64::from(number).powi(2)).sum();
        assert!((norm - 1.0).abs() < 1e-6);
    }

    let list = work.path().join("texts.jsonl");
    std::fs::write(&list, "\"red shoes\"\n{\"text\": \"\"}\n").expect("write");
    embed(&EmbedRequest { texts_jsonl: Some(list), ..request(&tiny, &out) }).expect("embed");
    assert_eq!(rows(&out, "texts"), written[..2]);

    let list = work.path().join("none");
    std::fs::write(&list, "").expect("write");
    let report = embed(&EmbedRequest { texts_from: Some(list), ..request(&tiny, &out) }).expect("embed");
    assert_eq!((report.texts, rows(&out, "texts").len()), (0, 0));
}

#[test]
fn a_bad_input_leaves_nothing_behind() {
    let (tiny, work) = (Tiny::new(), tempfile::tempdir().expect("temporary folder"));
    let (list, out) = (work.path().join("list"), work.path().join("out.safetensors"));
    std::fs::write(&list, b"fine\n\xff\xfe\n").expect("write");
    let base = request(&tiny, &out);
    let error = embed(&EmbedRequest { texts_from: Some(list.clone()), ..base.clone() }).expect_err("not UTF-8");
    assert!(error.to_string().contains("list:2"), "{error}");
    let error = embed(&EmbedRequest { texts_jsonl: Some(list.clone()), ..base.clone() }).expect_err("no JSON");
    assert!(error.to_string().contains("list:1"), "{error}");
    std::fs::write(&list, b"a.png\n").expect("write");
    let error = embed(&EmbedRequest { images_from: Some(list), ..base.clone() }).expect_err("no images");
    assert!(matches!(error, Error::Unsupported(_)), "{error}");
    assert!(matches!(embed(&base), Err(Error::InvalidArgument { .. })));
    let absent = Some(work.path().join("absent"));
    assert!(matches!(embed(&EmbedRequest { texts_from: absent, ..base }), Err(Error::InvalidArgument { .. })));
    let left: Vec<_> =
        std::fs::read_dir(work.path()).expect("read").map(|entry| entry.expect("entry").file_name()).collect();
    assert_eq!(left, ["list"]);
}
