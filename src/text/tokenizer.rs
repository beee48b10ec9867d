//! A `tokenizer.json` that cuts long texts itself and keeps the special tokens.
//!
//! Truncation and padding that the file may ask for are ignored: they belong to whoever saved it, not to the model.

use std::path::Path;

use tokenizers::{PostProcessor, PreTokenizerWrapper, Tokenizer};

use super::cleaning::Cleaning;
use crate::{Error, Result};

/// Bytes of text for each token of the limit that are looked at first when a text is long.
const BYTES_PER_TOKEN: usize = 16;

/// A text as the network sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tokens {
    /// Special tokens included.
    pub ids: Vec<u32>,
    pub is_truncated: bool,
}

/// Turns texts into ids; shared between threads.
pub struct TextTokenizer {
    tokenizer: Tokenizer,
    /// Special tokens before and after every text.
    before: Vec<u32>,
    after: Vec<u32>,
    max_tokens: usize,
    /// True if words are cut at whitespace first, so that a beginning can be tokenized alone.
    splits_at_whitespace: bool,
    /// One more than the largest id.
    vocabulary_size: usize,
    cleaning: Cleaning,
}

/// How a family uses its tokenizer's file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenizerOptions {
    /// Texts are cut here, specials included.
    pub max_tokens: usize,
    pub cleaning: Cleaning,
    /// True if a special token that a text spells out is only words. A caller could otherwise end a CLIP text where he likes.
    pub specials_are_words: bool,
}

impl TextTokenizer {
    /// Reads a `tokenizer.json`.
    ///
    /// # Errors
    /// `FailedPrecondition` if the file is missing or damaged, or the limit leaves no room for text.
    pub fn open(path: &Path, options: TokenizerOptions) -> Result<Self> {
        let TokenizerOptions { max_tokens, cleaning, specials_are_words } = options;
        let mut tokenizer = read(path)?;
        tokenizer.with_padding(None);
        tokenizer.with_truncation(None).map_err(|error| invalid(path, error))?;
        tokenizer.set_encode_special_tokens(specials_are_words);
        let (before, after) = specials(&tokenizer).map_err(|error| invalid(path, error))?;
        let n_specials = before.len() + after.len();
        if max_tokens <= n_specials {
            return Err(invalid(
                path,
                format!("a limit of {max_tokens} tokens has no room beside {n_specials} special ones"),
            ));
        }
        let splits_at_whitespace =
            matches!(tokenizer.get_pre_tokenizer(), Some(PreTokenizerWrapper::BertPreTokenizer(_)));
        let largest_id = tokenizer.get_vocab(true).into_values().max().unwrap_or_default();
        Ok(Self {
            tokenizer,
            before,
            after,
            max_tokens,
            splits_at_whitespace,
            vocabulary_size: largest_id as usize + 1,
            cleaning,
        })
    }

    /// Tokenizes a text; an empty one gives the special tokens alone.
    ///
    /// # Errors
    /// `Internal` if the tokenizer has no token for something.
    pub fn encode(&self, text: &str) -> Result<Tokens> {
        let room = self.max_tokens - self.before.len() - self.after.len();
        let content = self.content(&self.cleaning.clean(text), room)?;
        let is_truncated = content.len() > room;
        let kept = &content[..content.len().min(room)];
        Ok(Tokens { ids: [&self.before, kept, &self.after].concat(), is_truncated })
    }

    /// The tokens at the start of every text that begins with `prefix`: specials, then the prefix's own.
    ///
    /// # Errors
    /// As [`TextTokenizer::encode`].
    pub fn prefix_length(&self, prefix: &str) -> Result<usize> {
        Ok(self.before.len() + self.ids(&self.cleaning.clean(prefix))?.len())
    }

    /// Special tokens after every text.
    #[must_use]
    pub fn n_after(&self) -> usize {
        self.after.len()
    }

    /// One more than the largest id that can come out.
    #[must_use]
    pub fn vocabulary_size(&self) -> usize {
        self.vocabulary_size
    }

    /// At least the first `enough + 1` ids of a text, if it has so many.
    fn content(&self, text: &str, enough: usize) -> Result<Vec<u32>> {
        // A megabyte of text is not tokenized to keep its first 256 tokens: look at a beginning that ends in whitespace,
        // where no word is cut, and at more if that was not enough.
        let mut looked_at = (enough + 1).saturating_mul(BYTES_PER_TOKEN);
        while self.splits_at_whitespace && looked_at < text.len() {
            if let Some(end) = text.as_bytes()[..looked_at].iter().rposition(u8::is_ascii_whitespace) {
                let ids = self.ids(&text[..end])?;
                if ids.len() > enough {
                    return Ok(ids);
                }
            }
            looked_at = looked_at.saturating_mul(4);
        }
        self.ids(text)
    }

    fn ids(&self, text: &str) -> Result<Vec<u32>> {
        let encoding = self
            .tokenizer
            .encode_fast(text, false)
            .map_err(|error| Error::Internal(format!("the tokenizer failed: {error}")))?;
        Ok(encoding.get_ids().to_vec())
    }
}

/// The id of a token that a `tokenizer.json` knows by this word.
///
/// # Errors
/// `FailedPrecondition` if the file is missing or damaged.
pub fn token_id(path: &Path, token: &str) -> Result<Option<u32>> {
    Ok(read(path)?.token_to_id(token))
}

fn read(path: &Path) -> Result<Tokenizer> {
    let bytes = std::fs::read(path).map_err(|error| invalid(path, format!("cannot be read: {error}")))?;
    Tokenizer::from_bytes(bytes).map_err(|error| invalid(path, format!("not a tokenizer: {error}")))
}

fn invalid(path: &Path, message: impl std::fmt::Display) -> Error {
    Error::FailedPrecondition { reason: "MODEL_INVALID", message: format!("{}: {message}", path.display()) }
}

/// The special tokens before and after every text, found by framing a letter.
fn specials(tokenizer: &Tokenizer) -> Result<(Vec<u32>, Vec<u32>), String> {
    let framed = tokenizer.encode_fast("a", true).map_err(|error| error.to_string())?;
    let (ids, mask) = (framed.get_ids(), framed.get_special_tokens_mask());
    let n_before = mask.iter().take_while(|&&is_special| is_special == 1).count();
    let n_after = mask[n_before..].iter().rev().take_while(|&&is_special| is_special == 1).count();
    let n_added = tokenizer.get_post_processor().map_or(0, |processor| processor.added_tokens(false));
    if n_before + n_after != n_added {
        return Err(format!("adds {n_added} special tokens, but only {} stand at the ends", n_before + n_after));
    }
    Ok((ids[..n_before].to_vec(), ids[ids.len() - n_after..].to_vec()))
}
