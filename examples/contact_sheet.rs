//! Draws what searches found as PNG: `contact_sheet SHEET.jsonl OUT.png`. A line of the table is a search:
//! `{"query": {"image": FILE} or {"text": WORDS} or {"composed": [FILE, WORDS]}, "hits": [{"image": FILE, "label": WORDS, "is_expected": BOOL}]}`; what was
//! expected stands in a green frame.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use font8x8::legacy::BASIC_LEGACY;
use resvg::tiny_skia::{Color, IntSize, Paint, Pixmap, PixmapPaint, Rect, Transform};
use serde::Deserialize;

const CELL: u32 = 112;
const PICTURE: u32 = 72;
const LETTER: u32 = 8;
/// Letters of a line below a picture.
const LETTERS: usize = (CELL / LETTER) as usize - 1;
const LINES: usize = 2;
/// Lines of a query in words.
const QUERY_LINES: usize = 8;

#[derive(Deserialize)]
struct Row {
    query: Query,
    hits: Vec<Hit>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Query {
    Image(PathBuf),
    Text(String),
    /// A picture and a change in words.
    Composed(PathBuf, String),
}

#[derive(Deserialize)]
struct Hit {
    image: PathBuf,
    label: String,
    is_expected: bool,
}

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [table, out] = &arguments[..] else { bail!("usage: contact_sheet SHEET.jsonl OUT.png") };
    let text = std::fs::read_to_string(table).with_context(|| format!("reading {table}"))?;
    let rows = text.lines().map(|line| serde_json::from_str(line).with_context(|| format!("reading {line}")));
    let rows: Vec<Row> = rows.collect::<anyhow::Result<_>>()?;
    let columns = 1 + rows.iter().map(|row| row.hits.len()).max().unwrap_or_default() as u32;
    let mut sheet = Pixmap::new(columns * CELL, rows.len() as u32 * CELL).context("there is nothing to draw")?;
    sheet.fill(Color::WHITE);
    for (row, top) in rows.iter().zip((0..).step_by(CELL as usize)) {
        fill(&mut sheet, [0, top, CELL, CELL], [238, 241, 246]);
        match &row.query {
            Query::Image(file) => picture(&mut sheet, file, [(CELL - PICTURE) / 2, top + (CELL - PICTURE) / 2])?,
            Query::Composed(file, words) => {
                picture(&mut sheet, file, [(CELL - PICTURE) / 2, top + 8])?;
                write_lines(&mut sheet, &wrap(words, LINES), [0, top + PICTURE + 12]);
            }
            Query::Text(words) => {
                let lines = wrap(words, QUERY_LINES);
                let above = (CELL - lines.len() as u32 * (LETTER + 4)) / 2;
                write_lines(&mut sheet, &lines, [0, top + above]);
            }
        }
        for (hit, left) in row.hits.iter().zip((CELL..).step_by(CELL as usize)) {
            if hit.is_expected {
                fill(&mut sheet, [left + 2, top + 2, CELL - 4, CELL - 4], [34, 160, 84]);
                fill(&mut sheet, [left + 5, top + 5, CELL - 10, CELL - 10], [255, 255, 255]);
            }
            picture(&mut sheet, &hit.image, [left + (CELL - PICTURE) / 2, top + 8])?;
            write_lines(&mut sheet, &wrap(&hit.label, LINES), [left, top + PICTURE + 12]);
        }
    }
    sheet.save_png(out).with_context(|| format!("writing {out}"))
}

/// Draws a PNG file into a square.
fn picture(sheet: &mut Pixmap, file: &PathBuf, [left, top]: [u32; 2]) -> anyhow::Result<()> {
    let picture = Pixmap::load_png(file).with_context(|| format!("reading {}", file.display()))?;
    let size = IntSize::from_wh(picture.width(), picture.height()).context("an empty picture")?;
    let scale = PICTURE as f32 / size.width().max(size.height()) as f32;
    let place = Transform::from_row(scale, 0.0, 0.0, scale, left as f32, top as f32);
    let paint = PixmapPaint { quality: resvg::tiny_skia::FilterQuality::Bicubic, ..PixmapPaint::default() };
    sheet.draw_pixmap(0, 0, picture.as_ref(), &paint, place, None);
    Ok(())
}

fn fill(sheet: &mut Pixmap, [left, top, width, height]: [u32; 4], [red, green, blue]: [u8; 3]) {
    let mut paint = Paint::default();
    paint.set_color_rgba8(red, green, blue, 255);
    if let Some(area) = Rect::from_xywh(left as f32, top as f32, width as f32, height as f32) {
        sheet.fill_rect(area, &paint, Transform::identity(), None);
    }
}

/// Breaks words into lines; what does not fit ends in a dot.
fn wrap(words: &str, n_lines: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in words.split_whitespace() {
        let line = lines.last_mut().map(std::mem::take).unwrap_or_default();
        let longer = if line.is_empty() { word.to_owned() } else { format!("{line} {word}") };
        let last = lines.len() - 1;
        if longer.chars().count() <= LETTERS || line.is_empty() {
            lines[last] = longer.chars().take(LETTERS).collect();
        } else {
            lines[last] = line;
            lines.push(word.chars().take(LETTERS).collect());
        }
    }
    if lines.len() > n_lines {
        lines.truncate(n_lines);
        let last = &mut lines[n_lines - 1];
        *last = last.chars().take(LETTERS - 1).chain(['.']).collect();
    }
    lines
}

/// Writes lines in the middle of a cell; letters that the font does not have are left out.
fn write_lines(sheet: &mut Pixmap, lines: &[String], [left, top]: [u32; 2]) {
    for (line, top) in lines.iter().zip((top..).step_by(LETTER as usize + 4)) {
        let width = line.chars().count() as u32 * LETTER;
        for (letter, left) in line.chars().zip((left + (CELL - width) / 2..).step_by(LETTER as usize)) {
            let Some(rows) = BASIC_LEGACY.get(letter as usize) else { continue };
            for (y, bits) in (0..).zip(rows) {
                for x in (0..8).filter(|x| bits >> x & 1 == 1) {
                    fill(sheet, [left + x, top + y, 1, 1], [40, 44, 52]);
                }
            }
        }
    }
}
