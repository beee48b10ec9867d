//! Divides items by family, so that nothing that a model is measured on was seen in training.

use std::collections::BTreeMap;

use crate::train::recipe::SplitRecipe;
use crate::{Error, Result};

/// Where an item belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Split {
    Train,
    /// Decides hyper-parameters and when to stop.
    Validation,
    /// Measured once.
    Test,
}

impl Split {
    /// Reads `train`, `validation` or `test`.
    ///
    /// # Errors
    /// `InvalidArgument` for `place`.
    pub fn parse(place: &str, text: &str) -> Result<Self> {
        match text {
            "train" => Ok(Self::Train),
            "validation" => Ok(Self::Validation),
            "test" => Ok(Self::Test),
            _ => Err(Error::invalid(place, format!("expected train, validation or test, found {text:?}"))),
        }
    }

    /// The split of a family: its BLAKE3 with the salt, as a number from 0 to 1; test first, then validation.
    #[must_use]
    pub fn of_family(recipe: &SplitRecipe, family: &str) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(recipe.salt.as_bytes()).update(&[0]).update(family.as_bytes());
        let mut first = [0; 8];
        first.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
        // 53 bits, which a double holds exactly.
        let place = (u64::from_le_bytes(first) >> 11) as f64 / (1_u64 << 53) as f64;
        if place < recipe.test {
            Self::Test
        } else if place < recipe.test + recipe.validation {
            Self::Validation
        } else {
            Self::Train
        }
    }
}

/// Checks that nothing of one name stands on two sides.
#[derive(Default)]
pub struct Disjoint {
    seen: BTreeMap<String, Split>,
}

impl Disjoint {
    /// Notes that something of this name stands on a side.
    ///
    /// # Errors
    /// `FailedPrecondition` with reason `SPLIT_LEAKS` if it also stands on another.
    pub fn note(&mut self, kind: &str, name: &str, split: Split) -> Result<()> {
        match self.seen.insert(format!("{kind} {name}"), split) {
            Some(other) if other != split => Err(Error::FailedPrecondition {
                reason: "SPLIT_LEAKS",
                message: format!(
                    "{kind} {name:?} stands in {split:?} and in {other:?}: give its items one family (recipe.split.family)"
                ),
            }),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recipe(salt: &str) -> SplitRecipe {
        SplitRecipe { family: None, key: None, salt: salt.to_owned(), validation: 0.2, test: 0.1 }
    }

    #[test]
    fn shares_are_kept_and_a_salt_draws_anew() {
        let count = |salt: &str, split: Split| {
            (0..20_000).filter(|number| Split::of_family(&recipe(salt), &number.to_string()) == split).count() as f64
        };
        assert!((count("a", Split::Test) / 20_000.0 - 0.1).abs() < 0.01);
        assert!((count("a", Split::Validation) / 20_000.0 - 0.2).abs() < 0.01);
        let both = (0..20_000)
            .filter(|number| {
                ["a", "b"].iter().all(|salt| Split::of_family(&recipe(salt), &number.to_string()) == Split::Test)
            })
            .count();
        assert!((150..250).contains(&both), "{both} of 20,000 are in both tests; independent draws give 200");
    }

    #[test]
    fn what_stands_on_two_sides_is_found() {
        let mut disjoint = Disjoint::default();
        assert_eq!(disjoint.note("concept", "cat", Split::Train), Ok(()));
        assert_eq!(disjoint.note("concept", "cat", Split::Train), Ok(()));
        assert_eq!(disjoint.note("name", "cat", Split::Test), Ok(()));
        let found = disjoint.note("concept", "cat", Split::Test).expect_err("a leak");
        assert_eq!(found.reason(), "SPLIT_LEAKS");
    }
}
