//! Prepares texts and pictures as the model's authors do: prompt, tokens, limit; pixels, size, crop.

use std::sync::Arc;

use super::encoder::{EncoderInput, PreparedImage, Preprocessor, Role, TokenizedText};
use crate::image::{DecodeBudget, ImagePreparer, ImageRule, decode, difference_hash, read_header};
use crate::model::sentence_transformers::SentenceConfig;
use crate::model::sides::ImageSide;
use crate::text::TextTokenizer;
use crate::{Error, Result};

/// A prefix and the tokens at a text's start that pooling leaves out because of it.
#[derive(Default)]
struct Prompt {
    prefix: String,
    tokens_left_out: usize,
}

/// Prepares texts.
pub struct TextPreparer {
    tokenizer: TextTokenizer,
    query: Prompt,
    document: Prompt,
}

impl TextPreparer {
    /// Chooses the prompt of each role: `query`; `document` or `passage`; else the default one; else none.
    ///
    /// # Errors
    /// `FailedPrecondition` if a prompt leaves no room for text.
    pub fn new(tokenizer: TextTokenizer, sentence: Option<&SentenceConfig>, max_tokens: usize) -> Result<Self> {
        let Some(sentence) = sentence else {
            return Ok(Self { tokenizer, query: Prompt::default(), document: Prompt::default() });
        };
        let prompt = |names: &[&str]| -> Result<Prompt> {
            let name = names.iter().copied().find(|name| sentence.prompts.contains_key(*name));
            let name = name.or(sentence.default_prompt.as_deref());
            let Some(prefix) = name.and_then(|name| sentence.prompts.get(name)).filter(|prefix| !prefix.is_empty())
            else {
                return Ok(Prompt::default());
            };
            let length = tokenizer.prefix_length(prefix)?;
            if length + tokenizer.n_after() >= max_tokens {
                return Err(Error::FailedPrecondition {
                    reason: "MODEL_INVALID",
                    message: format!("the prompt {prefix:?} leaves no room for text in {max_tokens} tokens"),
                });
            }
            let tokens_left_out = if sentence.include_prompt { 0 } else { length };
            Ok(Prompt { prefix: prefix.clone(), tokens_left_out })
        };
        let (query, document) = (prompt(&["query"])?, prompt(&["document", "passage"])?);
        Ok(Self { tokenizer, query, document })
    }

    fn prepare(&self, text: &str, role: Role) -> Result<TokenizedText> {
        let prompt = match role {
            Role::Query => &self.query,
            Role::Document => &self.document,
        };
        let tokens = if prompt.prefix.is_empty() {
            self.tokenizer.encode(text)?
        } else {
            self.tokenizer.encode(&format!("{}{text}", prompt.prefix))?
        };
        // The prefix's last token may have merged with the text's first.
        let prompt_tokens = prompt.tokens_left_out.min(tokens.ids.len() - 1);
        Ok(TokenizedText { ids: tokens.ids, prompt_tokens, is_truncated: tokens.is_truncated })
    }
}

/// Prepares what a model takes.
pub struct ModelPreprocessor {
    /// For errors.
    name: String,
    text: Option<TextPreparer>,
    image: Option<(ImagePreparer, ImageSide)>,
    budget: Arc<DecodeBudget>,
}

impl ModelPreprocessor {
    /// Puts the two sides of the model `name` together.
    ///
    /// # Errors
    /// Those of the image configuration.
    pub fn new(
        name: String,
        text: Option<TextPreparer>,
        image: Option<ImageSide>,
        rule: ImageRule,
        budget: Arc<DecodeBudget>,
    ) -> Result<Self> {
        let prepare = |side: ImageSide| Ok((ImagePreparer::new(side.config.clone(), rule)?, side));
        Ok(Self { name, text, image: image.map(prepare).transpose()?, budget })
    }
}

impl Preprocessor for ModelPreprocessor {
    fn text(&self, text: &str, role: Role) -> Result<EncoderInput> {
        let preparer =
            self.text.as_ref().ok_or_else(|| Error::Unsupported(format!("encoding texts with {}", self.name)))?;
        preparer.prepare(text, role).map(EncoderInput::Text)
    }

    fn image(&self, file: &[u8]) -> Result<EncoderInput> {
        let (preparer, side) =
            self.image.as_ref().ok_or_else(|| Error::Unsupported(format!("encoding pictures with {}", self.name)))?;
        let _share = self.budget.acquire(DecodeBudget::cost(&read_header(file)?));
        let decoded = decode(file, preparer.rule())?;
        let (pixels, perceptual_hash) = (preparer.fit(&decoded), difference_hash(&decoded));
        Ok(EncoderInput::Image(PreparedImage { pixels, tokens: side.n_tokens, perceptual_hash }))
    }

    fn image_bytes(&self) -> usize {
        self.image.as_ref().map_or(0, |(_, side)| side.height as usize * side.width as usize * 3)
    }
}
