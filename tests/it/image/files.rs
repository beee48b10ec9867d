//! The test data's pictures: the outcome of each one stands in `docs/images.md`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use pictor::image::{ImageConfig, ImagePreparer, ImageRule, decode};

use super::formats::{RULES, digest};
use crate::support::{root, test_data};

/// Set to write the table into `docs/images.md` instead of comparing it.
const UPDATE: &str = "PICTOR_UPDATE_DOCS";
const BEGIN: &str = "<!-- The table is written and checked by the test image::files. -->\n";

#[derive(serde::Deserialize)]
struct Golden {
    /// What Pillow reads under each of [`RULES`].
    files: BTreeMap<String, Vec<String>>,
}

fn golden() -> BTreeMap<String, Vec<String>> {
    let text = std::fs::read_to_string(root().join("tests/golden/images.json")).expect("images.json");
    serde_json::from_str::<Golden>(&text).expect("JSON").files
}

/// The folder of the test data, if its pictures are there.
pub(super) fn data_folder(test: &str) -> Option<PathBuf> {
    test_data("images", test).and_then(|images| images.parent().map(Path::to_owned))
}

/// Names in `folder` of the test data, sorted.
pub(super) fn names(data: &Path, folder: &str) -> Vec<String> {
    let entries = std::fs::read_dir(data.join(folder)).expect(folder);
    let names = entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8"));
    let mut names: Vec<String> =
        names.filter(|name| name != "LICENSE").map(|name| format!("{folder}/{name}")).collect();
    names.sort();
    names
}

/// What must decode: everything in `formats` but these, and seven of the hostile files.
const NOT_READ: [&str; 5] = ["avif_hopper.avif", "hopper.ppm", "la.tga", "lab.tif", "p_16.tga"];
const HOSTILE_BUT_VALID: [&str; 7] = [
    "broken_exif_dpi.jpg",
    "decompression_bomb_extents.gif",
    "first_frame_transparency.gif",
    "invalid-exif-without-x-resolution.jpg",
    "junk_jpeg_header.jpg",
    "no_palette.gif",
    "transparent_background_text.png",
];

#[test]
fn the_table_states_the_outcome_of_every_file() {
    let Some(data) = data_folder("the_table_states_the_outcome_of_every_file") else { return };
    let golden = golden();
    let mut table = String::from(
        "| file | outcome | size | largest and mean difference from Pillow, of 255 |\n|---|---|---|---|\n",
    );
    let mut wrong = Vec::new();
    for (folder, n_files) in [("images/formats", 27), ("images/hostile", 22)] {
        let names = names(&data, folder);
        assert_eq!(names.len(), n_files, "{folder}");
        for name in names {
            let bytes = std::fs::read(data.join(&name)).expect("readable");
            let found = RULES.map(|(rule, _)| digest(&bytes, rule));
            let base = name.rsplit('/').next().unwrap_or_default();
            let must_decode = match folder {
                "images/formats" => !NOT_READ.contains(&base),
                _ => HOSTILE_BUT_VALID.contains(&base),
            };
            if found.iter().any(|found| found.is_ok() != must_decode) {
                wrong.push(format!("{name}: {found:?}"));
            }
            table += &match &found[0] {
                Ok(text) => {
                    let is_equal =
                        found.iter().zip(&golden[&name]).all(|(found, expected)| found.as_ref() == Ok(expected));
                    if !is_equal {
                        wrong.push(format!("{name}: {found:?}, Pillow has {:?}", golden[&name]));
                    }
                    let size = text.split(' ').next().unwrap_or_default();
                    format!("| {name} | decoded | {size} | {} |\n", if is_equal { "0, 0" } else { "not equal" })
                }
                Err(error) => {
                    let reason = error.to_string();
                    format!("| {name} | refused: {} | — | — |\n", reason.trim_start_matches("media.data: "))
                }
            };
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    let path = root().join("docs/images.md");
    let page = std::fs::read_to_string(&path).expect("docs/images.md");
    let (text, _) = page.split_once(BEGIN).expect("the table's mark");
    let expected = format!("{text}{BEGIN}\n{table}");
    if std::env::var_os(UPDATE).is_some() {
        std::fs::write(&path, expected).expect("written");
    } else {
        assert_eq!(page, expected, "docs/images.md; {UPDATE}=1 writes it");
    }
}

/// Photographs by many encoders: all bytes as through Pillow's own libjpeg-turbo.
#[test]
fn photographs_equal_pillow() {
    let Some(data) = data_folder("photographs_equal_pillow") else { return };
    let golden = golden();
    let mut n_equal = 0;
    for folder in ["coco/images", "images/orientation"] {
        for name in names(&data, folder) {
            let bytes = std::fs::read(data.join(&name)).expect("readable");
            for ((rule, rule_name), expected) in RULES.iter().zip(&golden[&name]) {
                assert_eq!(digest(&bytes, *rule).as_ref(), Ok(expected), "{name} {rule_name}");
                n_equal += 1;
            }
        }
    }
    println!("{n_equal} photographs and rules equal Pillow byte for byte");
    assert!(n_equal >= 2 * (39 + 18), "{n_equal}");
}

/// The same scene stored in all eight orientations, and once without the tag.
///
/// The files were compressed again after they were turned. Through Pillow too, four of them differ from number 1 by 3.3 to 3.7
/// at full size; what a model sees of them does not.
#[test]
fn orientations_of_a_photograph_agree() {
    let Some(data) = data_folder("orientations_of_a_photograph_agree") else { return };
    let preparer = ImagePreparer::new(ImageConfig::CLIP, ImageRule::Pictor).expect("a preparer");
    let read = |set: &str, number: u32, rule| {
        let path = data.join(format!("images/orientation/{set}_{number}.jpg"));
        decode(&std::fs::read(path).expect("readable"), rule).expect("decodes")
    };
    let (mut worst, mut worst_prepared) = (0.0_f64, 0.0_f64);
    for set in ["Landscape", "Portrait"] {
        let upright = read(set, 1, ImageRule::Pictor);
        let prepared = preparer.fit(&upright);
        for number in 0..=8 {
            let other = read(set, number, ImageRule::Pictor);
            assert_eq!((other.width, other.height), (upright.width, upright.height), "{set} {number}");
            worst = worst.max(mean_difference(&other.data, &upright.data));
            worst_prepared = worst_prepared.max(mean_difference(&preparer.fit(&other).data, &prepared.data));
        }
        // The control: without turning, a mirrored photograph is another one.
        let mirrored = preparer.fit(&read(set, 2, ImageRule::Reference));
        assert!(mean_difference(&mirrored.data, &prepared.data) > 10.0, "{set}");
    }
    println!("orientations: worst mean difference {worst:.3} of 255, as a model sees them {worst_prepared:.3}");
    assert!(worst <= 4.0 && worst_prepared <= 3.0, "{worst} {worst_prepared}");
}

pub(super) fn mean_difference(a: &[u8], b: &[u8]) -> f64 {
    assert_eq!(a.len(), b.len());
    let sum: u64 = a.iter().zip(b).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
    sum as f64 / a.len() as f64
}
