//! Draws a contact sheet of a recipe's augmentations as PNG: `augmentations RECIPE OUT.png PICTURE…`, one row for each picture.

use anyhow::{Context as _, bail};
use pictor::image::{ImageConfig, ImagePreparer, ImageRule};
use pictor::train::augment::{Augmenter, Drawing};
use pictor::train::random::random_for;
use pictor::train::recipe::{Recipe, tables};

const COLUMNS: usize = 14;
const SIDE: usize = 64;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [recipe, out, files @ ..] = &arguments[..] else { bail!("usage: augmentations RECIPE OUT.png PICTURE…") };
    let recipe = Recipe::parse(&std::fs::read_to_string(recipe).with_context(|| format!("reading {recipe}"))?)?;
    let augmenter = Augmenter::new(tables("augment", &recipe.augment), (SIDE, SIDE))?;
    let preparer = ImagePreparer::new(ImageConfig::VIT.with_side(SIDE as u32), ImageRule::Pictor)?;
    let (width, height) = (COLUMNS * SIDE, files.len() * SIDE);
    let mut sheet = vec![255; width * height * 3];
    let (mut seconds, mut n) = (0.0, 0);
    for (row, file) in files.iter().enumerate() {
        let bytes = std::fs::read(file).with_context(|| format!("reading {file}"))?;
        let drawing = Drawing::decode(&bytes, &preparer, true)?;
        for column in 0..COLUMNS {
            let mut pixels = Vec::with_capacity(3 * SIDE * SIDE);
            let clock = std::time::Instant::now();
            augmenter.draw(&drawing, &mut random_for(recipe.seed, "sheet", &[row as u64, column as u64]), &mut pixels);
            (seconds, n) = (seconds + clock.elapsed().as_secs_f64(), n + 1);
            for (place, value) in pixels.iter().enumerate() {
                let (channel, y, x) = (place / (SIDE * SIDE), place / SIDE % SIDE, place % SIDE);
                sheet[((row * SIDE + y) * width + column * SIDE + x) * 3 + channel] = (value * 255.0).round() as u8;
            }
        }
    }
    let file = std::fs::File::create(out).with_context(|| format!("writing {out}"))?;
    let mut encoder = png::Encoder::new(std::io::BufWriter::new(file), width as u32, height as u32);
    encoder.set_color(png::ColorType::Rgb);
    encoder.write_header()?.write_image_data(&sheet)?;
    println!("{n} pictures, {:.3} ms each", seconds * 1e3 / f64::from(n));
    Ok(())
}
