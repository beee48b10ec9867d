//! Paths and queries of URLs.

use std::collections::BTreeMap;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::types::{Error, Result};

/// What a path's segment may hold as it is.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Writes a name as one segment of a path.
pub(super) fn segment(name: &str) -> String {
    utf8_percent_encode(name, SEGMENT).to_string()
}

/// Reads one segment of a path as it came.
///
/// # Errors
/// [`Error::InvalidArgument`] if it is not UTF-8.
pub(super) fn name_of(field: &str, segment: &str) -> Result<String> {
    let decoded = percent_decode_str(segment).decode_utf8();
    decoded.map(Into::into).map_err(|_| Error::invalid(field, "expected UTF-8 in percent-encoding"))
}

/// Reads a query into its parameters, of which only those in `known` may be there, each once.
///
/// # Errors
/// [`Error::InvalidArgument`].
pub(super) fn parameters(query: Option<&str>, known: &[&str]) -> Result<BTreeMap<String, String>> {
    let mut parameters = BTreeMap::new();
    for pair in query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let (name, value) = (name_of("query", name)?, name_of("query", &value.replace('+', " "))?);
        if !known.contains(&name.as_str()) {
            let message = format!("expected {}, got the parameter {name:?}", known.join(", "));
            return Err(Error::invalid("query", message));
        }
        if parameters.insert(name.clone(), value).is_some() {
            return Err(Error::invalid(name, "this parameter stands twice"));
        }
    }
    Ok(parameters)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_name_is_one_segment_and_comes_back() {
        for name in ["a", "a/b.png", "ünï 😀", "?&#%", "<script>", "..", "a+b"] {
            let written = segment(name);
            assert!(!written.contains(['/', '?', '#', '&', '+', '<']), "{written}");
            assert_eq!(name_of("id", &written).as_deref(), Ok(name));
        }
        assert!(name_of("id", "%ff").is_err());
    }

    #[test]
    fn parameters_are_known_and_stand_once() {
        let check = |query: &str, expected: Option<&[(&str, &str)]>| {
            let found = parameters(Some(query), &["part", "size"]).ok();
            let expected =
                expected.map(|pairs| pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect());
            assert_eq!(found, expected, "{query}");
        };
        check("", Some(&[]));
        check("part=1&size=a+b%2F", Some(&[("part", "1"), ("size", "a b/")]));
        check("part", Some(&[("part", "")]));
        check("part=1&part=2", None);
        check("other=1", None);
        check("part=%ff", None);
    }
}
