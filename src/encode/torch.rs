//! The encoder that runs on libtorch.

use std::sync::Arc;

use tch::{Device, Kind, Tensor};

use super::encoder::{Encoder, EncoderInfo, EncoderInput, Preprocessor};
use super::preprocess::SentencePreprocessor;
use super::settings::EncodeSettings;
use crate::model::device::device_name;
use crate::model::pooling::{Pooling, Span, pool};
use crate::model::{Description, ModelFolder, Precision, TextNetwork};
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
    preprocessor: Arc<SentencePreprocessor>,
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
        let description = Description::read(folder)?;
        let (sentence, max_tokens) = (&description.sentence, description.max_tokens);
        let preprocessor = Arc::new(SentencePreprocessor::new(description.tokenizer()?, sentence, max_tokens)?);
        let info = Arc::new(EncoderInfo {
            name: folder.name.clone(),
            revision: folder.revision.clone(),
            architecture: description.architecture.model_type.to_owned(),
            fingerprint: description.fingerprint.clone(),
            space: description.space.clone(),
            dimension: description.dimension,
            encodes_text: true,
            encodes_image: false,
            max_tokens,
            dtype: precision.name(),
            device: device_name(device),
            prompts: sentence.prompts.clone(),
        });
        let batch_tokens = match (settings.batch_tokens, device) {
            (0, Device::Cuda(_)) => BATCH_TOKENS_CUDA,
            (0, _) => BATCH_TOKENS_CPU,
            (tokens, _) => tokens,
        };
        let threads = settings.threads.max(1);
        Ok(Self { description, device, precision, info, preprocessor, threads, batch_tokens })
    }

    #[must_use]
    pub fn info(&self) -> &Arc<EncoderInfo> {
        &self.info
    }

    #[must_use]
    pub fn preprocessor(&self) -> Arc<dyn Preprocessor> {
        self.preprocessor.clone()
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
        Ok(TorchEncoder {
            network: self.description.network(self.precision.kind(), self.device)?,
            pooling: self.description.sentence.pooling,
            kind: self.precision.kind(),
            device: self.device,
            info: self.info.clone(),
        })
    }
}

/// A sentence encoder in libtorch.
pub struct TorchEncoder {
    info: Arc<EncoderInfo>,
    network: Box<dyn TextNetwork>,
    pooling: Pooling,
    kind: Kind,
    device: Device,
}

impl Encoder for TorchEncoder {
    fn info(&self) -> &EncoderInfo {
        &self.info
    }

    fn encode(&mut self, inputs: &[&EncoderInput]) -> Result<Vec<UnitVector>> {
        if inputs.is_empty() {
            return Ok(Vec::new());
        }
        let texts: Vec<_> = inputs.iter().map(|EncoderInput::Text(text)| text).collect();
        let n_texts = texts.len() as i64;
        let n_tokens = texts.iter().map(|text| text.ids.len()).max().unwrap_or_default();
        let is_padded = texts.iter().any(|text| text.ids.len() < n_tokens);
        let spans: Vec<_> = texts.iter().map(|text| Span { start: text.prompt_tokens, end: text.ids.len() }).collect();

        let _no_gradients = tch::no_grad_guard();
        // Padding is masked, so any id in the vocabulary will do.
        let padded =
            |ids: &[u32]| (0..n_tokens).map(|position| ids.get(position).copied().unwrap_or(0).into()).collect();
        let ids: Vec<i64> = texts.iter().flat_map::<Vec<i64>, _>(|text| padded(&text.ids)).collect();
        let ids = Tensor::from_slice(&ids).view([n_texts, n_tokens as i64]).to_device(self.device);
        let mask = is_padded.then(|| {
            let is_padding =
                |end: usize| (0..n_tokens).map(move |position| if position < end { 0.0 } else { f32::NEG_INFINITY });
            let mask: Vec<f32> = spans.iter().flat_map(|span| is_padding(span.end)).collect();
            Tensor::from_slice(&mask).view([n_texts, 1, 1, n_tokens as i64]).to_device(self.device).to_kind(self.kind)
        });
        let states = self.network.token_states(&ids, mask.as_ref());
        let pooled = pool(&states, &spans, self.pooling).to_device(Device::Cpu).contiguous();
        let values = Vec::<f32>::try_from(pooled.view(-1))
            .map_err(|error| Error::Internal(format!("the network's output cannot be read: {error}")))?;
        values
            .chunks_exact(self.info.dimension)
            .map(|vector| {
                UnitVector::normalise(vector.to_vec())
                    .map_err(|error| Error::Internal(format!("the network gave a vector without direction: {error}")))
            })
            .collect()
    }
}
