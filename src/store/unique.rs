//! Names that no two folders share.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::time::{SystemTime, UNIX_EPOCH};

/// 32 hexadecimal digits, different at every call and on every machine.
#[must_use]
pub fn unique_id() -> String {
    // The standard library seeds its hashers from the operating system's randomness, and steps them at each call.
    let nanos = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
    let mut hasher = blake3::Hasher::new();
    for salt in 0..4_u64 {
        hasher.update(&RandomState::new().hash_one((salt, nanos)).to_le_bytes());
    }
    hasher.update(&nanos.to_le_bytes());
    hasher.update(&std::process::id().to_le_bytes());
    hasher.finalize().to_hex()[..32].to_owned()
}

#[cfg(test)]
mod tests {
    use super::unique_id;

    #[test]
    fn ids_differ() {
        let (one, other) = (unique_id(), unique_id());
        assert_eq!(one.len(), 32);
        assert_ne!(one, other);
    }
}
