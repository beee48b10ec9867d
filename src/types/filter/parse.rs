//! Reads a filter's text form.
//!
//! ```text
//! or      = and ("or" and)*
//! and     = unary ("and" unary)*
//! unary   = "not" unary | "(" or ")" | "exists" "(" path ")" | path test
//! test    = ("=" | "!=" | "<" | "<=" | ">" | ">=") scalar | "in" "[" [scalar ("," scalar)*] "]" | "^=" string
//! path    = component ("." component)*          component = word | string
//! scalar  = "null" | "true" | "false" | number | string | RFC 3339 time
//! ```

use super::ast::{Filter, Operator, Path};
use crate::types::limits::{FILTER_BYTES, FILTER_DEPTH};
use crate::types::{Error, Result, Timestamp, Value};

/// Words that mean something else when they stand alone as a path.
pub(super) const KEYWORDS: [&str; 7] = ["and", "or", "not", "in", "exists", "true", "false"];

/// Reads a whole filter.
///
/// # Errors
/// [`Error::InvalidArgument`] with the position and what was expected there; [`Error::LimitExceeded`].
pub fn parse(text: &str) -> Result<Filter> {
    FILTER_BYTES.check("filter", text.len())?;
    let mut parser = Parser { text, position: 0, depth: 0 };
    let filter = parser.or()?;
    parser.skip_space();
    if parser.position < text.len() {
        return Err(parser.expected("`and`, `or` or the end"));
    }
    filter.check()?;
    Ok(filter)
}

/// Reads a dotted path.
///
/// # Errors
/// As [`parse`].
pub fn parse_path(text: &str) -> Result<Path> {
    FILTER_BYTES.check("filter.path", text.len())?;
    let mut parser = Parser { text, position: 0, depth: 0 };
    let path = parser.path()?;
    parser.skip_space();
    if parser.position < text.len() {
        return Err(parser.expected("`.` or the end of the path"));
    }
    Ok(path)
}

/// True if a path component needs no quotes.
pub(super) fn is_word(text: &str) -> bool {
    text.chars().next().is_some_and(|first| first.is_alphabetic() || first == '_') && text.chars().all(is_word_char)
}

fn is_word_char(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '-')
}

struct Parser<'a> {
    text: &'a str,
    position: usize,
    depth: usize,
}

impl Parser<'_> {
    fn or(&mut self) -> Result<Filter> {
        let mut filters = vec![self.and()?];
        while self.take_keyword("or") {
            filters.push(self.and()?);
        }
        Filter::or(filters)
    }

    fn and(&mut self) -> Result<Filter> {
        let mut filters = vec![self.unary()?];
        while self.take_keyword("and") {
            filters.push(self.unary()?);
        }
        Filter::and(filters)
    }

    fn unary(&mut self) -> Result<Filter> {
        // Checked while descending, so that hostile nesting cannot exhaust the stack.
        self.depth += 1;
        FILTER_DEPTH.check("filter", self.depth)?;
        let filter = if self.take_keyword("not") {
            Filter::Not(Box::new(self.unary()?))
        } else if self.take("(") {
            let inner = self.or()?;
            self.require(")")?;
            inner
        } else {
            self.test()?
        };
        self.depth -= 1;
        Ok(filter)
    }

    fn test(&mut self) -> Result<Filter> {
        let start = self.position;
        if self.take_keyword("exists") {
            if self.take("(") {
                let path = self.path()?;
                self.require(")")?;
                return Ok(Filter::Exists(path));
            }
            self.position = start;
        }
        let path = self.path()?;
        if self.take_keyword("in") {
            return Ok(Filter::In(path, self.list()?));
        }
        if self.take("^=") {
            self.skip_space();
            return Ok(Filter::Prefix(path, self.string()?));
        }
        // Longer signs first: "<=" starts with "<".
        let operators = [
            ("!=", Operator::NotEqual),
            ("<=", Operator::LessOrEqual),
            (">=", Operator::GreaterOrEqual),
            ("=", Operator::Equal),
            ("<", Operator::Less),
            (">", Operator::Greater),
        ];
        for (sign, operator) in operators {
            if self.take(sign) {
                return Ok(Filter::Compare(path, operator, self.scalar()?));
            }
        }
        Err(self.expected("one of = != < <= > >= ^= in"))
    }

    fn list(&mut self) -> Result<Vec<Value>> {
        self.require("[")?;
        let mut values = Vec::new();
        if self.take("]") {
            return Ok(values);
        }
        loop {
            values.push(self.scalar()?);
            if self.take("]") {
                return Ok(values);
            }
            self.require(",")?;
        }
    }

    fn path(&mut self) -> Result<Path> {
        let mut components = Vec::new();
        loop {
            self.skip_space();
            if self.rest().starts_with('"') {
                components.push(self.string()?);
            } else {
                let word = self.word();
                let is_alone = components.is_empty() && !self.rest()[word.len()..].starts_with('.');
                if !is_word(&word) || (is_alone && KEYWORDS.contains(&word.as_str())) {
                    return Err(self.expected("a field's name"));
                }
                self.position += word.len();
                components.push(word);
            }
            if !self.rest().starts_with('.') {
                return Path::new(components);
            }
            self.position += 1;
        }
    }

    fn scalar(&mut self) -> Result<Value> {
        self.skip_space();
        let rest = self.rest();
        if rest.starts_with('"') {
            return Ok(Value::String(self.string()?));
        }
        let end = rest
            .find(|c: char| !(c.is_alphanumeric() || matches!(c, '+' | '-' | '.' | ':' | '_')))
            .unwrap_or(rest.len());
        let token = &rest[..end];
        let value = match token {
            "null" => Value::Null,
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            _ => number_or_time(token)
                .ok_or_else(|| self.expected("a string in double quotes, a number, a time, true, false or null"))?,
        };
        self.position += end;
        Ok(value)
    }

    /// A JSON string; the position stands on its opening quote.
    fn string(&mut self) -> Result<String> {
        let rest = self.rest();
        if !rest.starts_with('"') {
            return Err(self.expected("a string in double quotes"));
        }
        let mut is_escaped = false;
        let end = rest[1..].find(|c: char| {
            let is_end = c == '"' && !is_escaped;
            is_escaped = c == '\\' && !is_escaped;
            is_end
        });
        let Some(end) = end else { return Err(self.expected("a closing double quote")) };
        let literal = &rest[..end + 2];
        let text = serde_json::from_str(literal).map_err(|_| self.expected("a string with JSON escapes"))?;
        self.position += literal.len();
        Ok(text)
    }

    fn word(&self) -> String {
        self.rest().chars().take_while(|&c| is_word_char(c)).collect()
    }

    fn take(&mut self, token: &str) -> bool {
        self.skip_space();
        let is_there = self.rest().starts_with(token);
        if is_there {
            self.position += token.len();
        }
        is_there
    }

    fn take_keyword(&mut self, keyword: &str) -> bool {
        self.skip_space();
        let is_there = self.word() == keyword && !self.rest()[keyword.len()..].starts_with('.');
        if is_there {
            self.position += keyword.len();
        }
        is_there
    }

    fn require(&mut self, token: &str) -> Result<()> {
        if self.take(token) { Ok(()) } else { Err(self.expected(&format!("`{token}`"))) }
    }

    fn skip_space(&mut self) {
        self.position += self.rest().len() - self.rest().trim_start().len();
    }

    fn rest(&self) -> &str {
        &self.text[self.position..]
    }

    fn expected(&self, what: &str) -> Error {
        let found: String = self.rest().trim_start().chars().take(20).collect();
        let found = if found.is_empty() { "the end".to_owned() } else { format!("{found:?}") };
        Error::invalid("filter", format!("expected {what} at byte {}, found {found}", self.position))
    }
}

fn number_or_time(token: &str) -> Option<Value> {
    if !token.starts_with(|c: char| c.is_ascii_digit() || c == '-') {
        return None;
    }
    if token.contains(['T', 't', ':']) || token.get(4..5) == Some("-") {
        return Timestamp::parse(token).ok().map(Value::Timestamp);
    }
    if token.contains(['.', 'e', 'E']) {
        return token.parse().ok().filter(|number: &f64| number.is_finite()).map(Value::Double);
    }
    token.parse().ok().map(Value::Int)
}
