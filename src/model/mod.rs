//! Networks in libtorch, one architecture a file, and the folders that they are loaded from.
//!
//! Adding an architecture: one file that exports `ARCHITECTURE`, its `mod` line, its line in [`ALL`].

pub mod bert;
pub mod card;
pub mod chinese_clip;
pub mod clip;
pub mod combiner;
pub mod convert;
mod convolution;
pub mod description;
pub mod device;
pub mod draft;
mod fault;
pub mod files;
pub mod fingerprint;
pub mod folder;
pub mod inspect;
mod layers;
pub mod layout;
mod modified_resnet;
pub mod network;
pub mod observer;
mod open_clip;
mod patches;
pub mod pickle;
pub mod pictor_dual_encoder;
pub mod pooling;
pub mod pull;
mod resnet;
pub mod sentence_transformers;
pub mod sides;
pub mod siglip;
pub mod source;
mod transformer;
pub mod vision_text_dual_encoder;
mod vit;
pub mod weights;

pub use description::Description;
pub use device::{DeviceChoice, Precision, PrecisionChoice};
pub use folder::ModelFolder;
pub use layout::Layout;
pub use network::{Architecture, ImageTower, Network, TextBatch, TextTower};
pub use sides::Sides;
pub use source::{NamedTensors, Source};

/// Every architecture, alphabetic.
pub const ALL: &[&Architecture] = &[
    &bert::ARCHITECTURE,
    &chinese_clip::ARCHITECTURE,
    &clip::ARCHITECTURE,
    &pictor_dual_encoder::ARCHITECTURE,
    &siglip::ARCHITECTURE,
    &vision_text_dual_encoder::ARCHITECTURE,
];

#[cfg(test)]
mod tests {
    use super::ALL;

    #[test]
    fn every_architecture_describes_itself() {
        let names: Vec<_> = ALL.iter().map(|architecture| architecture.model_type).collect();
        assert!(names.is_sorted_by(|a, b| a < b), "{names:?}");
        assert!(ALL.iter().all(|architecture| !architecture.summary.is_empty()));
    }
}
