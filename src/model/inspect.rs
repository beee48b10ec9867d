//! What `models list`, `models inspect` and `models verify` say.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use tch::{Device, Kind};

use super::card::Card;
use super::combiner::{self, CombinerConfig};
use super::files::{self, Comparison};
use super::pooling::Pooling;
use super::sides::Padding;
use super::{Description, ModelFolder, card, folder};
use crate::Result;
use crate::image::{ImageConfig, ImageRule};
use crate::text::Cleaning;

/// One line of `models list`.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct ModelLine {
    pub name: String,
    pub revision: String,
    /// True if a bare NAME means this revision.
    pub is_current: bool,
    pub path: PathBuf,
}

/// What a model is.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct ModelReport {
    pub name: String,
    pub revision: String,
    pub path: PathBuf,
    pub architecture: &'static str,
    pub fingerprint: String,
    pub space: String,
    pub dimension: usize,
    pub text: Option<TextReport>,
    pub image: Option<ImageConfig>,
    /// Numbers in all tensors of the weights files.
    pub parameters: u64,
    /// Bytes by path inside the folder.
    pub files: BTreeMap<String, u64>,
    pub card: Card,
}

/// How a model takes texts.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct TextReport {
    pub max_tokens: usize,
    pub padding: Padding,
    pub cleaning: Cleaning,
    /// Of sentence encoders.
    pub pooling: Option<Pooling>,
    pub prompts: BTreeMap<String, String>,
}

/// What is wrong with a model, if anything.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct VerifyReport {
    pub name: String,
    pub revision: String,
    /// Absent if the model cannot be read.
    pub fingerprint: Option<String>,
    /// Files whose hash was compared with the card's.
    pub files_checked: usize,
    /// Files that the card does not name.
    pub extra_files: Vec<String>,
    /// Empty if the model is sound.
    pub problems: Vec<String>,
}

/// Lists every revision of every model.
///
/// # Errors
/// `Unavailable` if the folder cannot be read.
pub fn list(models_dir: &Path) -> Result<Vec<ModelLine>> {
    let line = |model: ModelFolder| {
        let current = folder::current_revision(&models_dir.join(&model.name)).ok().flatten();
        let is_current = current.as_ref() == Some(&model.revision);
        ModelLine { name: model.name, revision: model.revision, is_current, path: model.path }
    };
    Ok(folder::list(models_dir)?.into_iter().map(line).collect())
}

/// Describes a model.
///
/// # Errors
/// `FailedPrecondition` or `Unsupported` naming the file at fault.
pub fn inspect(model: &ModelFolder) -> Result<ModelReport> {
    if combiner::is_combiner(&model.path) {
        return inspect_combiner(model);
    }
    let description = Description::read(model, ImageRule::default())?;
    let parameters = description.parameters()?;
    let files = files::list(&model.path)?;
    Ok(ModelReport {
        name: model.name.clone(),
        revision: model.revision.clone(),
        path: model.path.clone(),
        architecture: description.architecture.model_type,
        fingerprint: description.fingerprint,
        space: description.space,
        dimension: description.sides.dimension,
        text: description.sides.text.map(|text| TextReport {
            max_tokens: text.max_tokens,
            padding: text.padding,
            cleaning: text.cleaning,
            pooling: text.sentence.as_ref().map(|sentence| sentence.pooling),
            prompts: text.sentence.map(|sentence| sentence.prompts).unwrap_or_default(),
        }),
        image: description.sides.image.map(|image| image.config),
        parameters,
        files,
        card: description.card,
    })
}

/// A composer takes neither texts nor pictures, but their vectors.
fn inspect_combiner(model: &ModelFolder) -> Result<ModelReport> {
    let config = CombinerConfig::read(&model.path)?;
    let parameters = config.shapes().iter().map(|(_, shape)| shape.iter().product::<i64>() as u64).sum();
    Ok(ModelReport {
        name: model.name.clone(),
        revision: model.revision.clone(),
        path: model.path.clone(),
        architecture: combiner::MODEL_TYPE,
        fingerprint: combiner::fingerprint(&model.path)?,
        space: config.space,
        dimension: config.dimension,
        text: None,
        image: None,
        parameters,
        files: files::list(&model.path)?,
        card: Card::read(&model.path)?,
    })
}

/// Hashes a model's files, compares them with its card where it has one, and loads it once.
///
/// # Errors
/// `FailedPrecondition` if the folder cannot even be listed; everything else is a problem in the report.
pub fn verify(model: &ModelFolder) -> Result<VerifyReport> {
    let Comparison { n_checked, mut problems, extra } = files::compare(&model.path, &Card::read(&model.path)?)?;
    let (fingerprint, faults) = if combiner::is_combiner(&model.path) {
        let faults = combiner::check(&model.path).err().map(|error| error.to_string());
        (combiner::fingerprint(&model.path).ok(), faults.into_iter().collect())
    } else {
        match Description::read(model, ImageRule::default()) {
            Ok(description) => (Some(description.fingerprint.clone()), loading_problems(&description)),
            Err(error) => (None, vec![error.to_string()]),
        }
    };
    problems.extend(faults);
    let (name, revision) = (model.name.clone(), model.revision.clone());
    Ok(VerifyReport { name, revision, fingerprint, files_checked: n_checked, extra_files: extra, problems })
}

fn loading_problems(description: &Description) -> Vec<String> {
    let mut problems = Vec::new();
    if let Some(expected) = &description.card.fingerprint
        && *expected != description.fingerprint
    {
        problems.push(format!("fingerprint: {} says {expected}, found {}", card::FILE, description.fingerprint));
    }
    problems.extend(description.tokenizer().err().map(|error| error.to_string()));
    problems.extend(description.network(Kind::Float, Device::Cpu).err().map(|error| error.to_string()));
    problems
}
