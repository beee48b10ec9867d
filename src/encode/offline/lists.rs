//! The files that name what to embed: one text, JSON value or path a line.

use std::path::{Path, PathBuf};

use super::EmbedRequest;
use crate::{Error, Result};

/// The texts to embed, from the one file that names them.
pub(super) fn read_texts(request: &EmbedRequest) -> Result<Vec<String>> {
    match (&request.texts_from, &request.texts_jsonl) {
        (Some(path), None) => read_lines(path)?.lines(|_, line| Ok(line.to_owned())),
        (None, Some(path)) => read_lines(path)?.lines(text_of_json),
        (None, None) if request.images_from.is_some() => Ok(Vec::new()),
        _ => Err(Error::invalid(
            "texts",
            "expected at most one of --texts-from and --texts-jsonl, and something to embed",
        )),
    }
}

/// A picture to embed and the place that names it.
pub(super) struct ImagePath {
    pub path: PathBuf,
    /// FILE:LINE.
    pub place: String,
}

/// The pictures to embed.
pub(super) fn read_images(request: &EmbedRequest) -> Result<Vec<ImagePath>> {
    let Some(list) = &request.images_from else { return Ok(Vec::new()) };
    let paths = read_lines(list)?.lines(|place, line| {
        if line.is_empty() {
            return Err(Error::invalid(place, "expected a picture's path, found an empty line"));
        }
        Ok(line.to_owned())
    })?;
    let named = |(number, path): (usize, String)| ImagePath {
        path: path.into(),
        place: format!("{}:{}", list.display(), number + 1),
    };
    Ok(paths.into_iter().enumerate().map(named).collect())
}

/// A file to be read line by line.
struct Lines<'a> {
    path: &'a Path,
    bytes: Vec<u8>,
}

fn read_lines(path: &Path) -> Result<Lines<'_>> {
    let bytes = std::fs::read(path).map_err(|error| Error::invalid(path.display().to_string(), error.to_string()))?;
    Ok(Lines { path, bytes })
}

impl Lines<'_> {
    /// Reads every line: LF ends one, a CR before it is dropped, what follows the last LF is a line if it is not empty.
    fn lines(&self, read: impl Fn(&str, &str) -> Result<String>) -> Result<Vec<String>> {
        let mut lines: Vec<&[u8]> = self.bytes.split(|&byte| byte == b'\n').collect();
        if lines.last().is_some_and(|line| line.is_empty()) {
            lines.pop();
        }
        let line = |(number, bytes): (usize, &[u8])| {
            let place = format!("{}:{}", self.path.display(), number + 1);
            let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
            let text = std::str::from_utf8(bytes)
                .map_err(|error| Error::invalid(place.clone(), format!("not UTF-8: {error}")))?;
            read(&place, text)
        };
        lines.into_iter().enumerate().map(line).collect()
    }
}

fn text_of_json(place: &str, line: &str) -> Result<String> {
    let wrong =
        |found: String| Error::invalid(place, format!("expected a JSON string or {{\"text\": string}}, {found}"));
    let json = serde_json::from_str(line).map_err(|error| wrong(format!("but it is no JSON: {error}")))?;
    match &json {
        serde_json::Value::String(text) => Ok(text.clone()),
        other => match other.get("text") {
            Some(serde_json::Value::String(text)) => Ok(text.clone()),
            _ => Err(wrong(format!("found {}", line.chars().take(80).collect::<String>()))),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines_of(bytes: &[u8], json: bool) -> Result<Vec<String>> {
        let lines = Lines { path: Path::new("list"), bytes: bytes.to_vec() };
        if json { lines.lines(text_of_json) } else { lines.lines(|_, line| Ok(line.to_owned())) }
    }

    #[test]
    fn every_line_is_a_text() {
        let check = |bytes: &[u8], expected: &[&str]| assert_eq!(lines_of(bytes, false).expect("lines"), expected);
        check(b"", &[]);
        check(b"\n", &[""]);
        check(b"a\r\n\r\n b \nc", &["a", "", " b ", "c"]);
        check(b"a\rb\n", &["a\rb"]);
        let error = lines_of(b"a\n\xff\n", false).expect_err("not UTF-8");
        assert!(error.to_string().starts_with("list:2: not UTF-8"), "{error}");
    }

    #[test]
    fn json_lines_are_strings_or_objects() {
        assert_eq!(lines_of(b"\"a\\nb\"\n{\"text\": \"c\", \"id\": 1}\r\n", true).expect("lines"), ["a\nb", "c"]);
        for bad in ["1", "{}", "{\"text\": 1}", "", "x"] {
            let error = lines_of(format!("\"ok\"\n{bad}\n").as_bytes(), true).expect_err(bad);
            assert!(error.to_string().starts_with("list:2:"), "{error}");
        }
    }
}
