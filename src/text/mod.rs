//! From text to token ids.

pub mod cleaning;
pub mod tokenizer;

pub use cleaning::Cleaning;
pub use tokenizer::{TextTokenizer, TokenizerOptions, Tokens, token_id};
