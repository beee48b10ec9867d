//! A run's curves as a picture: what it loses above, what it finds of held-out items below.

use std::collections::BTreeMap;
use std::path::Path;

use plotters::prelude::{
    ChartBuilder, IntoDrawingArea as _, IntoFont as _, LineSeries, Palette as _, Palette99, PathElement, SVGBackend,
    WHITE,
};
use plotters::style::{BLACK, Color as _};

use super::progress::{Line, lines, replace};
use crate::{Error, Result};

pub const PLOT: &str = "metrics.svg";

const SIZE: (u32, u32) = (960, 720);

/// The points of each curve, by name.
type Curves = BTreeMap<String, Vec<(f64, f64)>>;

/// Draws the metrics that the run has written so far. Without two points nothing is drawn.
///
/// # Errors
/// `Storage` or `StorageFull`.
pub fn write(run: &Path, title: &str) -> Result<()> {
    match draw(title, &lines(run)?)? {
        Some(svg) => replace(&run.join(PLOT), svg.as_bytes()),
        None => Ok(()),
    }
}

fn draw(title: &str, lines: &[Line]) -> Result<Option<String>> {
    let losses = curves(lines, "train", |name| name == "loss" || name.starts_with("loss."));
    let found = curves(lines, "eval", |name| name.contains(".R@"));
    let panels: Vec<(&str, &Curves)> =
        [("loss", &losses), ("held-out recall", &found)].into_iter().filter(|(_, curves)| has_points(curves)).collect();
    if panels.is_empty() {
        return Ok(None);
    }
    let failed = |error: &dyn std::fmt::Display| Error::Internal(format!("drawing the metrics: {error}"));
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        area.fill(&WHITE).map_err(|error| failed(&error))?;
        let area = area.titled(title, ("sans-serif", 20).into_font()).map_err(|error| failed(&error))?;
        for (part, (name, curves)) in area.split_evenly((panels.len(), 1)).iter().zip(panels) {
            let ((left, right), (low, high)) = ranges(curves);
            let mut chart = ChartBuilder::on(part)
                .margin(12)
                .x_label_area_size(32)
                .y_label_area_size(56)
                .build_cartesian_2d(left..right, low..high)
                .map_err(|error| failed(&error))?;
            chart.configure_mesh().x_desc("step").y_desc(name).draw().map_err(|error| failed(&error))?;
            for (number, (name, points)) in curves.iter().enumerate() {
                let colour = Palette99::pick(number).stroke_width(2);
                let series = LineSeries::new(points.iter().copied(), colour);
                let sample = move |(x, y): (i32, i32)| PathElement::new(vec![(x, y), (x + 16, y)], colour);
                chart.draw_series(series).map_err(|error| failed(&error))?.label(name).legend(sample);
            }
            let labels = &mut chart.configure_series_labels();
            labels.background_style(WHITE.mix(0.8)).border_style(BLACK).draw().map_err(|error| failed(&error))?;
        }
        area.present().map_err(|error| failed(&error))?;
    }
    Ok(Some(svg))
}

fn curves(lines: &[Line], kind: &str, is_drawn: impl Fn(&str) -> bool) -> Curves {
    let mut curves = Curves::new();
    for line in lines.iter().filter(|line| line.kind == kind) {
        for (name, value) in line.values.iter().filter(|(name, value)| is_drawn(name) && value.is_finite()) {
            curves.entry(name.clone()).or_default().push((line.step as f64, *value));
        }
    }
    curves
}

fn has_points(curves: &Curves) -> bool {
    curves.values().any(|points| points.len() > 1)
}

/// The least and the greatest step and value, a little apart even if they are equal.
fn ranges(curves: &Curves) -> ((f64, f64), (f64, f64)) {
    let points = || curves.values().flatten();
    let range = |values: &mut dyn Iterator<Item = f64>| {
        let (low, high) =
            values.fold((f64::MAX, f64::MIN), |(low, high), value| (f64::min(low, value), f64::max(high, value)));
        (low.min(high), if high - low < 1e-9 { high + 1e-3 } else { high + (high - low) * 0.05 })
    };
    (range(&mut points().map(|point| point.0)), range(&mut points().map(|point| point.1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(step: u64, kind: &str, values: &[(&str, f64)]) -> Line {
        let values = values.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
        Line { step, kind: kind.to_owned(), values, seconds: 0.0 }
    }

    #[test]
    fn curves_stand_in_their_panels() {
        let one = [line(0, "eval", &[("all.R@1", 0.1)]), line(10, "train", &[("loss", 2.0), ("lr", 0.1)])];
        assert_eq!(draw("run", &one).expect("a drawing"), None, "one point is no curve");
        let mut more = one.to_vec();
        more.extend([line(20, "train", &[("loss", 1.0), ("lr", f64::NAN)]), line(20, "eval", &[("all.R@1", 0.9)])]);
        let svg = draw("run <1>", &more).expect("a drawing").expect("two curves");
        for expected in ["held-out recall", "all.R@1", "run &lt;1&gt;", "<polyline"] {
            assert!(svg.contains(expected), "no {expected} in {svg}");
        }
        assert!(!svg.contains("lr\n"), "the learning rate is not drawn");
        let flat = [line(1, "train", &[("loss", 1.0)]), line(2, "train", &[("loss", 1.0)])];
        assert!(draw("flat", &flat).expect("a drawing").is_some());
    }
}
