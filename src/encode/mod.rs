//! Encoders at work: a thread owns each network, cloneable handles feed it.

pub mod batch;
pub mod encoder;
mod exit;
pub mod handle;
pub mod health;
mod images;
pub mod offline;
mod patience;
pub mod preprocess;
pub mod queue;
pub mod registry;
pub mod settings;
pub mod torch;
mod worker;

pub use encoder::{Encoder, EncoderInfo, EncoderInput, PreparedImage, Preprocessor, Role, TokenizedText};
pub use handle::{EncoderHandle, TextEmbedding};
pub use health::EncoderStats;
pub use images::ImageEmbedding;
pub use patience::patiently;
pub use registry::EncoderRegistry;
pub use settings::EncodeSettings;
