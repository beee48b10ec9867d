//! Stdout: JSON lines for programs, aligned tables for people.

use std::io::{self, IsTerminal as _, Write as _};

use console::measure_text_width;

/// Where a command's results go.
#[derive(Clone, Copy, Debug)]
pub struct Output {
    json: bool,
    colors: bool,
    width: Option<usize>,
}

/// A table's column: its heading and side.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    heading: &'static str,
    right: bool,
}

/// A column of words.
#[must_use]
pub const fn left(heading: &'static str) -> Column {
    Column { heading, right: false }
}

/// A column of numbers.
#[must_use]
pub const fn right(heading: &'static str) -> Column {
    Column { heading, right: true }
}

impl Output {
    /// Colours and line cutting are for terminals only; `NO_COLOR` switches colours off.
    #[must_use]
    pub fn new(json: bool) -> Self {
        let terminal = io::stdout().is_terminal();
        let colors = terminal && !json && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let width = terminal.then(|| usize::from(console::Term::stdout().size().1));
        Self { json, colors, width }
    }

    /// True with `--json`.
    #[must_use]
    pub const fn is_json(&self) -> bool {
        self.json
    }

    /// Writes one JSON object as a line.
    ///
    /// # Errors
    /// If stdout is closed.
    pub fn object(&self, object: &serde_json::Value) -> io::Result<()> {
        writeln!(io::stdout().lock(), "{object}")
    }

    /// Writes a line for people; nothing with `--json`.
    ///
    /// # Errors
    /// If stdout is closed.
    pub fn say(&self, line: &str) -> io::Result<()> {
        if self.json { Ok(()) } else { writeln!(io::stdout().lock(), "{line}") }
    }

    /// Writes the object with `--json`, the line without.
    ///
    /// # Errors
    /// If stdout is closed.
    pub fn either(&self, object: &serde_json::Value, line: &str) -> io::Result<()> {
        if self.json { self.object(object) } else { self.say(line) }
    }

    /// Writes rows under headings, each column as wide as its widest cell; lines are cut at the terminal's width.
    ///
    /// # Errors
    /// If stdout is closed.
    pub fn table(&self, columns: &[Column], rows: &[Vec<String>]) -> io::Result<()> {
        let mut stdout = io::stdout().lock();
        for (number, line) in layout(columns, rows).iter().enumerate() {
            let line = match self.width {
                Some(width) => console::truncate_str(line, width, "…"),
                None => line.into(),
            };
            if number == 0 && self.colors {
                writeln!(stdout, "\u{1b}[1m{line}\u{1b}[0m")?;
            } else {
                writeln!(stdout, "{line}")?;
            }
        }
        Ok(())
    }
}

fn layout(columns: &[Column], rows: &[Vec<String>]) -> Vec<String> {
    let headings: Vec<String> = columns.iter().map(|column| column.heading.to_owned()).collect();
    let rows: Vec<Vec<String>> =
        std::iter::once(headings).chain(rows.iter().map(|row| row.iter().map(|cell| plain(cell)).collect())).collect();
    let widths: Vec<usize> = (0..columns.len())
        .map(|index| rows.iter().filter_map(|row| row.get(index)).map(|cell| measure_text_width(cell)).max())
        .map(Option::unwrap_or_default)
        .collect();
    rows.iter()
        .map(|row| {
            let mut line = String::new();
            for ((cell, column), width) in row.iter().zip(columns).zip(&widths) {
                let padding = " ".repeat(width - measure_text_width(cell));
                let (before, after) = if column.right { (padding.as_str(), "") } else { ("", padding.as_str()) };
                line.push_str(before);
                line.push_str(cell);
                line.push_str(after);
                line.push_str("  ");
            }
            line.truncate(line.trim_end().len());
            line
        })
        .collect()
}

/// Stored text must not command the terminal: control characters are written as escapes.
#[must_use]
pub fn plain(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() { safe.extend(character.escape_default()) } else { safe.push(character) }
    }
    safe
}

/// Cuts a text after `limit` characters.
#[must_use]
pub fn shorten(text: &str, limit: usize) -> String {
    match text.char_indices().nth(limit) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_align_by_display_width() {
        let rows = [vec!["1".to_owned(), "日本".to_owned()], vec!["12".to_owned(), "a\u{1b}[31m".to_owned()]];
        let lines = layout(&[right("#"), left("name")], &rows);
        assert_eq!(lines, [" #  name", " 1  日本", "12  a\\u{1b}[31m"]);
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        assert_eq!(shorten("äöü", 3), "äöü");
        assert_eq!(shorten("äöüß", 3), "äöü…");
    }
}
