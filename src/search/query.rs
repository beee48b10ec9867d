//! A query as a caller gives it, and its check.

use bytes::Bytes;

use super::ranking::Ranking;
use crate::collection::backend::Selection;
use crate::types::filter::Filter;
use crate::types::limits::{COMPARED_CANDIDATES, QUERY_PARTS, SEARCH_WINDOW};
use crate::types::{Error, ItemId, Result};

/// What a part of a query says.
#[derive(Clone, Debug, PartialEq)]
pub enum QueryContent {
    Text(String),
    /// A picture's bytes.
    Image(Bytes),
    /// A stored item, which stands for its vectors in the searched field.
    Item(String),
    Vector(Vec<f32>),
}

#[derive(Clone, Debug, PartialEq)]
pub struct QueryPart {
    pub content: QueryContent,
    pub weight: f32,
}

/// One search.
#[derive(Clone, Debug, PartialEq)]
pub struct Query {
    /// Empty: the collection's default field.
    pub field: String,
    pub parts: Vec<QueryPart>,
    /// Empty: the generation's composer.
    pub composer: String,
    pub filter: Option<Filter>,
    pub limit: usize,
    pub offset: usize,
    pub min_score: Option<f32>,
    pub exact: bool,
    /// Leave out the items named as parts.
    pub exclude_reference: bool,
    pub select: Selection,
    /// The only items that may be found, if given.
    pub only: Option<Vec<ItemId>>,
    /// What is done with the nearest items before they are hits.
    pub ranking: Ranking,
}

impl Query {
    /// # Errors
    /// [`Error::InvalidArgument`], [`Error::LimitExceeded`].
    pub fn check(&self) -> Result<()> {
        if self.parts.is_empty() && self.ranking.recommend.is_none() {
            return Err(Error::invalid(
                "parts",
                "a query needs at least one part: a text, an image, an item or a vector",
            ));
        }
        QUERY_PARTS.check("parts", self.parts.len())?;
        self.ranking.check()?;
        for (position, part) in self.parts.iter().enumerate() {
            if !part.weight.is_finite() || part.weight == 0.0 {
                let message = format!("a weight is finite and not 0, got {}", part.weight);
                return Err(Error::invalid(format!("parts[{position}].weight"), message));
            }
        }
        if self.ranking.is_best_score() && !self.parts.is_empty() {
            let message = "BEST_SCORE compares with examples alone; leave the parts out, or use AVERAGE";
            return Err(Error::invalid("parts", message));
        }
        if self.limit == 0 {
            return Err(Error::invalid("limit", "expected at least 1, got 0"));
        }
        let wanted = self.limit.saturating_add(self.offset);
        SEARCH_WINDOW.check("limit + offset", wanted)?;
        if self.ranking.needs_vectors() {
            COMPARED_CANDIDATES.check("candidates", self.ranking.n_candidates(wanted))?;
        }
        if self.select.media_data {
            return Err(Error::invalid(
                "select.media_data",
                "a search does not carry media bytes; read them with Items.Get",
            ));
        }
        if self.min_score.is_some_and(|score| !score.is_finite()) {
            return Err(Error::invalid("min_score", "expected a finite number"));
        }
        Ok(())
    }
}
