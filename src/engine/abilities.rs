//! What a generation's queries may hold, told without loading a network.

use super::Engine;
use crate::collection::schema::Generation;
use crate::model::network::architecture_of;
use crate::model::{Layout, ModelFolder};
use crate::types::{Error, Result};

/// What a generation's queries may hold besides items and vectors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Takes {
    pub text: bool,
    pub image: bool,
}

impl Takes {
    fn or(self, other: Self) -> Self {
        Self { text: self.text || other.text, image: self.image || other.image }
    }
}

impl Engine {
    /// Says what the encoders of a generation take; nothing if it holds the caller's vectors.
    ///
    /// # Errors
    /// [`Error::NotFound`] if a model's folder is gone, those of reading it.
    pub async fn takes(&self, generation: &Generation) -> Result<Takes> {
        let mut takes = Takes::default();
        for name in generation.encoders() {
            let loaded = self.encoders().loaded().into_iter().find(|handle| handle.info().full_name() == name);
            let one = match loaded {
                Some(handle) => Takes { text: handle.info().encodes_text, image: handle.info().encodes_image },
                None => {
                    let (encoders, name) = (self.encoders().clone(), name.to_owned());
                    let read = tokio::task::spawn_blocking(move || described(&encoders.find(&name)?)).await;
                    read.map_err(|error| Error::Internal(error.to_string()))??
                }
            };
            takes = takes.or(one);
        }
        Ok(takes)
    }
}

/// What the configuration says; the weights are not read.
fn described(folder: &ModelFolder) -> Result<Takes> {
    let layout = Layout::read(&folder.path)?;
    let sides = (architecture_of(&layout.config())?.describe)(&layout)?;
    Ok(Takes { text: sides.text.is_some(), image: sides.image.is_some() })
}
