//! Filters: trees and their text form.

use pictor_proto::v1;
use pictor_proto::v1::filter::Node;

use super::values::value_from_proto;
use crate::types::filter::{Filter, Operator, Path, parse, parse_path};
use crate::types::{Error, Result};

/// Reads and checks a filter; an absent one stays absent.
pub(in crate::rpc) fn filter_from_proto(filter: Option<v1::Filter>) -> Result<Option<Filter>> {
    let Some(filter) = filter else { return Ok(None) };
    let filter = node_from_proto(filter)?;
    filter.check()?;
    Ok(Some(filter))
}

// Recursion is bounded: prost refuses messages nested deeper than 100.
fn node_from_proto(filter: v1::Filter) -> Result<Filter> {
    let node = filter
        .node
        .ok_or_else(|| Error::invalid("filter", "a filter without a condition; leave the filter out instead"))?;
    match node {
        Node::And(list) => Filter::and(list_from_proto(list)?),
        Node::Or(list) => Filter::or(list_from_proto(list)?),
        Node::Not(inner) => Ok(Filter::Not(Box::new(node_from_proto(*inner)?))),
        Node::Compare(comparison) => {
            let path = path_from_proto(&comparison.path)?;
            let operator = operator_from_proto(comparison.operator())?;
            let value = comparison.value.ok_or_else(|| Error::invalid("filter.value", "a comparison needs a value"))?;
            Ok(Filter::Compare(path, operator, value_from_proto(value).map_err(|error| error.within("filter.value"))?))
        }
        Node::In(membership) => {
            let values = membership.values.into_iter().map(value_from_proto).collect::<Result<_>>();
            Ok(Filter::In(path_from_proto(&membership.path)?, values.map_err(|error| error.within("filter.values"))?))
        }
        Node::Exists(path) => Ok(Filter::Exists(path_from_proto(&path)?)),
        Node::Prefix(prefix) => Ok(Filter::Prefix(path_from_proto(&prefix.path)?, prefix.prefix)),
        Node::Expression(text) => parse(&text),
    }
}

fn list_from_proto(list: v1::FilterList) -> Result<Vec<Filter>> {
    list.filters.into_iter().map(node_from_proto).collect()
}

pub(in crate::rpc) fn path_from_proto(path: &str) -> Result<Path> {
    parse_path(path)
}

fn operator_from_proto(operator: v1::ComparisonOperator) -> Result<Operator> {
    Ok(match operator {
        v1::ComparisonOperator::Equal => Operator::Equal,
        v1::ComparisonOperator::NotEqual => Operator::NotEqual,
        v1::ComparisonOperator::Less => Operator::Less,
        v1::ComparisonOperator::LessOrEqual => Operator::LessOrEqual,
        v1::ComparisonOperator::Greater => Operator::Greater,
        v1::ComparisonOperator::GreaterOrEqual => Operator::GreaterOrEqual,
        v1::ComparisonOperator::Unspecified => {
            return Err(Error::invalid("filter.operator", "a comparison needs an operator"));
        }
    })
}
