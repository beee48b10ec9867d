//! Pictures' files through encoders: the families' own preprocessing, bad files, more pictures than the queue has room for.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use pictor::encode::offline::{EmbedRequest, embed};
use pictor::encode::registry::load;
use pictor::encode::{EncodeSettings, EncoderHandle, Role};
use pictor::image::{ImageRule, Pixels};
use pictor::model::Precision;
use pictor::types::vector::UnitVector;
use pictor::{Error, Result};

use super::tower_models::{TOWERS, Tower, picture, towers_json};
use super::{block_on, cosine, golden_folder, pools, rows, settings};

/// A lossless file of a picture.
pub(crate) fn png(pixels: &Pixels) -> Vec<u8> {
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, pixels.width, pixels.height);
    encoder.set_color(png::ColorType::Rgb);
    let mut writer = encoder.write_header().expect("a header");
    writer.write_image_data(&pixels.data).expect("pixels");
    writer.finish().expect("an end");
    file
}

/// The pictures of `towers.json` that have sizes of their own.
fn files(folder: &Path) -> Vec<PathBuf> {
    let sizes: Vec<[u32; 2]> = serde_json::from_value(towers_json()["sizes"].clone()).expect("sizes");
    let write = |(number, [height, width]): (usize, [u32; 2])| {
        let path = folder.join(format!("{number}.png"));
        std::fs::write(&path, png(&picture(10 + number, height, width))).expect("write");
        path
    };
    sizes.into_iter().enumerate().map(write).collect()
}

fn embed_files(tower: &Tower, rule: ImageRule, folder: &Path) -> (Vec<Vec<f32>>, String) {
    let (list, out) = (folder.join("list"), folder.join("out.safetensors"));
    let lines: String = files(folder).iter().map(|path| format!("{}\n", path.display())).collect();
    std::fs::write(&list, lines).expect("write");
    let report = embed(&EmbedRequest {
        model: tower.folder.path.clone(),
        images_from: Some(list),
        out: out.clone(),
        settings: EncodeSettings { image_rule: rule, ..settings(Precision::F32) },
        ..EmbedRequest::default()
    });
    (rows(&out, "images"), report.expect("embed").fingerprint)
}

/// Fails when decoding, resizing, the crop's rounding, mean, deviation or the files that say so differ from the reference.
#[test]
fn files_agree_with_each_familys_own_code() {
    for name in TOWERS {
        let (tower, folder) = (Tower::new(name), tempfile::tempdir().expect("a folder"));
        let (found, reference_print) = embed_files(&tower, ImageRule::Reference, folder.path());
        let expected = rows(&golden_folder().join("towers.safetensors"), &format!("{name}.files"));
        let worst = found.iter().zip(&expected).map(|(a, b)| cosine(a, b)).fold(1.0, f64::min);
        println!("{name}: worst cosine from files {worst:.8}");
        assert!(worst >= 0.99999 && found.len() == expected.len(), "{name}: {worst:.8}");
        // Control: another picture's vector.
        assert!(cosine(&found[0], &expected[1]) < 0.999, "{name}");
        // Without alpha and orientation the two rules make the same pixels, but they are two rules.
        let (ours, our_print) = embed_files(&tower, ImageRule::Pictor, folder.path());
        assert_eq!(ours, found, "{name}");
        assert_ne!(our_print, reference_print, "{name}");
    }
}

#[test]
fn a_bad_file_stops_embedding_by_name() {
    let (tower, folder) = (Tower::new("clip"), tempfile::tempdir().expect("a folder"));
    let paths = files(folder.path());
    let (list, out) = (folder.path().join("list"), folder.path().join("out.safetensors"));
    let request = |third: &str| {
        std::fs::write(&list, format!("{}\n{}\n{third}\n", paths[0].display(), paths[1].display())).expect("write");
        let request = EmbedRequest {
            model: tower.folder.path.clone(),
            images_from: Some(list.clone()),
            out: out.clone(),
            settings: settings(Precision::F32),
            ..EmbedRequest::default()
        };
        embed(&request).expect_err(third).to_string()
    };
    let broken = folder.path().join("broken.png");
    std::fs::write(&broken, &std::fs::read(&paths[0]).expect("read")[..300]).expect("write");
    for (third, words) in
        [("absent.png", "absent.png"), (&broken.display().to_string(), "broken.png"), ("", "empty line")]
    {
        let error = request(third);
        assert!(error.contains("list:3") && error.contains(words), "{error}");
        assert!(!out.exists());
    }
}

fn clip(change: impl FnOnce(&mut EncodeSettings)) -> EncoderHandle {
    let mut settings = settings(Precision::F32);
    change(&mut settings);
    load(&Tower::new("clip").folder, &settings, pools()).expect("load")
}

fn encode_images(handle: &EncoderHandle, files: Vec<Vec<u8>>, role: Role) -> Result<Vec<Result<Arc<UnitVector>>>> {
    let made = block_on(handle.encode_images(files.into_iter().map(Bytes::from).collect(), role, None))?;
    Ok(made.into_iter().map(|made| Ok(made?.vector)).collect())
}

#[test]
fn a_bad_picture_fails_alone() {
    let handle = clip(|_| {});
    let good = |number| png(&picture(number, 40, 30));
    let truncated = good(3)[..200].to_vec();
    let files = vec![good(1), truncated, good(2), b"no picture".to_vec(), Vec::new()];
    let results = encode_images(&handle, files, Role::Document).expect("an answer");
    let alone = encode_images(&handle, vec![good(2)], Role::Query).expect("an answer").remove(0).expect("a vector");
    assert!(results[0].is_ok());
    assert!(cosine(&results[2].as_ref().expect("a vector").values, &alone.values) > 1.0 - 1e-5);
    for position in [1, 3, 4] {
        let error = results[position].as_ref().expect_err("a bad picture");
        assert!(matches!(error, Error::InvalidArgument { field, .. } if field == "media.data"), "{position}: {error}");
    }
    let text_only = super::minilm(Precision::F32);
    assert!(matches!(encode_images(&text_only, vec![good(1)], Role::Query), Err(Error::Unsupported(_))));
}

/// A request that is larger than the queue goes through in pieces; what comes when the queue is full is refused.
#[test]
fn many_pictures_go_through_a_small_queue() {
    let handle = clip(|settings| settings.queue_capacity = 40);
    let files: Vec<_> = (0..150).map(|number| png(&picture(number, 30, 30))).collect();
    let results = encode_images(&handle, files.clone(), Role::Document).expect("an answer");
    assert!(results.len() == 150 && results.iter().all(Result::is_ok));
    let alone = encode_images(&handle, vec![files[149].clone()], Role::Document).expect("an answer").remove(0);
    let found = &results[149].as_ref().expect("a vector").values;
    assert!(cosine(found, &alone.expect("a vector").values) > 1.0 - 1e-5);
    assert_eq!(handle.stats().queue_depth, 0, "every slot is given back");

    let outcomes: Vec<bool> = std::thread::scope(|scope| {
        let send = |_| {
            let (handle, files) = (&handle, files.clone());
            scope.spawn(move || match encode_images(handle, files, Role::Document) {
                Ok(results) => results.iter().all(Result::is_ok),
                Err(Error::Overloaded { retry_after, .. }) => !retry_after.is_zero(),
                Err(error) => panic!("{error}"),
            })
        };
        let threads: Vec<_> = (0..6).map(send).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    });
    assert!(outcomes.into_iter().all(|is_fine| is_fine));
    assert_eq!(handle.stats().queue_depth, 0, "every slot is given back");
}
