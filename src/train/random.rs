//! Random numbers that depend on what they are for and on nothing else, so that a resumed run draws what the first would have.

use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;

/// The generator for one purpose: a seed, a word, and numbers such as step and item.
///
/// ChaCha's stream is fixed by its authors across versions, so recipes stay reproducible.
#[must_use]
pub fn random_for(seed: u64, purpose: &str, numbers: &[u64]) -> ChaCha8Rng {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&seed.to_le_bytes());
    hasher.update(purpose.as_bytes());
    hasher.update(&[0]);
    for number in numbers {
        hasher.update(&number.to_le_bytes());
    }
    ChaCha8Rng::from_seed(*hasher.finalize().as_bytes())
}
