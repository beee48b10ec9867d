//! The encoder that runs on libtorch.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;

use tch::{Device, Kind, Tensor};

use super::encoder::{Encoder, EncoderInfo, EncoderInput, PreparedImage, Preprocessor, TokenizedText};
use super::preprocess::{ModelPreprocessor, TextPreparer};
use super::settings::EncodeSettings;
use super::worker::panic_message;
use crate::model::device::device_name;
use crate::model::observer::Unobserved;
use crate::model::pooling::Span;
use crate::model::sides::{ImageSide, Padding, TextSide};
use crate::model::{Description, ModelFolder, Network, Precision, TextBatch};
use crate::types::vector::UnitVector;
use crate::{Error, Result};

/// Tokens of one batch where the operator sets none. On two cores a batch of 2,048 tokens keeps its states in the cache,
/// is as fast as larger ones and makes a query that comes behind it wait less.
const BATCH_TOKENS_CPU: usize = 2048;
const BATCH_TOKENS_CUDA: usize = 32_768;

/// Everything about an encoder but its network.
pub struct EncoderPlan {
    description: Description,
    device: Device,
    precision: Precision,
    info: Arc<EncoderInfo>,
    preprocessor: Arc<ModelPreprocessor>,
    threads: usize,
    batch_tokens: usize,
}

impl EncoderPlan {
    /// Reads the folder and settles on device and precision.
    ///
    /// # Errors
    /// `FailedPrecondition` or `Unsupported` naming the file at fault; errors of the device.
    pub fn read(folder: &ModelFolder, settings: &EncodeSettings) -> Result<Self> {
        let device = settings.device.resolve()?;
        let precision = settings.dtype.resolve(device)?;
        let description = Description::read(folder, settings.image_rule)?;
        let (text, image) = (description.sides.text.as_ref(), description.sides.image.as_ref());
        let sentence = text.and_then(|text| text.sentence.as_ref());
        let max_tokens = text.map_or(0, |text| text.max_tokens);
        let preparer =
            description.tokenizer()?.map(|tokenizer| TextPreparer::new(tokenizer, sentence, max_tokens)).transpose()?;
        let preprocessor = ModelPreprocessor::new(
            folder.full_name(),
            preparer,
            image.cloned(),
            settings.image_rule,
            settings.decode_budget.clone(),
        )?;
        let info = Arc::new(EncoderInfo {
            name: folder.name.clone(),
            revision: folder.revision.clone(),
            architecture: description.architecture.model_type.to_owned(),
            fingerprint: description.fingerprint.clone(),
            space: description.space.clone(),
            dimension: description.sides.dimension,
            encodes_text: text.is_some(),
            encodes_image: image.is_some(),
            max_tokens,
            image_size: image.map(|image| (image.height, image.width)),
            dtype: precision.name(),
            device: device_name(device),
            prompts: sentence.map(|sentence| sentence.prompts.clone()).unwrap_or_default(),
        });
        let batch_tokens = match (settings.batch_tokens, device) {
            (0, Device::Cuda(_)) => BATCH_TOKENS_CUDA,
            (0, _) => BATCH_TOKENS_CPU,
            (tokens, _) => tokens,
        };
        let threads = settings.threads.max(1);
        Ok(Self { description, device, precision, info, preprocessor: Arc::new(preprocessor), threads, batch_tokens })
    }

    #[must_use]
    pub fn info(&self) -> &Arc<EncoderInfo> {
        &self.info
    }

    #[must_use]
    pub fn preprocessor(&self) -> Arc<dyn Preprocessor> {
        self.preprocessor.clone()
    }

    /// Bytes that the weights take in memory.
    ///
    /// # Errors
    /// `FailedPrecondition` naming the file at fault.
    pub fn weight_bytes(&self) -> Result<u64> {
        Ok(self.description.parameters()? * self.precision.kind().elt_size_in_bytes() as u64)
    }

    /// Tokens of one batch, padding included.
    #[must_use]
    pub const fn batch_tokens(&self) -> usize {
        self.batch_tokens
    }

    /// Builds the network; may be repeated after a failure. Sets libtorch's thread count, which is the process's.
    ///
    /// # Errors
    /// `FailedPrecondition` naming the tensor at fault.
    pub fn load(&self) -> Result<TorchEncoder> {
        tch::set_num_threads(i32::try_from(self.threads).unwrap_or(i32::MAX));
        let (kind, device) = (self.precision.kind(), self.device);
        let network = self.description.network(kind, device)?;
        let sides = &self.description.sides;
        let scale = sides.image.as_ref().map(|image| Scale::new(image, device));
        Ok(TorchEncoder { network, text: sides.text.clone(), scale, kind, device, info: self.info.clone() })
    }
}

/// A model in libtorch.
pub struct TorchEncoder {
    info: Arc<EncoderInfo>,
    network: Network,
    text: Option<TextSide>,
    scale: Option<Scale>,
    kind: Kind,
    device: Device,
}

impl Encoder for TorchEncoder {
    fn info(&self) -> &EncoderInfo {
        &self.info
    }

    fn encode(&mut self, inputs: &[&EncoderInput]) -> Result<Vec<UnitVector>> {
        let (mut texts, mut images) = (Vec::new(), Vec::new());
        for input in inputs {
            match input {
                EncoderInput::Text(text) => texts.push(text),
                EncoderInput::Image(image) => images.push(image),
            }
        }
        let texts = halving(&texts, &|texts| self.encode_texts(texts))?;
        let images = halving(&images, &|images| self.encode_images(images))?;
        let (mut texts, mut images) = (texts.into_iter(), images.into_iter());
        let next = |input: &&EncoderInput| match input {
            EncoderInput::Text(_) => texts.next(),
            EncoderInput::Image(_) => images.next(),
        };
        Ok(inputs.iter().filter_map(next).collect())
    }
}

impl TorchEncoder {
    fn encode_texts(&self, texts: &[&TokenizedText]) -> Result<Vec<UnitVector>> {
        let (Some(tower), Some(side)) = (&self.network.text, &self.text) else {
            return Err(Error::Internal(format!("{} was given texts", self.info.full_name())));
        };
        let _no_gradients = tch::no_grad_guard();
        self.vectors(&tower.embed(&text_batch(texts, side, self.kind, self.device), &mut Unobserved))
    }

    fn encode_images(&self, images: &[&PreparedImage]) -> Result<Vec<UnitVector>> {
        let (Some(tower), Some(scale)) = (&self.network.image, &self.scale) else {
            return Err(Error::Internal(format!("{} was given pictures", self.info.full_name())));
        };
        let _no_gradients = tch::no_grad_guard();
        let pixels = scale.batch(images, self.device)?.to_kind(self.kind);
        self.vectors(&tower.embed(&pixels, &mut Unobserved))
    }

    /// Reads `[batch, dimension]` and normalises each row.
    fn vectors(&self, embeddings: &Tensor) -> Result<Vec<UnitVector>> {
        let values = Vec::<f32>::try_from(embeddings.to_device(Device::Cpu).contiguous().view(-1))
            .map_err(|error| Error::Internal(format!("the network's output cannot be read: {error}")))?;
        let normalise = |vector: &[f32]| {
            UnitVector::normalise(vector.to_vec())
                .map_err(|error| Error::Internal(format!("the network gave a vector without direction: {error}")))
        };
        values.chunks_exact(self.info.dimension).map(normalise).collect()
    }
}

/// Texts as a tower takes them: padded to the longest, or to what the side asks for.
#[must_use]
pub fn text_batch(texts: &[&TokenizedText], side: &TextSide, kind: Kind, device: Device) -> TextBatch {
    let (length, padding_id) = match side.padding {
        Padding::Full { id } => (side.max_tokens, id),
        // Hidden, so any id will do that is not the largest, by which CLIP finds a text's end.
        Padding::Masked | Padding::Causal => (texts.iter().map(|text| text.ids.len()).max().unwrap_or_default(), 0),
    };
    let shape = [texts.len() as i64, length as i64];
    let padded = |text: &&TokenizedText| {
        let padding = std::iter::repeat_n(padding_id, length - text.ids.len());
        text.ids.iter().copied().chain(padding).map(i64::from).collect::<Vec<_>>()
    };
    let ids: Vec<i64> = texts.iter().flat_map(padded).collect();
    let spans: Vec<_> = texts.iter().map(|text| Span { start: text.prompt_tokens, end: text.ids.len() }).collect();
    let needs_mask = side.padding == Padding::Masked && texts.iter().any(|text| text.ids.len() < length);
    let mask = needs_mask.then(|| {
        let is_padding =
            |end: usize| (0..length).map(move |position| if position < end { 0.0 } else { f32::NEG_INFINITY });
        let mask: Vec<f32> = spans.iter().flat_map(|span| is_padding(span.end)).collect();
        Tensor::from_slice(&mask).view([shape[0], 1, 1, shape[1]]).to_device(device).to_kind(kind)
    });
    let ids = Tensor::from_slice(&ids).view(shape).to_device(device);
    TextBatch { ids, mask, spans }
}

/// A model's mean and deviation, on its device.
struct Scale {
    height: u32,
    width: u32,
    mean: Tensor,
    std: Tensor,
}

impl Scale {
    fn new(side: &ImageSide, device: Device) -> Self {
        let (height, width) = (side.height, side.width);
        let channels = |values: &[f32; 3]| Tensor::from_slice(values).view([1, 3, 1, 1]).to_device(device);
        Self { height, width, mean: channels(&side.config.mean), std: channels(&side.config.std) }
    }

    /// Gives float32 `[batch, 3, height, width]`, normalised. Bytes travel to the device, a quarter of what floats would be.
    fn batch(&self, images: &[&PreparedImage], device: Device) -> Result<Tensor> {
        let size = self.height as usize * self.width as usize * 3;
        if let Some(wrong) = images.iter().find(|image| image.pixels.data.len() != size) {
            let message = format!("expected {}×{} pixels, got {:?}", self.width, self.height, wrong.pixels);
            return Err(Error::Internal(message));
        }
        let mut bytes = Vec::with_capacity(size * images.len());
        images.iter().for_each(|image| bytes.extend_from_slice(&image.pixels.data));
        let shape = [images.len() as i64, i64::from(self.height), i64::from(self.width), 3];
        let mut pixels = Tensor::from_data_size(&bytes, &shape, Kind::Uint8);
        if device.is_cuda() {
            pixels = pixels.pin_memory(device);
        }
        let pixels = pixels.to_device(device).permute([0, 3, 1, 2]).to_kind(Kind::Float);
        Ok((pixels / 255.0 - &self.mean) / &self.std)
    }
}

/// Runs a batch; if the device has no memory for it, each half by itself, down to single inputs.
fn halving<T: Copy>(inputs: &[T], run: &dyn Fn(&[T]) -> Result<Vec<UnitVector>>) -> Result<Vec<UnitVector>> {
    if inputs.is_empty() {
        return Ok(Vec::new());
    }
    match catch_unwind(AssertUnwindSafe(|| run(inputs))) {
        Ok(result) => result,
        Err(panic) if inputs.len() > 1 && panic_message(&*panic).contains("out of memory") => {
            tracing::warn!("no memory for a batch of {}: trying its halves", inputs.len());
            let (first, second) = inputs.split_at(inputs.len() / 2);
            let mut vectors = halving(first, run)?;
            vectors.extend(halving(second, run)?);
            Ok(vectors)
        }
        Err(panic) => resume_unwind(panic),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vector(number: usize) -> UnitVector {
        UnitVector { values: vec![1.0], norm: number as f32 }
    }

    #[test]
    fn a_batch_without_memory_is_halved() {
        let inputs: Vec<usize> = (0..13).collect();
        let calls = std::cell::RefCell::new(Vec::new());
        let run = |inputs: &[usize]| {
            calls.borrow_mut().push(inputs.len());
            assert!(inputs.len() <= 3, "CUDA out of memory. Tried to allocate 20.00 GiB");
            Ok(inputs.iter().map(|&number| vector(number)).collect())
        };
        let norms: Vec<f32> = halving(&inputs, &run).expect("vectors").iter().map(|vector| vector.norm).collect();
        assert_eq!(norms, (0..13).map(|number| number as f32).collect::<Vec<_>>());
        assert_eq!(*calls.borrow(), [13, 6, 3, 3, 7, 3, 4, 2, 2]);
    }

    #[test]
    fn other_panics_go_on() {
        let run = |_: &[usize]| -> Result<Vec<UnitVector>> { panic!("shapes do not match") };
        assert!(catch_unwind(AssertUnwindSafe(|| halving(&[1, 2], &run))).is_err());
        let never = |_: &[usize]| -> Result<Vec<UnitVector>> { panic!("CUDA out of memory") };
        assert!(catch_unwind(AssertUnwindSafe(|| halving(&[1, 2], &never))).is_err());
    }
}
