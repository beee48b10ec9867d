//! Files that torch 2.11 wrote, read to equal bits. `tests/golden/checkpoints.py` says what is in them.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use pictor::model::pickle::{NodeId, TorchFile, Value};
use pictor::types::Error;

use crate::support::root;

/// Kind, shape and BLAKE3 of tensors by name.
pub(super) type Described = BTreeMap<String, (String, Vec<usize>, String)>;

/// What `checkpoints.json` says.
#[derive(serde::Deserialize)]
pub(super) struct Golden {
    /// The tensors of each file.
    pub(super) files: BTreeMap<String, Described>,
    /// What open_clip computes with the CLIPs among the files.
    pub(super) clips: BTreeMap<String, Clip>,
    pub(super) texts: Vec<String>,
}

#[derive(serde::Deserialize)]
pub(super) struct Clip {
    /// The side of its pictures.
    pub(super) size: u32,
    pub(super) images: Vec<Vec<f32>>,
    pub(super) texts: Vec<Vec<f32>>,
}

pub(super) fn golden() -> Golden {
    let text = std::fs::read_to_string(root().join("tests/golden/checkpoints.json")).expect("checkpoints.json");
    serde_json::from_str(&text).expect("JSON")
}

/// A golden file's bytes, unpacked.
pub(super) fn bytes(name: &str) -> Vec<u8> {
    let bytes = std::fs::read(root().join("tests/golden").join(name)).expect(name);
    if !name.ends_with(".gz") {
        return bytes;
    }
    let mut unpacked = Vec::new();
    flate2::read::GzDecoder::new(&bytes[..]).read_to_end(&mut unpacked).expect("gzip");
    unpacked
}

/// A golden file, unpacked into a folder.
pub(super) fn unpack(folder: &Path, name: &str) -> PathBuf {
    let path = folder.join(name.trim_end_matches(".gz"));
    std::fs::write(&path, bytes(name)).expect("written");
    path
}

#[test]
fn files_of_torch_are_read_to_equal_bits() {
    let folder = tempfile::tempdir().expect("a folder");
    let golden = golden();
    let mut n_tensors = 0;
    for (name, expected) in &golden.files {
        let file = TorchFile::open(&unpack(folder.path(), name)).expect(name);
        let found = file.tensors(file.root()).expect(name);
        let found: Described = found
            .into_iter()
            .map(|(name, tensor)| {
                let hash = blake3::hash(&tensor.bytes).to_hex()[..16].to_owned();
                (name, (format!("{:?}", tensor.kind), tensor.shape, hash))
            })
            .collect();
        assert_eq!(&found, expected, "{name}");
        n_tensors += found.len();
    }
    println!("{} files, {n_tensors} tensors", golden.files.len());
    assert_eq!(golden.files.len(), 5);
}

#[test]
fn numbers_and_texts_are_read_beside_tensors() {
    for name in ["checkpoint.pt", "checkpoint.protocol4.pt"] {
        let file = TorchFile::open(&root().join("tests/golden").join(name)).expect(name);
        let entry = |name: &str| file.value(file.entry(file.root(), name).expect(name));
        assert_eq!(*entry("epoch"), Value::Int(3));
        assert_eq!(*entry("big"), Value::Int(-(1 << 40)));
        assert_eq!(*entry("huge"), Value::Int(1 << 62));
        assert_eq!(*entry("loss"), Value::Float(0.1));
        assert_eq!(*entry("name"), Value::Text("höhe 😀".into()));
        assert_eq!(
            [entry("yes"), entry("no"), entry("nothing")],
            [&Value::Bool(true), &Value::Bool(false), &Value::None]
        );
        let Value::List(items) = entry("lists") else { panic!("expected a list") };
        let kinds: Vec<_> = items.iter().map(|item: &NodeId| file.value(*item).kind()).collect();
        assert_eq!(kinds, ["a tensor", "a tuple"]);
        assert_eq!(file.entry(file.root(), "absent"), None);
    }
}

#[test]
fn what_is_no_file_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let pipe = folder.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().expect("mkfifo").success());
    for (path, word) in
        [(folder.path(), "expected a file"), (&pipe, "expected a file"), (&folder.path().join("none"), "No such")]
    {
        let refused = TorchFile::open(path).expect_err("no file").to_string();
        assert!(refused.contains(word) && refused.contains(&path.display().to_string()), "{refused}");
    }
}

#[test]
fn legacy_files_are_refused_with_a_way_out() {
    let refused = TorchFile::open(&root().join("tests/golden/checkpoint.legacy.pt")).expect_err("a legacy file");
    assert!(matches!(refused, Error::FailedPrecondition { reason: "CHECKPOINT_REFUSED", .. }), "{refused}");
    assert!(refused.to_string().contains("torch.load(path, weights_only=True)"), "{refused}");
}
