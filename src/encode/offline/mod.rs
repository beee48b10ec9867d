//! `pictor-server embed`: files of texts or pictures in, a safetensors file of vectors out, without a server.

mod lists;
mod output;

use std::path::PathBuf;
use std::sync::mpsc::sync_channel;
use std::time::Instant;

use rayon::iter::{IndexedParallelIterator, IntoParallelRefIterator, ParallelIterator};

use self::lists::{ImagePath, read_images, read_texts};
use self::output::write_vectors;
use super::batch;
use super::encoder::{Encoder, EncoderInput, Preprocessor, Role};
use super::settings::EncodeSettings;
use super::torch::{EncoderPlan, TorchEncoder};
use crate::image::ImageRule;
use crate::model::ModelFolder;
use crate::types::vector::UnitVector;
use crate::{Error, Result};

/// Pictures that are decoded together while as many are in the network.
const CHUNK_IMAGES: usize = 64;

/// What to embed and where to put it.
#[derive(Clone, Debug, Default)]
pub struct EmbedRequest {
    /// A model's or a revision's folder.
    pub model: PathBuf,
    /// One text a line.
    pub texts_from: Option<PathBuf>,
    /// One JSON string or `{"text": …}` a line.
    pub texts_jsonl: Option<PathBuf>,
    /// One image path a line.
    pub images_from: Option<PathBuf>,
    pub out: PathBuf,
    pub settings: EncodeSettings,
}

/// What was done.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct EmbedReport {
    pub encoder: String,
    pub fingerprint: String,
    pub space: String,
    pub device: String,
    pub dtype: &'static str,
    /// How pictures were prepared.
    pub preprocess: ImageRule,
    pub dimension: usize,
    pub texts: usize,
    /// Special tokens included.
    pub tokens: usize,
    /// Texts that were cut at the encoder's limit.
    pub truncated: usize,
    /// Tokens computed only to fill batches.
    pub padding: usize,
    pub images: usize,
    pub load_seconds: f64,
    /// Preparing and encoding.
    pub encode_seconds: f64,
}

/// Embeds texts, pictures or both; `out` appears whole or not at all.
///
/// # Errors
/// The first bad input, named by file and line; the model's errors; `StorageFull` if the file cannot be written.
pub fn embed(request: &EmbedRequest) -> Result<EmbedReport> {
    let folder = ModelFolder::at(&request.model)?;
    let texts = read_texts(request)?;
    let images = read_images(request)?;
    let started = Instant::now();
    let plan = EncoderPlan::read(&folder, &request.settings)?;
    let info = plan.info().clone();
    if request.images_from.is_some() && !info.encodes_image {
        return Err(Error::Unsupported(format!("encoding images with {}, a text encoder,", info.full_name())));
    }
    let mut encoder = plan.load()?;
    let load_seconds = started.elapsed().as_secs_f64();

    let started = Instant::now();
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(request.settings.threads.max(1))
        .build()
        .map_err(|error| Error::Internal(format!("no threads for preparing: {error}")))?;
    let inputs = tokenize(&plan, &texts, &pool)?;
    let costs: Vec<_> = inputs.iter().map(EncoderInput::cost).collect();
    let (text_vectors, padding) = encode_texts(&mut encoder, &inputs, &costs, plan.batch_tokens())?;
    let image_vectors = encode_images(&mut encoder, &plan, &images, &pool)?;
    let encode_seconds = started.elapsed().as_secs_f64();

    let mut tensors: Vec<(&str, &[UnitVector])> = Vec::new();
    if request.images_from.is_some() {
        tensors.push(("images", &image_vectors));
    }
    if request.texts_from.is_some() || request.texts_jsonl.is_some() {
        tensors.push(("texts", &text_vectors));
    }
    write_vectors(&request.out, &info, &tensors)?;
    let is_truncated = |input: &&EncoderInput| matches!(input, EncoderInput::Text(text) if text.is_truncated);
    Ok(EmbedReport {
        encoder: info.full_name(),
        fingerprint: info.fingerprint.clone(),
        space: info.space.clone(),
        device: info.device.clone(),
        dtype: info.dtype,
        preprocess: request.settings.image_rule,
        dimension: info.dimension,
        texts: texts.len(),
        tokens: costs.iter().sum(),
        truncated: inputs.iter().filter(is_truncated).count(),
        padding,
        images: images.len(),
        load_seconds,
        encode_seconds,
    })
}

fn tokenize(plan: &EncoderPlan, texts: &[String], pool: &rayon::ThreadPool) -> Result<Vec<EncoderInput>> {
    let preprocessor = plan.preprocessor();
    let tokenize = |(number, text): (usize, &String)| {
        preprocessor
            .text(text, Role::Document)
            .map_err(|error| Error::invalid(format!("text {}", number + 1), error.to_string()))
    };
    pool.install(|| texts.par_iter().enumerate().map(tokenize).collect())
}

/// Gives the vectors in order and the tokens of padding.
fn encode_texts(
    encoder: &mut TorchEncoder,
    inputs: &[EncoderInput],
    costs: &[usize],
    batch_tokens: usize,
) -> Result<(Vec<UnitVector>, usize)> {
    let mut vectors: Vec<Option<UnitVector>> = vec![None; inputs.len()];
    let mut padding = 0;
    for batch in batch::plan(costs, batch_tokens) {
        let encoded = encoder.encode(&batch.iter().map(|&position| &inputs[position]).collect::<Vec<_>>())?;
        padding += batch.iter().map(|&position| costs[batch[0]] - costs[position]).sum::<usize>();
        for (position, vector) in batch.into_iter().zip(encoded) {
            vectors[position] = Some(vector);
        }
    }
    Ok((vectors.into_iter().flatten().collect(), padding))
}

/// Decodes one chunk while the one before it is in the network.
fn encode_images(
    encoder: &mut TorchEncoder,
    plan: &EncoderPlan,
    images: &[ImagePath],
    pool: &rayon::ThreadPool,
) -> Result<Vec<UnitVector>> {
    let preprocessor = plan.preprocessor();
    let (sender, prepared) = sync_channel(1);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // Owned here, so that the receiver sees the end.
            let sender = sender;
            for chunk in images.chunks(CHUNK_IMAGES) {
                let chunk: Result<Vec<EncoderInput>> =
                    pool.install(|| chunk.par_iter().map(|image| prepare(&*preprocessor, image)).collect());
                let is_bad = chunk.is_err();
                if sender.send(chunk).is_err() || is_bad {
                    return;
                }
            }
        });
        let mut vectors = Vec::with_capacity(images.len());
        for chunk in prepared {
            let chunk = chunk?;
            let per_batch = (plan.batch_tokens() / chunk.first().map_or(1, EncoderInput::cost).max(1)).max(1);
            for batch in chunk.chunks(per_batch) {
                vectors.extend(encoder.encode(&batch.iter().collect::<Vec<_>>())?);
            }
        }
        Ok(vectors)
    })
}

fn prepare(preprocessor: &dyn Preprocessor, image: &ImagePath) -> Result<EncoderInput> {
    let named = |reason: String| Error::invalid(image.place.clone(), format!("{}: {reason}", image.path.display()));
    let file = std::fs::read(&image.path).map_err(|error| named(error.to_string()))?;
    preprocessor.image(&file).map_err(|error| named(error.to_string()))
}
