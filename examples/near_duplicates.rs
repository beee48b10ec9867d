//! Prints pairs of pictures that look the same at 16 × 16 pixels: `near_duplicates DISTANCE TABLE`, each line of the table being a
//! group, a tab and a file. Pairs are within a group; the distance is the mean difference of the pixels, 0 to 1.

use std::collections::BTreeMap;

use anyhow::{Context as _, bail};
use pictor::image::{Filter, ImageConfig, ImagePreparer, ImageRule, ResizeRule};
use rayon::prelude::*;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [distance, table] = &arguments[..] else { bail!("usage: near_duplicates DISTANCE TABLE") };
    let limit = (distance.parse::<f64>().context("DISTANCE")? * 255.0 * 768.0) as u32;
    let table = std::fs::read_to_string(table).with_context(|| format!("reading {table}"))?;
    let resize = ResizeRule::Exact { height: 16, width: 16 };
    let config = ImageConfig { resize, filter: Filter::Bilinear, crop: None, ..ImageConfig::VIT };
    let preparer = ImagePreparer::new(config, ImageRule::Pictor)?;
    let mut groups: BTreeMap<&str, Vec<(&str, Vec<u8>)>> = BTreeMap::new();
    for line in table.lines() {
        let (group, file) = line.split_once('\t').with_context(|| format!("no tab in {line:?}"))?;
        let bytes = std::fs::read(file).with_context(|| format!("reading {file}"))?;
        groups.entry(group).or_default().push((file, preparer.prepare(&bytes)?.data));
    }
    for pictures in groups.values() {
        let near = |number: usize| -> Vec<(usize, usize)> {
            let one = &pictures[number].1;
            let is_near = |other: &usize| {
                one.iter().zip(&pictures[*other].1).map(|(a, b)| u32::from(a.abs_diff(*b))).sum::<u32>() < limit
            };
            (number + 1..pictures.len()).filter(is_near).map(|other| (number, other)).collect()
        };
        let pairs: Vec<_> = (0..pictures.len()).into_par_iter().flat_map_iter(near).collect();
        pairs.iter().for_each(|(one, other)| println!("{}\t{}", pictures[*one].0, pictures[*other].0));
    }
    Ok(())
}
