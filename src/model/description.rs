//! What a model folder says, checked, before any network is built.

use std::path::PathBuf;

use tch::{Device, Kind};

use super::ModelFolder;
use super::card::Card;
use super::fault::invalid_model;
use super::fingerprint::{self, own_space};
use super::layout::Layout;
use super::network::{Architecture, Network, architecture_of};
use super::sides::{Sides, TextSide};
use super::source::Source;
use super::weights::Weights;
use crate::Result;
use crate::image::ImageRule;
use crate::text::{TextTokenizer, TokenizerOptions};

/// A model's folder, read.
pub struct Description {
    pub folder: ModelFolder,
    pub layout: Layout,
    pub architecture: &'static Architecture,
    pub sides: Sides,
    pub rule: ImageRule,
    /// 64 hexadecimal digits.
    pub fingerprint: String,
    pub space: String,
    pub card: Card,
}

impl Description {
    /// Reads the configuration and hashes weights and tokenizer. The rule that pictures are prepared by is part of the
    /// fingerprint.
    ///
    /// # Errors
    /// `FailedPrecondition` or `Unsupported` naming the file at fault.
    pub fn read(folder: &ModelFolder, rule: ImageRule) -> Result<Self> {
        let layout = Layout::read(&folder.path)?;
        let architecture = architecture_of(&layout.config())?;
        let sides = (architecture.describe)(&layout)?;
        let fingerprint = fingerprint::of_model(&layout, &sides, rule)?;
        let card = Card::read(&folder.path)?;
        let space = card.space.clone().unwrap_or_else(|| own_space(&fingerprint, sides.dimension));
        Ok(Self { folder: folder.clone(), layout, architecture, sides, rule, fingerprint, space, card })
    }

    /// Numbers in the weights.
    ///
    /// # Errors
    /// `FailedPrecondition` naming the file at fault.
    pub fn parameters(&self) -> Result<u64> {
        let is_weights = |path: &&PathBuf| path.extension().is_some_and(|extension| extension == "safetensors");
        let mut parameters = 0;
        for path in self.sides.deciding_files.iter().filter(is_weights) {
            let weights = Weights::open(std::slice::from_ref(path), Kind::Float, Device::Cpu)?;
            parameters += weights.shapes().iter().map(|(_, shape)| shape.iter().product::<usize>() as u64).sum::<u64>();
        }
        Ok(parameters)
    }

    /// Opens the tokenizer of the text side.
    ///
    /// # Errors
    /// `FailedPrecondition` if it is missing, damaged or has ids that the network does not know.
    pub fn tokenizer(&self) -> Result<Option<TextTokenizer>> {
        self.sides.text.as_ref().map(open_tokenizer).transpose()
    }

    /// Builds the network.
    ///
    /// # Errors
    /// `FailedPrecondition` naming the tensor at fault.
    pub fn network(&self, kind: Kind, device: Device) -> Result<Network> {
        let _no_gradients = tch::no_grad_guard();
        (self.architecture.load)(&self.layout, &self.sides, &Source::files(kind, device))
    }
}

fn open_tokenizer(side: &TextSide) -> Result<TextTokenizer> {
    let options = TokenizerOptions {
        max_tokens: side.max_tokens,
        cleaning: side.cleaning,
        specials_are_words: side.sentence.is_none(),
    };
    let tokenizer = TextTokenizer::open(&side.tokenizer, options)?;
    let (ids, known) = (tokenizer.vocabulary_size(), side.vocabulary_size);
    if ids <= known {
        return Ok(tokenizer);
    }
    Err(invalid_model(&side.tokenizer, format!("has {ids} tokens, but vocab_size in config.json is {known}")))
}
