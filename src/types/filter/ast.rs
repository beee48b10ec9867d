//! The filter tree.

use crate::types::limits::{FILTER_DEPTH, FILTER_NODES};
use crate::types::{Error, Result, Value};

/// A dotted path into a payload; never empty, no empty component.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Path(pub(super) Vec<String>);

impl Path {
    /// # Errors
    /// [`Error::InvalidArgument`] if there is no component or an empty one.
    pub fn new(components: Vec<String>) -> Result<Self> {
        if components.is_empty() || components.iter().any(String::is_empty) {
            return Err(Error::invalid("filter.path", "a path is one or more non-empty names joined by dots"));
        }
        Ok(Self(components))
    }

    #[must_use]
    pub fn components(&self) -> &[String] {
        &self.0
    }
}

/// How two values are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// A condition on a payload. `And` and `Or` have at least two members; compared values are scalars.
#[derive(Clone, Debug, PartialEq)]
pub enum Filter {
    And(Vec<Filter>),
    Or(Vec<Filter>),
    Not(Box<Filter>),
    Compare(Path, Operator, Value),
    In(Path, Vec<Value>),
    Exists(Path),
    Prefix(Path, String),
}

impl Filter {
    /// Joins filters with `and`; one filter stays itself.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if there are none.
    pub fn and(filters: Vec<Self>) -> Result<Self> {
        Self::join(filters, Self::And, "and")
    }

    /// Joins filters with `or`; one filter stays itself.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if there are none.
    pub fn or(filters: Vec<Self>) -> Result<Self> {
        Self::join(filters, Self::Or, "or")
    }

    fn join(mut filters: Vec<Self>, node: fn(Vec<Self>) -> Self, name: &str) -> Result<Self> {
        match filters.len() {
            0 => Err(Error::invalid("filter", format!("`{name}` needs at least one condition"))),
            1 => Ok(filters.remove(0)),
            _ => Ok(node(filters)),
        }
    }

    /// Accepts a filter within the caps on depth and node count, comparing only with finite scalars.
    ///
    /// # Errors
    /// [`Error::LimitExceeded`], [`Error::InvalidArgument`].
    pub fn check(&self) -> Result<()> {
        let mut nodes = 0;
        self.check_node(1, &mut nodes)?;
        FILTER_NODES.check("filter", nodes)
    }

    fn check_node(&self, depth: usize, nodes: &mut usize) -> Result<()> {
        FILTER_DEPTH.check("filter", depth)?;
        *nodes += 1;
        match self {
            Self::And(filters) | Self::Or(filters) => {
                filters.iter().try_for_each(|filter| filter.check_node(depth + 1, nodes))
            }
            Self::Not(filter) => filter.check_node(depth + 1, nodes),
            Self::Compare(_, _, value) => check_scalar(value),
            Self::In(_, values) => {
                *nodes += values.len();
                values.iter().try_for_each(check_scalar)
            }
            Self::Exists(_) | Self::Prefix(..) => Ok(()),
        }
    }
}

fn check_scalar(value: &Value) -> Result<()> {
    match value {
        Value::List(_) | Value::Map(_) => Err(Error::invalid(
            "filter",
            format!("only null, bool, numbers, strings and times are compared, not a {}", value.type_name()),
        )),
        Value::Double(number) if !number.is_finite() => {
            Err(Error::invalid("filter", format!("a double must be finite, got {number}")))
        }
        _ => Ok(()),
    }
}
