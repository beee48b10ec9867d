//! What every registry of the trainer lists: a named piece that a recipe's table builds.

use serde::de::DeserializeOwned;

use crate::{Error, Result};

/// A registered piece of the trainer; `T` is its family's trait object.
pub struct Piece<T: ?Sized> {
    /// What a recipe calls it: lower case with hyphens.
    pub name: &'static str,
    /// One line for people.
    pub summary: &'static str,
    /// Where it comes from: paper and equation, or "own".
    pub source: &'static str,
    /// Builds it from the recipe's table, without the key that names the piece.
    pub build: fn(&Settings) -> Result<Box<T>>,
}

/// A recipe's table for one piece.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings {
    /// Where it stands in the recipe, such as `objective[0]`.
    pub place: String,
    pub table: toml::Table,
}

impl Settings {
    /// Reads the table into a type that denies unknown keys.
    ///
    /// # Errors
    /// `InvalidArgument` for the table's place.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T> {
        self.table.clone().try_into().map_err(|error: toml::de::Error| self.invalid(error.message()))
    }

    /// An error about this table.
    #[must_use]
    pub fn invalid(&self, message: impl Into<String>) -> Error {
        Error::invalid(self.place.clone(), message)
    }

    /// Checks that a number lies in a closed range.
    ///
    /// # Errors
    /// `InvalidArgument` for the key.
    pub fn within(&self, key: &str, value: f64, low: f64, high: f64) -> Result<()> {
        if (low..=high).contains(&value) {
            return Ok(());
        }
        Err(Error::invalid(format!("{}.{key}", self.place), format!("expected {low} to {high}, found {value}")))
    }
}

/// Builds the piece that a table names under `key`.
///
/// # Errors
/// `InvalidArgument` listing the known names, or what the piece says of its table.
pub fn build<T: ?Sized>(all: &[&Piece<T>], key: &str, mut settings: Settings) -> Result<Box<T>> {
    let named = settings.table.remove(key);
    let known: Vec<_> = all.iter().map(|piece| piece.name).collect();
    let name = match &named {
        Some(toml::Value::String(name)) => name,
        other => {
            let found = other.as_ref().map_or_else(|| "nothing".to_owned(), ToString::to_string);
            return Err(settings.invalid(format!("{key}: expected one of {known:?}, found {found}")));
        }
    };
    match all.iter().find(|piece| piece.name == name) {
        Some(piece) => (piece.build)(&settings),
        None => Err(settings.invalid(format!("{key}: expected one of {known:?}, found {name:?}"))),
    }
}
