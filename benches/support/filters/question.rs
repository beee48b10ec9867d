//! Filters, and what they leave.

use pictor::types::filter::{self, Filter};
use serde_json::{Value, json};

/// Of a thousand items so many match.
pub(super) const SELECTIVITIES: [usize; 4] = [500, 100, 10, 1];
/// Those that a keyword asks for, too.
pub(super) const KEYWORDS: [usize; 2] = [500, 10];
/// All of a thousand items.
pub(super) const EVERYTHING: usize = 1_000;

/// How matches lie to the vectors, and so to the queries that ask for them.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Relation {
    Independent,
    /// The nearest to a direction that queries lean to.
    Near,
    /// The farthest from it.
    Far,
}

impl Relation {
    pub(super) const ALL: [Self; 3] = [Self::Independent, Self::Near, Self::Far];

    const fn name(self) -> &'static str {
        match self {
            Self::Independent => "independent",
            Self::Near => "near",
            Self::Far => "far",
        }
    }

    /// The number field that holds an item's place in the relation's order, from 0 to 1.
    pub(super) const fn field(self) -> &'static str {
        match self {
            Self::Independent => "independent",
            Self::Near | Self::Far => "near",
        }
    }

    /// The field that says `yes` for the items that match.
    pub(super) fn keyword(self, per_mille: usize) -> String {
        format!("{}_{per_mille}", self.name())
    }

    /// Which order of the items it is about, and which queries ask: 0 for any, 1 for those that lean to the direction.
    pub(super) fn order(self) -> usize {
        usize::from(self != Self::Independent)
    }

    pub(super) const fn is_match(self, rank: u32, count: usize, per_mille: usize) -> bool {
        let rank = rank as usize * EVERYTHING;
        match self {
            Self::Independent | Self::Near => rank < per_mille * count,
            Self::Far => rank >= (EVERYTHING - per_mille) * count,
        }
    }
}

/// A filter, or none, with its matches.
pub(crate) struct Question {
    pub(super) relation: Relation,
    pub(super) per_mille: usize,
    pub(super) is_keyword: bool,
    /// Numbers of items, rising.
    pub(crate) matches: Vec<u32>,
    /// The best matches for each query, the best first.
    pub(crate) exact: Vec<Vec<u32>>,
}

impl Question {
    pub(crate) fn is_filtered(&self) -> bool {
        self.per_mille < EVERYTHING
    }

    /// Percent of the items that match.
    pub(crate) fn percent(&self) -> f64 {
        self.per_mille as f64 / 10.0
    }

    /// Which set of queries asks this; also the question without a filter that the same queries ask.
    pub(crate) fn queries(&self) -> usize {
        self.relation.order()
    }

    pub(crate) fn name(&self) -> String {
        let (relation, percent) = (self.relation.name(), self.percent());
        match (self.is_filtered(), self.is_keyword) {
            (false, _) => format!("{relation} unfiltered"),
            (true, true) => format!("{relation} {percent}% keyword"),
            (true, false) => format!("{relation} {percent}% number"),
        }
    }

    /// Field, operator and value.
    fn condition(&self) -> (String, &'static str, Value) {
        let thousandths = |number: usize| json!(number as f64 / EVERYTHING as f64);
        let field = self.relation.field().to_owned();
        match self.relation {
            relation if self.is_keyword => (relation.keyword(self.per_mille), "=", json!("yes")),
            Relation::Far => (field, ">=", thousandths(EVERYTHING - self.per_mille)),
            Relation::Independent | Relation::Near => (field, "<", thousandths(self.per_mille)),
        }
    }

    pub(crate) fn filter(&self) -> Option<Filter> {
        let (field, operator, value) = self.condition();
        self.is_filtered().then(|| filter::parse(&format!("{field} {operator} {value}")).expect("a filter"))
    }

    /// As a peer reads it.
    pub(super) fn to_json(&self) -> Value {
        let (field, operator, value) = self.condition();
        let condition = json!({"field": field, "operator": operator, "value": value});
        json!({
            "name": self.name(), "percent": self.percent(), "queries": self.queries(), "matches": self.matches.len(),
            "condition": self.is_filtered().then_some(condition),
        })
    }
}
