//! Renders SVG files as PNG of one size, transparent where nothing is drawn: `rasterise SIZE TABLE`, each line of the table being
//! an SVG file, a tab and a PNG file.

use anyhow::{Context as _, bail};
use rayon::prelude::*;
use resvg::{tiny_skia, usvg};

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [size, table] = &arguments[..] else { bail!("usage: rasterise SIZE TABLE") };
    let size: u32 = size.parse().context("SIZE")?;
    let table = std::fs::read_to_string(table).with_context(|| format!("reading {table}"))?;
    let jobs = table.lines().map(|line| line.split_once('\t').with_context(|| format!("no tab in {line:?}")));
    let jobs = jobs.collect::<anyhow::Result<Vec<_>>>()?;
    jobs.par_iter().try_for_each(|(svg, png)| render(svg, png, size))
}

/// The longer side fills the square.
fn render(svg: &str, png: &str, size: u32) -> anyhow::Result<()> {
    let bytes = std::fs::read(svg).with_context(|| format!("reading {svg}"))?;
    let tree = usvg::Tree::from_data(&bytes, &usvg::Options::default()).with_context(|| format!("parsing {svg}"))?;
    let (width, height) = (tree.size().width(), tree.size().height());
    let scale = size as f32 / width.max(height);
    let shift = |side: f32| (size as f32 - side * scale) / 2.0;
    let transform = tiny_skia::Transform::from_row(scale, 0.0, 0.0, scale, shift(width), shift(height));
    let mut pixels = tiny_skia::Pixmap::new(size, size).context("SIZE is 0")?;
    resvg::render(&tree, transform, &mut pixels.as_mut());
    pixels.save_png(png).with_context(|| format!("writing {png}"))
}
