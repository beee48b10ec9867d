//! From text to token ids.

pub mod tokenizer;

pub use tokenizer::{TextTokenizer, Tokens};
