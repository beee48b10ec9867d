//! A composer and its settings as one text: `NAME` or `NAME:KEY=VALUE,KEY=VALUE`.

use std::collections::BTreeMap;

use crate::types::limits::NAME_BYTES;
use crate::types::{Error, Result};

/// What a request says of its composer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ComposerSettings {
    pub name: String,
    pub values: BTreeMap<String, String>,
}

impl ComposerSettings {
    /// Reads the text form; names and keys are not looked up here.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a text of another form, [`Error::LimitExceeded`].
    pub fn parse(text: &str) -> Result<Self> {
        NAME_BYTES.check("composer", text.len())?;
        let (name, rest) = text.split_once(':').map_or((text, None), |(name, rest)| (name, Some(rest)));
        let mut values = BTreeMap::new();
        for setting in rest.into_iter().flat_map(|rest| rest.split(',')) {
            let Some((key, value)) =
                setting.split_once('=').filter(|(key, value)| !key.is_empty() && !value.is_empty())
            else {
                let message = format!("expected NAME or NAME:KEY=VALUE,…, got {text:?}");
                return Err(Error::invalid("composer", message));
            };
            if values.insert(key.to_owned(), value.to_owned()).is_some() {
                return Err(Error::invalid("composer", format!("{key} stands twice in {text:?}")));
            }
        }
        Ok(Self { name: name.to_owned(), values })
    }

    /// Refuses keys that the composer does not have.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] listing those that it has.
    pub fn expect_keys(&self, known: &[&str]) -> Result<()> {
        match self.values.keys().find(|key| !known.contains(&key.as_str())) {
            None => Ok(()),
            Some(key) => {
                let has = if known.is_empty() { "no settings".to_owned() } else { known.join(", ") };
                Err(Error::invalid("composer", format!("{} has {has}, got {key:?}", self.name)))
            }
        }
    }
}

impl std::fmt::Display for ComposerSettings {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.name)?;
        for (number, (key, value)) in self.values.iter().enumerate() {
            write!(formatter, "{}{key}={value}", if number == 0 { ':' } else { ',' })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_form_is_read_and_written() {
        for text in ["sum", "sum:normalise=raw", "combiner:a=1,model=mini@r1"] {
            assert_eq!(ComposerSettings::parse(text).expect(text).to_string(), text);
        }
        for bad in ["sum:", "sum:a", "sum:=1", "sum:a=", "sum:a=1,", "sum:a=1,a=2", &"x".repeat(200)] {
            assert!(ComposerSettings::parse(bad).is_err(), "{bad:?}");
        }
        let settings = ComposerSettings::parse("sum:colour=red").expect("a form");
        assert!(settings.expect_keys(&["normalise"]).is_err() && settings.expect_keys(&["colour"]).is_ok());
    }
}
