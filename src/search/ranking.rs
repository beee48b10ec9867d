//! How what is nearest to a query is ranked, grouped and joined.

use super::rank::{Boost, Fusion};
use crate::types::filter::Path;
use crate::types::limits::{FACETS, QUERY_PARTS, SEARCH_WINDOW};
use crate::types::{Error, Result};

/// The fewest candidates, and how many there are for each hit that is wanted, where a query says nothing.
const LEAST_CANDIDATES: usize = 100;
const CANDIDATES_PER_HIT: usize = 10;

/// Groups of hits with equal values at a path; the query's limit counts groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupBy {
    pub path: Path,
    /// Hits of each group, at least 1.
    pub size: usize,
}

/// A field that is searched as well as others.
#[derive(Clone, Debug, PartialEq)]
pub struct FusedField {
    pub name: String,
    /// Finite and above 0.
    pub weight: f32,
}

/// A first stage that finds candidates in another field, which the query's own field then scores.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prefetch {
    pub field: String,
    pub limit: usize,
}

/// How examples become a score.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RecommendStrategy {
    /// The cosine to one vector: twice the mean of the positive examples less the mean of the negative ones.
    #[default]
    Average,
    /// The cosine to the nearest positive example, unless a negative one is nearer.
    BestScore,
}

/// Stored items that hits should be like, and unlike.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recommend {
    pub positive: Vec<String>,
    pub negative: Vec<String>,
    pub strategy: RecommendStrategy,
}

/// What is done with the nearest items before they are hits. The default does nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ranking {
    /// How many of the nearest items are ranked; 0: ten times the hits wanted, at least a hundred.
    pub candidates: usize,
    /// Added to scores.
    pub boosts: Vec<Boost>,
    /// Hits whose cosine to a better hit is at least this are left out.
    pub distinct: Option<f32>,
    /// Hits of whose picture's perceptual hash at most so many of 64 bits differ from a better hit's are left out.
    pub distinct_pictures: Option<u32>,
    /// How much relevance counts beside being unlike the hits before, 0 to 1 (maximal marginal relevance).
    pub diversity: Option<f32>,
    pub group_by: Option<GroupBy>,
    /// Searched in the place of the query's field, and fused.
    pub fields: Vec<FusedField>,
    pub fusion: Option<Fusion>,
    pub prefetch: Option<Prefetch>,
    pub recommend: Option<Recommend>,
    /// Values at these paths are counted among the candidates.
    pub facets: Vec<Path>,
}

impl Ranking {
    /// How many candidates there are for so many hits.
    #[must_use]
    pub fn n_candidates(&self, hits: usize) -> usize {
        let wanted = match self.candidates {
            0 => hits.saturating_mul(CANDIDATES_PER_HIT).max(LEAST_CANDIDATES),
            named => named.max(hits),
        };
        wanted.min(SEARCH_WINDOW.get())
    }

    /// True if hits need their vectors to be ranked.
    #[must_use]
    pub fn needs_vectors(&self) -> bool {
        self.distinct.is_some() || self.diversity.is_some() || self.is_best_score()
    }

    /// True if hits are scored by the nearest example.
    #[must_use]
    pub fn is_best_score(&self) -> bool {
        self.recommend.as_ref().is_some_and(|recommend| recommend.strategy == RecommendStrategy::BestScore)
    }

    /// True if hits need their payloads to be ranked.
    #[must_use]
    pub fn needs_payloads(&self) -> bool {
        !self.boosts.is_empty() || self.group_by.is_some() || !self.facets.is_empty()
    }

    /// # Errors
    /// [`Error::InvalidArgument`], [`Error::LimitExceeded`].
    pub fn check(&self) -> Result<()> {
        SEARCH_WINDOW.check("candidates", self.candidates)?;
        FACETS.check("facets", self.facets.len())?;
        QUERY_PARTS.check("boosts", self.boosts.len())?;
        for (position, boost) in self.boosts.iter().enumerate() {
            boost.check(&format!("boosts[{position}]"))?;
        }
        let between = |name: &str, value: Option<f32>, least: f32| match value {
            Some(value) if !(least..=1.0).contains(&value) => {
                Err(Error::invalid(name, format!("expected a number from {least} to 1, got {value}")))
            }
            _ => Ok(()),
        };
        between("distinct", self.distinct, -1.0)?;
        between("diversity", self.diversity, 0.0)?;
        if let Some(bits) = self.distinct_pictures.filter(|&bits| bits > u64::BITS) {
            return Err(Error::invalid("distinct_pictures", format!("expected 0 to {} bits, got {bits}", u64::BITS)));
        }
        if let Some(group_by) = &self.group_by {
            if group_by.size == 0 {
                return Err(Error::invalid("group_by.size", "expected at least 1, got 0"));
            }
            SEARCH_WINDOW.check("group_by.size", group_by.size)?;
        }
        self.check_stages()
    }

    fn check_stages(&self) -> Result<()> {
        QUERY_PARTS.check("fields", self.fields.len())?;
        for (position, field) in self.fields.iter().enumerate() {
            if !(field.weight.is_finite() && field.weight > 0.0) {
                let message = format!("a weight is finite and above 0, got {}", field.weight);
                return Err(Error::invalid(format!("fields[{position}].weight"), message));
            }
            if self.fields[..position].iter().any(|earlier| earlier.name == field.name) {
                return Err(Error::invalid("fields", format!("the field {:?} stands twice", field.name)));
            }
        }
        if let Some(Fusion::ReciprocalRank { k }) = self.fusion
            && !(k.is_finite() && k >= 0.0)
        {
            return Err(Error::invalid("fusion.k", format!("expected a finite number of at least 0, got {k}")));
        }
        if self.fields.is_empty() && self.fusion.is_some() {
            return Err(Error::invalid("fusion", "name the fields that are fused"));
        }
        if let Some(prefetch) = &self.prefetch {
            if prefetch.limit == 0 {
                return Err(Error::invalid("prefetch.limit", "expected at least 1, got 0"));
            }
            SEARCH_WINDOW.check("prefetch.limit", prefetch.limit)?;
            if !self.fields.is_empty() {
                return Err(Error::invalid("prefetch", "either fields are fused, or one finds candidates for another"));
            }
        }
        if let Some(Recommend { positive, negative, strategy }) = &self.recommend {
            let n_examples = positive.len() + negative.len();
            if n_examples == 0 {
                return Err(Error::invalid("recommend", "name at least one item, positive or negative"));
            }
            QUERY_PARTS.check("recommend", n_examples)?;
            let is_staged = !self.fields.is_empty() || self.prefetch.is_some();
            if *strategy == RecommendStrategy::BestScore && is_staged {
                return Err(Error::invalid("recommend.strategy", "BEST_SCORE compares within one field; use AVERAGE"));
            }
        }
        Ok(())
    }
}
