//! Every kind of file that Pillow writes, decoded as Pillow decodes it. `tests/golden/formats.py` makes the files.

use std::collections::{BTreeMap, HashMap};

use pictor::image::{ImageRule, decode};
use safetensors::SafeTensors;

use crate::support::root;

pub(super) const RULES: [(ImageRule, &str); 2] = [(ImageRule::Pictor, "pictor"), (ImageRule::Reference, "reference")];

/// The formats and how many files each has.
const FORMATS: [(&str, usize); 6] = [("bmp", 5), ("gif", 7), ("jpeg", 10), ("png", 34), ("tiff", 16), ("webp", 7)];

/// What Pillow reads and we refuse.
const REFUSED: [(&str, &str); 1] = [("tiff/jpeg-inside", "ModernJPEG is unsupported")];

pub(super) struct SmallFile {
    pub(super) name: String,
    pub(super) data: Vec<u8>,
    /// By rule: width, height and BLAKE3 of the pixels.
    expected: HashMap<String, String>,
}

/// The files of all formats.
pub(super) fn small_files() -> Vec<SmallFile> {
    let mut files = Vec::new();
    for (format, count) in FORMATS {
        let bytes = std::fs::read(root().join(format!("tests/golden/formats-{format}.safetensors"))).expect(format);
        let (_, header) = SafeTensors::read_metadata(&bytes).expect("a header");
        let metadata = header.metadata().as_ref().expect("metadata");
        let tensors = SafeTensors::deserialize(&bytes).expect("tensors");
        let before = files.len();
        for (name, tensor) in tensors.iter() {
            let expected =
                RULES.iter().map(|(_, rule)| ((*rule).to_owned(), metadata[&format!("{name}.{rule}")].clone()));
            let (name, data) = (format!("{format}/{name}"), tensor.data().to_vec());
            files.push(SmallFile { name, data, expected: expected.collect() });
        }
        assert_eq!(files.len() - before, count, "{format}");
    }
    files
}

/// As the golden files say it.
pub(super) fn digest(data: &[u8], rule: ImageRule) -> pictor::Result<String> {
    let pixels = decode(data, rule)?;
    Ok(format!("{}x{} {}", pixels.width, pixels.height, &blake3::hash(&pixels.data).to_hex()[..16]))
}

#[test]
fn every_format_equals_pillow() {
    let mut equal: BTreeMap<String, usize> = BTreeMap::new();
    let mut wrong = Vec::new();
    for file in small_files() {
        for (rule, rule_name) in RULES {
            let found = digest(&file.data, rule);
            let refusal = REFUSED.iter().find(|(name, _)| *name == file.name);
            match (&found, refusal) {
                (Ok(found), None) if *found == file.expected[rule_name] => {
                    *equal.entry(file.name.split('/').next().unwrap_or_default().to_owned()).or_default() += 1;
                }
                (Err(error), Some((_, reason))) if error.to_string().contains(reason) => {}
                _ => wrong.push(format!("{} {rule_name}: {found:?}, expected {}", file.name, file.expected[rule_name])),
            }
        }
    }
    println!("files and rules that equal Pillow byte for byte: {equal:?}");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The two rules must not be the same thing by accident.
#[test]
fn the_rules_differ_where_they_should() {
    let files = small_files();
    let differs = |name: &str| {
        let file = files.iter().find(|file| file.name == name).expect(name);
        file.expected["pictor"] != file.expected["reference"]
    };
    for name in [
        "png/rgba",
        "png/orientation-2",
        "webp/orientation-6",
        "jpeg/orientation-6",
        "png/wide-grey",
        "gif/clear-colour",
    ] {
        assert!(differs(name), "{name}");
    }
    for name in ["png/rgb", "jpeg/cmyk", "tiff/orientation-6"] {
        assert!(!differs(name), "{name}");
    }
}
