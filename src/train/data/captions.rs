//! Draws a text for an item from the kinds of text that it has.

use rand::Rng as _;
use rand::seq::{IndexedRandom as _, index};
use rand_chacha::ChaCha8Rng;

use crate::store::ItemRecord;
use crate::train::recipe::{CaptionSource, CaptionsRecipe};
use crate::types::filter::parse_path;
use crate::types::value::{Payload, Value};
use crate::{Error, Result};

/// The texts of one item, one list for each source of the recipe.
pub type Captions = Vec<Vec<String>>;

/// Draws texts by a recipe.
#[derive(Clone, Debug)]
pub struct CaptionMix {
    sources: Vec<CaptionSource>,
    min_words: usize,
}

impl CaptionMix {
    #[must_use]
    pub fn new(recipe: &CaptionsRecipe) -> Self {
        Self { sources: recipe.from.clone(), min_words: recipe.min_words }
    }

    /// Draws a text; `None` if the item has none.
    #[must_use]
    pub fn draw(&self, captions: &Captions, random: &mut ChaCha8Rng) -> Option<String> {
        let has = |number: &usize| captions.get(*number).is_some_and(|texts| !texts.is_empty());
        let there: Vec<usize> = (0..self.sources.len()).filter(has).collect();
        let chosen = *there.choose_weighted(random, |&number| self.sources[number].share).ok()?;
        let (source, texts) = (&self.sources[chosen], &captions[chosen]);
        let text = match source.join {
            Some([low, high]) => {
                let n = random.random_range(low..=high).min(texts.len());
                let drawn: Vec<_> =
                    index::sample(random, texts.len(), n).into_iter().map(|number| texts[number].as_str()).collect();
                drawn.join(", ")
            }
            None => texts.choose(random)?.clone(),
        };
        if text.split_whitespace().count() < self.min_words {
            return captions.iter().flatten().next().cloned();
        }
        match source.templates.choose(random) {
            Some(template) => Some(template.replacen("{}", &text, 1)),
            None => Some(text),
        }
    }

    /// Reads the item's texts.
    ///
    /// # Errors
    /// `InvalidArgument` if a payload holds something else than texts at a source's path.
    pub fn read(&self, item: &ItemRecord) -> Result<Captions> {
        self.sources.iter().map(|source| read_source(&source.path, item)).collect()
    }
}

fn read_source(path: &str, item: &ItemRecord) -> Result<Vec<String>> {
    if let Some(name) = path.strip_prefix("texts.") {
        return Ok(item.texts.get(name).cloned().unwrap_or_default());
    }
    let path = path.strip_prefix("payload.").unwrap_or(path);
    let wrong = |found: &Value| {
        let message = format!("item {} holds {found:?}, expected a text or a list of texts", item.head.id);
        Error::invalid(format!("payload.{path}"), message)
    };
    match value_at(&item.head.payload, path)? {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::String(text)) => Ok(vec![text.clone()]),
        Some(Value::List(values)) => values
            .iter()
            .map(|value| match value {
                Value::String(text) => Ok(text.clone()),
                other => Err(wrong(other)),
            })
            .collect(),
        Some(other) => Err(wrong(other)),
    }
}

/// The value at a dotted path, if there is one.
///
/// # Errors
/// `InvalidArgument` for a path that is none.
pub fn value_at<'p>(payload: &'p Payload, path: &str) -> Result<Option<&'p Value>> {
    let path = parse_path(path)?;
    let mut components = path.components().iter();
    let mut value = components.next().and_then(|first| payload.get(first));
    for component in components {
        value = match value {
            Some(Value::Map(entries)) => entries.get(component),
            _ => None,
        };
    }
    Ok(value)
}
