//! The queries file: one JSON object a line with something to look for and the ids of its right answers.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use pictor_proto::v1::query_part::Content;
use serde::Deserialize;

/// A query with its answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// Its line in the file, from 1.
    pub line: usize,
    pub looks_for: LooksFor,
    /// The field to search; the command's if it has none.
    pub field: Option<String>,
    /// Ids of right answers.
    pub targets: Vec<String>,
}

/// What a query shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LooksFor {
    Text(String),
    /// A picture's file.
    Image(PathBuf),
    /// A stored item, which does not find itself.
    Item(String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    text: Option<String>,
    image: Option<PathBuf>,
    item: Option<String>,
    field: Option<String>,
    #[serde(default)]
    targets: Vec<String>,
}

impl LooksFor {
    /// `text`, `image` or `item`.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "text",
            Self::Image(_) => "image",
            Self::Item(_) => "item",
        }
    }

    /// The query's part; a picture is read from its file.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn content(&self) -> Result<Content> {
        Ok(match self {
            Self::Text(text) => Content::Text(text.clone()),
            Self::Item(id) => Content::ItemId(id.clone()),
            Self::Image(path) => {
                let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
                Content::Image(bytes.into())
            }
        })
    }
}

/// Reads a queries file, each with at least one right answer; pictures' paths are relative to its folder.
///
/// # Errors
/// If it cannot be read, has no queries, or a line is not one, which is named.
pub fn read(path: &Path) -> Result<Vec<Query>> {
    let queries = read_open(path)?;
    if let Some(query) = queries.iter().find(|query| query.targets.is_empty()) {
        let place = format!("{}:{}", path.display(), query.line);
        bail!("{place}: targets: expected the id of at least one right answer other than the query itself");
    }
    Ok(queries)
}

/// Reads a queries file whose right answers need not be known.
///
/// # Errors
/// If it cannot be read, has no queries, or a line is not one, which is named.
pub fn read_open(path: &Path) -> Result<Vec<Query>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut queries = Vec::new();
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let place = || format!("{}:{}", path.display(), number + 1);
        let parsed: Line = serde_json::from_str(line).with_context(place)?;
        queries.push(query(number + 1, parsed, folder).with_context(place)?);
    }
    if queries.is_empty() {
        bail!(
            "{} has no queries; a line is like {{\"text\": \"a red shoe\", \"targets\": [\"shoe-17\"]}}",
            path.display()
        );
    }
    Ok(queries)
}

fn query(line: usize, parsed: Line, folder: &Path) -> Result<Query> {
    let looks_for = match (parsed.text, parsed.image, parsed.item) {
        (Some(text), None, None) => LooksFor::Text(text),
        (None, Some(path), None) => LooksFor::Image(folder.join(path)),
        (None, None, Some(id)) => LooksFor::Item(id),
        _ => bail!("expected exactly one of text, image and item"),
    };
    let mut targets = parsed.targets;
    if let LooksFor::Item(id) = &looks_for {
        targets.retain(|target| target != id);
    }
    Ok(Query { line, looks_for, field: parsed.field, targets })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: &str) -> Result<Vec<Query>> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("queries.jsonl");
        std::fs::write(&path, text).expect("write");
        read(&path)
    }

    #[test]
    fn lines_become_queries() {
        let text = "{\"text\":\"a\",\"targets\":[\"1\",\"2\"]}\n\n{\"item\":\"1\",\"field\":\"f\",\"targets\":[\"1\",\"3\"]}\n";
        let queries = read_text(text).expect("queries");
        assert_eq!(queries[0].looks_for, LooksFor::Text("a".to_owned()));
        let item = LooksFor::Item("1".to_owned());
        let expected = Query { line: 3, looks_for: item, field: Some("f".to_owned()), targets: vec!["3".to_owned()] };
        assert_eq!(queries[1], expected);
        let queries = read_text("{\"image\":\"a.png\",\"targets\":[\"1\"]}").expect("queries");
        assert!(
            matches!(&queries[0].looks_for, LooksFor::Image(path) if path.ends_with("a.png") && path.is_absolute())
        );
    }

    #[test]
    fn wrong_lines_are_named() {
        for (text, expected) in [
            ("", "has no queries"),
            ("{\"text\":\"a\",\"targets\":[\"1\"]}\nx", ":2"),
            ("{\"text\":\"a\",\"item\":\"b\",\"targets\":[\"1\"]}", "exactly one"),
            ("{\"targets\":[\"1\"]}", "exactly one"),
            ("{\"text\":\"a\",\"targets\":[]}", "at least one right answer"),
            ("{\"item\":\"a\",\"targets\":[\"a\"]}", "at least one right answer"),
            ("{\"text\":\"a\",\"targets\":[\"1\"],\"colour\":\"red\"}", "unknown field"),
        ] {
            let error = format!("{:#}", read_text(text).expect_err(expected));
            assert!(error.contains(expected), "{text:?}: {error}");
        }
    }
}
