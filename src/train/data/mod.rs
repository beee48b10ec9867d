//! What a run learns from: the items of a collection, what each shows, and how they are divided.

pub mod captions;
pub mod corpus;
pub mod image_pool;
pub mod pictures;
pub mod split;
pub mod text_pool;
pub mod triplets;

pub use corpus::{Corpus, Example};
pub use pictures::Pictures;
pub use split::Split;
pub use triplets::{Triplet, Triplets};
