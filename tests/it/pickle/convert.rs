//! `models convert`: CLIP4Cir's and OpenAI's files become folders that load, with open_clip's vectors.

use std::path::{Path, PathBuf};
use std::process::Command;

use pictor::encode::torch::EncoderPlan;
use pictor::encode::{EncodeSettings, Encoder, EncoderInput, PreparedImage, Role};
use pictor::image::PadRule;
use pictor::model::card::Card;
use pictor::model::combiner::{self, CombinerConfig, CombinerFeatures};
use pictor::model::convert::{ConvertReport, ConvertRequest, ConvertedKind, convert};
use pictor::model::{Description, DeviceChoice, Precision, PrecisionChoice, folder, inspect};
use pictor::types::Error;

use super::golden::{Described, golden, unpack};
use crate::encoder::tower_models::{Tower, picture};
use crate::support::root;

const CLIP4CIR: &str = "checkpoint.clip4cir.pt.gz";
const SCRIPTED: &str = "checkpoint.scripted.pt.gz";
const COMBINER: &str = "checkpoint.combiner.pt.gz";

struct Place {
    root: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let root = tempfile::tempdir().expect("a folder");
        let text =
            std::fs::read_to_string(crate::support::root().join("tests/golden/towers.tokenizers.json")).expect("read");
        let tokenizers: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        std::fs::write(root.path().join("tokenizer.json"), tokenizers["clip"].to_string()).expect("written");
        Self { root }
    }

    fn models(&self) -> PathBuf {
        self.root.path().join("models")
    }

    fn tokenizer(&self) -> PathBuf {
        self.root.path().join("tokenizer.json")
    }

    fn request(&self, file: &str, name: &str) -> ConvertRequest {
        ConvertRequest {
            from: unpack(self.root.path(), file),
            models_dir: self.models(),
            name: name.to_owned(),
            kind: None,
            tokenizer: (file != COMBINER).then(|| self.tokenizer()),
            pad: None,
            has_gelu: false,
            combiner_space: None,
        }
    }
}

fn cosine(one: &[f32], other: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    dot(one, other) / (dot(one, one) * dot(other, other)).sqrt()
}

/// The worst cosine between what the folder computes and what open_clip did, for pictures and texts of one golden CLIP.
fn compare(models: &Path, name: &str, clip: &str) -> f64 {
    let golden = golden();
    let clip = &golden.clips[clip];
    let settings = EncodeSettings {
        device: DeviceChoice::Cpu,
        dtype: PrecisionChoice::Exactly(Precision::F32),
        ..EncodeSettings::default()
    };
    let plan = EncoderPlan::read(&folder::resolve(models, name).expect(name), &settings).expect("a plan");
    let mut encoder = plan.load().expect("loads");
    let images = (0..2).map(|number| {
        EncoderInput::Image(PreparedImage {
            pixels: picture(number, clip.size, clip.size),
            tokens: 5,
            perceptual_hash: 0,
        })
    });
    let texts = golden.texts.iter().map(|text| plan.preprocessor().text(text, Role::Query).expect("tokens"));
    let inputs: Vec<EncoderInput> = images.chain(texts).collect();
    let found = encoder.encode(&inputs.iter().collect::<Vec<_>>()).expect("vectors");
    let expected: Vec<_> = clip.images.iter().chain(&clip.texts).collect();
    assert_eq!(found.len(), expected.len());
    // Vectors of pictures may all lie near each other; what tells two of them apart is compared, too.
    let differ = |one: &[f32], other: &[f32]| one.iter().zip(other).map(|(one, other)| one - other).collect::<Vec<_>>();
    let found: Vec<Vec<f32>> =
        found.iter().map(|vector| vector.values.iter().map(|value| value * vector.norm).collect()).collect();
    let apart = cosine(&differ(&found[0], &found[1]), &differ(expected[0], expected[1]));
    assert!(apart > 0.999, "{name}: {apart}");
    found.iter().zip(expected).map(|(found, expected)| cosine(found, expected)).fold(1.0, f64::min)
}

/// Kind, shape and BLAKE3 of each tensor of a safetensors file.
fn tensors(path: &Path) -> Described {
    let bytes = std::fs::read(path).expect("readable");
    let file = safetensors::SafeTensors::deserialize(&bytes).expect("safetensors");
    let described = |(name, view): (String, safetensors::tensor::TensorView<'_>)| {
        let hash = blake3::hash(view.data()).to_hex()[..16].to_owned();
        (name, (format!("{:?}", view.dtype()), view.shape().to_vec(), hash))
    };
    file.tensors().into_iter().map(described).collect()
}

/// What torch wrote below a key of the golden file.
fn golden_tensors(file: &str, prefix: &str, left_out: &[&str]) -> Described {
    let all = golden().files.remove(file).expect(file);
    let inside = all.into_iter().filter_map(|(name, tensor)| Some((name.strip_prefix(prefix)?.to_owned(), tensor)));
    inside.filter(|(name, _)| !left_out.contains(&name.as_str())).collect()
}

fn assert_sound(models: &Path, report: &ConvertReport) {
    let model = folder::resolve(models, &report.name).expect("current");
    assert_eq!((&model.revision, &model.path), (&report.revision, &report.path));
    let verified = inspect::verify(&model).expect("verified");
    assert_eq!((verified.problems, verified.extra_files), (Vec::new(), Vec::new()));
    assert_eq!(verified.fingerprint.as_deref(), Some(report.fingerprint.as_str()));
    assert_eq!(report.revision, format!("t{}", &report.fingerprint[..12]));
    assert_eq!(inspect::inspect(&model).expect("inspected").space, report.space);
}

#[test]
fn clip4cir_s_clip_loads_with_equal_vectors() {
    let place = Place::new();
    let report = convert(&place.request(CLIP4CIR, "fashion")).expect("converted");
    assert_eq!((report.kind, report.dimension), (ConvertedKind::Clip, 6));
    assert_sound(&place.models(), &report);
    let found = tensors(&report.path.join("open_clip_model.safetensors"));
    assert_eq!(found, golden_tensors(CLIP4CIR, "CLIP.", &["attn_mask"]));
    assert_eq!(found.len(), report.tensors);
    let worst = compare(&place.models(), "fashion", "resnet");
    println!("CLIP4Cir's CLIP with a ResNet: worst cosine {worst:.8}");
    assert!(worst >= 0.99999, "{worst}");
    let model = folder::resolve(&place.models(), "fashion").expect("current");
    let description = Description::read(&model, pictor::image::ImageRule::Pictor).expect("readable");
    let image = description.sides.image.expect("pictures").config;
    assert_eq!((image.pad, image.output_size()), (Some(PadRule::TARGET), Some((64, 64))));
    let card = Card::read(&report.path).expect("a card");
    assert_eq!(card.rest["converted"]["from"], "checkpoint.clip4cir.pt");
    // Once more is the same revision.
    let again = convert(&place.request(CLIP4CIR, "fashion")).expect("converted");
    assert_eq!(again, report);
    // GELU is not its approximation.
    let gelu = ConvertRequest { has_gelu: true, ..place.request(CLIP4CIR, "gelu") };
    convert(&gelu).expect("converted");
    let unlike = compare(&place.models(), "gelu", "resnet");
    assert!(unlike < 0.99999, "{unlike}");
    // Other margins are another model.
    let square = ConvertRequest { pad: Some(Some(PadRule::Square)), ..place.request(CLIP4CIR, "fashion") };
    let square = convert(&square).expect("converted");
    assert_ne!(square.space, report.space);
    assert_eq!(folder::resolve(&place.models(), "fashion").expect("current").revision, report.revision);
}

#[test]
fn an_archive_of_torch_script_loads_with_equal_vectors() {
    let place = Place::new();
    let report = convert(&place.request(SCRIPTED, "open-ai")).expect("converted");
    let left_out = ["attn_mask", "context_length", "input_resolution", "vocab_size"];
    assert_eq!((report.kind, &report.left_out[..]), (ConvertedKind::Clip, &left_out.map(str::to_owned)[..]));
    assert_sound(&place.models(), &report);
    let found = tensors(&report.path.join("open_clip_model.safetensors"));
    assert_eq!(found, golden_tensors(SCRIPTED, "", &left_out));
    let worst = compare(&place.models(), "open-ai", "transformer");
    println!("a TorchScript archive with a transformer: worst cosine {worst:.8}");
    assert!(worst >= 0.99999, "{worst}");
    let model = folder::resolve(&place.models(), "open-ai").expect("current");
    let description = Description::read(&model, pictor::image::ImageRule::Pictor).expect("readable");
    assert_eq!(description.sides.image.expect("pictures").config.pad, None);
}

#[test]
fn a_combiner_becomes_a_composer_s_folder() {
    let place = Place::new();
    let encoder = convert(&place.request(CLIP4CIR, "fashion")).expect("converted");
    let request = ConvertRequest { combiner_space: Some("fashion".to_owned()), ..place.request(COMBINER, "mixer") };
    let report = convert(&request).expect("converted");
    assert_eq!((report.kind, report.dimension, &report.space), (ConvertedKind::Combiner, 6, &encoder.space));
    assert_sound(&place.models(), &report);
    let expected = CombinerConfig {
        model_type: "clip4cir_combiner".to_owned(),
        dimension: 6,
        projection_dim: 24,
        hidden_dim: 48,
        space: encoder.space.clone(),
        encoder: format!("fashion@{}", encoder.revision),
        features: CombinerFeatures::Raw,
    };
    assert_eq!(combiner::check(&report.path).expect("sound"), expected);
    assert_eq!(tensors(&report.path.join("model.safetensors")), golden_tensors(COMBINER, "Combiner.", &[]));
    // A combiner is no encoder, and damage is seen.
    let model = folder::resolve(&place.models(), "mixer").expect("current");
    assert!(Description::read(&model, pictor::image::ImageRule::Pictor).is_err());
    let path = report.path.join("model.safetensors");
    let mut bytes = std::fs::read(&path).expect("readable");
    *bytes.last_mut().expect("bytes") ^= 1;
    std::fs::write(&path, bytes).expect("written");
    assert_eq!(inspect::verify(&model).expect("verified").problems.len(), 2);
}

#[test]
fn what_does_not_fit_is_named_and_leaves_nothing() {
    let place = Place::new();
    let tower = Tower::new("clip");
    let refuse = |request: &ConvertRequest, field: &str, word: &str| match convert(request) {
        Err(Error::InvalidArgument { field: found, message }) if found == field => {
            assert!(message.contains(word), "{message}");
        }
        other => panic!("{field}: {other:?}"),
    };
    let no_tokenizer = ConvertRequest { tokenizer: None, ..place.request(CLIP4CIR, "a") };
    refuse(&no_tokenizer, "tokenizer", "--tokenizer");
    let gone = ConvertRequest { tokenizer: Some("/nowhere".into()), ..place.request(CLIP4CIR, "a") };
    refuse(&gone, "tokenizer", "/nowhere");
    let other_kind = ConvertRequest { kind: Some(ConvertedKind::Combiner), ..place.request(CLIP4CIR, "a") };
    refuse(&other_kind, "kind", "Clip");
    refuse(&place.request(CLIP4CIR, "../a"), "name", "a name is");
    let with_space = ConvertRequest { combiner_space: Some("clip".to_owned()), ..place.request(CLIP4CIR, "a") };
    refuse(&with_space, "kind", "--combiner-space");
    refuse(&place.request(COMBINER, "a"), "combiner-space", "--combiner-space");
    let padded =
        ConvertRequest { pad: Some(None), combiner_space: Some("clip".to_owned()), ..place.request(COMBINER, "a") };
    refuse(&padded, "kind", "--pad");
    // An encoder of another dimension.
    let other = ConvertRequest {
        combiner_space: Some("clip".to_owned()),
        models_dir: tower.models().to_owned(),
        ..place.request(COMBINER, "a")
    };
    refuse(&other, "combiner-space", "vectors of 6 numbers, but clip@r1 has 20");
    // A tokenizer of too many tokens, and one that is none.
    let tokenizer = root().join(".deps/models/all-minilm-l6-v2");
    let revision = folder::current_revision(&tokenizer).expect("readable").expect("current");
    let large = ConvertRequest {
        tokenizer: Some(tokenizer.join(revision).join("tokenizer.json")),
        ..place.request(CLIP4CIR, "a")
    };
    let none = ConvertRequest {
        tokenizer: Some(place.root.path().join("checkpoint.clip4cir.pt")),
        ..place.request(CLIP4CIR, "a")
    };
    let nothing_to_convert = place.request("checkpoint.pt", "a");
    for (request, word) in [(&large, "30522"), (&none, "does not load"), (&nothing_to_convert, "expected a CLIP")] {
        match convert(request) {
            Err(Error::FailedPrecondition { reason: "CHECKPOINT_REFUSED", message }) => {
                assert!(message.contains(word), "{message}")
            }
            other => panic!("{word}: {other:?}"),
        }
    }
    let left: Vec<_> = std::fs::read_dir(place.models()).expect("a folder").collect();
    assert!(left.is_empty(), "{left:?}");
    assert_eq!(folder::list(tower.models()).expect("readable").len(), 1);
}

#[test]
fn the_command_converts_lists_and_verifies() {
    let place = Place::new();
    let run = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_pictor-server"))
            .arg("models")
            .args(arguments)
            .env("PICTOR_MODELS_DIR", place.models())
            .output()
            .expect("a command");
        let said = String::from_utf8_lossy(if output.status.success() { &output.stdout } else { &output.stderr });
        (output.status.success(), said.into_owned())
    };
    let clip = unpack(place.root.path(), CLIP4CIR);
    let combiner = unpack(place.root.path(), COMBINER);
    let (clip, combiner) = (clip.to_str().expect("a path"), combiner.to_str().expect("a path"));
    let tokenizer = place.tokenizer();
    let tokenizer = tokenizer.to_str().expect("a path");
    let (is_done, said) = run(&["convert", "--from", clip, "--name", "fashion"]);
    assert!(!is_done && said.contains("--tokenizer"), "{said}");
    let (is_done, said) =
        run(&["convert", "--from", clip, "--name", "fashion", "--tokenizer", tokenizer, "--pad", "target:1.5"]);
    assert!(is_done && said.contains(r#""kind":"clip""#), "{said}");
    let (is_done, said) = run(&["convert", "--from", combiner, "--name", "mixer", "--combiner-space", "fashion"]);
    assert!(is_done && said.contains(r#""kind":"combiner""#), "{said}");
    for name in ["fashion", "mixer"] {
        let (is_done, said) = run(&["verify", name]);
        assert!(is_done, "{said}");
        let (is_done, said) = run(&["inspect", name]);
        assert!(
            is_done && said.contains(if name == "mixer" { "clip4cir_combiner" } else { r#""ratio":1.5"# }),
            "{said}"
        );
    }
    let (is_done, said) = run(&["list"]);
    assert!(is_done && said.lines().count() == 2, "{said}");
}
