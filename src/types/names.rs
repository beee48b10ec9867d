//! What collections, fields, aliases and texts may be called.

use super::limits::NAME_BYTES;
use super::{Error, Result};

/// Accepts a name: 1 to 128 bytes of letters, digits, `_`, `-` and `.`, not starting with `.` or `-`.
///
/// # Errors
/// [`Error::InvalidArgument`] for `field`, [`Error::LimitExceeded`] if too long.
pub fn check_name(field: &str, name: &str) -> Result<()> {
    NAME_BYTES.check(field, name.len())?;
    let starts_well = name.chars().next().is_some_and(|first| first.is_alphanumeric() || first == '_');
    let is_allowed = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.');
    if starts_well && name.chars().all(is_allowed) {
        return Ok(());
    }
    let message =
        format!("a name is letters, digits, '_', '-' and '.', starting with a letter, digit or '_'; got {name:?}");
    Err(Error::invalid(field, message))
}

#[cfg(test)]
mod tests {
    use super::check_name;

    #[test]
    fn names_are_plain_words() {
        for good in ["a", "emoji", "Ünïcode", "v1.2-rc_3", "_x"] {
            assert!(check_name("name", good).is_ok(), "{good:?}");
        }
        for bad in ["", ".", "..", "../x", "a/b", "a b", "-flag", "nul\0", &"x".repeat(129)] {
            assert!(check_name("name", bad).is_err(), "{bad:?}");
        }
    }
}
