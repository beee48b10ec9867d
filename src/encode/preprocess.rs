//! Prepares texts for a sentence encoder: prompt, tokens, limit.

use super::encoder::{EncoderInput, Preprocessor, Role, TokenizedText};
use crate::model::sentence_transformers::SentenceConfig;
use crate::text::TextTokenizer;
use crate::{Error, Result};

/// A prefix and the tokens at a text's start that pooling leaves out because of it.
#[derive(Default)]
struct Prompt {
    prefix: String,
    tokens_left_out: usize,
}

/// Prepares texts as the model's authors do.
pub struct SentencePreprocessor {
    tokenizer: TextTokenizer,
    query: Prompt,
    document: Prompt,
}

impl SentencePreprocessor {
    /// Chooses the prompt of each role: `query`; `document` or `passage`; else the default one; else none.
    ///
    /// # Errors
    /// `FailedPrecondition` if a prompt leaves no room for text.
    pub fn new(tokenizer: TextTokenizer, sentence: &SentenceConfig, max_tokens: usize) -> Result<Self> {
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
}

impl Preprocessor for SentencePreprocessor {
    fn text(&self, text: &str, role: Role) -> Result<EncoderInput> {
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
        Ok(EncoderInput::Text(TokenizedText { ids: tokens.ids, prompt_tokens, is_truncated: tokens.is_truncated }))
    }
}
