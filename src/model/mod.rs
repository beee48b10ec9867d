//! Networks in libtorch, one architecture a file, and the folders that they are loaded from.
//!
//! Adding an architecture: one file that exports `ARCHITECTURE`, its `mod` line, its line in [`ALL`].

pub mod bert;
pub mod card;
pub mod description;
pub mod device;
mod fault;
pub mod files;
pub mod fingerprint;
pub mod folder;
pub mod inspect;
pub mod network;
pub mod pooling;
pub mod pull;
pub mod sentence_transformers;
pub mod weights;

pub use description::Description;
pub use device::{DeviceChoice, Precision, PrecisionChoice};
pub use folder::ModelFolder;
pub use network::{Architecture, TextNetwork};

/// Every architecture, alphabetic.
pub const ALL: &[&Architecture] = &[&bert::ARCHITECTURE];

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
