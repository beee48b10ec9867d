//! Writes a filter in its text form, so that parsing it gives the same tree.

use std::fmt;

use super::ast::{Filter, Operator, Path};
use super::parse::{KEYWORDS, is_word};
use crate::types::Value;

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::And(filters) => write_joined(f, filters, " and "),
            Self::Or(filters) => write_joined(f, filters, " or "),
            Self::Not(filter) => {
                f.write_str("not ")?;
                write_operand(f, filter)
            }
            Self::Compare(path, operator, value) => {
                write!(f, "{path} {operator} ")?;
                write_scalar(f, value)
            }
            Self::In(path, values) => {
                write!(f, "{path} in [")?;
                for (position, value) in values.iter().enumerate() {
                    if position > 0 {
                        f.write_str(", ")?;
                    }
                    write_scalar(f, value)?;
                }
                f.write_str("]")
            }
            Self::Exists(path) => write!(f, "exists({path})"),
            Self::Prefix(path, prefix) => {
                write!(f, "{path} ^= ")?;
                write_string(f, prefix)
            }
        }
    }
}

fn write_joined(f: &mut fmt::Formatter<'_>, filters: &[Filter], joint: &str) -> fmt::Result {
    for (position, filter) in filters.iter().enumerate() {
        if position > 0 {
            f.write_str(joint)?;
        }
        write_operand(f, filter)?;
    }
    Ok(())
}

fn write_operand(f: &mut fmt::Formatter<'_>, filter: &Filter) -> fmt::Result {
    if matches!(filter, Filter::And(_) | Filter::Or(_)) { write!(f, "({filter})") } else { write!(f, "{filter}") }
}

fn write_scalar(f: &mut fmt::Formatter<'_>, value: &Value) -> fmt::Result {
    match value {
        Value::Null => f.write_str("null"),
        Value::Bool(value) => write!(f, "{value}"),
        Value::Int(value) => write!(f, "{value}"),
        // Debug always writes a point or an exponent, which is what tells a double from an int.
        Value::Double(value) => write!(f, "{value:?}"),
        Value::String(text) => write_string(f, text),
        Value::Timestamp(time) => write!(f, "{time}"),
        Value::List(_) | Value::Map(_) => Err(fmt::Error),
    }
}

fn write_string(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    f.write_str(&serde_json::Value::from(text).to_string())
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, component) in self.0.iter().enumerate() {
            if position > 0 {
                f.write_str(".")?;
            }
            if is_word(component) && !(self.0.len() == 1 && KEYWORDS.contains(&component.as_str())) {
                f.write_str(component)?;
            } else {
                write_string(f, component)?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Equal => "=",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
        })
    }
}
