//! The learning rate's way through a run.

use serde::Deserialize;

use crate::Result;
use crate::train::piece::Settings;

/// A recipe's `[schedule]`: linear warm-up, then `shape` down to `floor`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    pub shape: Shape,
    #[serde(default)]
    pub warmup: u64,
    /// The last step's share of the highest rate.
    #[serde(default)]
    pub floor: f64,
    /// Steps that the way is laid out for, if not for the run's; after them it stays at its end.
    pub steps: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Shape {
    Constant,
    Cosine,
    Linear,
}

impl Schedule {
    /// Reads the recipe's table.
    ///
    /// # Errors
    /// `InvalidArgument` for the key.
    pub fn read(settings: &Settings) -> Result<Self> {
        let read: Self = settings.read()?;
        settings.within("floor", read.floor, 0.0, 1.0)?;
        Ok(read)
    }

    /// The share of the highest rate at a step, counted from 0, of a run of `total`.
    #[must_use]
    pub fn share(&self, step: u64, total: u64) -> f64 {
        let total = self.steps.unwrap_or(total);
        if step < self.warmup {
            return (step + 1) as f64 / self.warmup as f64;
        }
        let progress = ((step - self.warmup) as f64 / total.saturating_sub(self.warmup).max(1) as f64).min(1.0);
        let share = match self.shape {
            Shape::Constant => 1.0,
            Shape::Cosine => 0.5 * (1.0 + (std::f64::consts::PI * progress).cos()),
            Shape::Linear => 1.0 - progress,
        };
        self.floor + (1.0 - self.floor) * share.max(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_rise_and_fall_as_the_formula_says() {
        let schedule = Schedule { shape: Shape::Cosine, warmup: 4, floor: 0.1, steps: None };
        let found: Vec<f64> = [0, 3, 4, 7, 9].iter().map(|&step| schedule.share(step, 10)).collect();
        let half_way = 0.1 + 0.9 * 0.5;
        let last = 0.1 + 0.9 * 0.5 * (1.0 + (std::f64::consts::PI * 5.0 / 6.0).cos());
        for (found, expected) in found.iter().zip([0.25, 1.0, 1.0, half_way, last]) {
            assert!((found - expected).abs() < 1e-12, "{found} and not {expected}");
        }
        let cut = Schedule { steps: Some(10), ..schedule };
        assert!(
            (0..6).all(|step| cut.share(step, 6) == schedule.share(step, 10)),
            "a run that ends before its rates do"
        );
        assert_eq!(cut.share(15, 20), 0.1, "a run that goes on after them");
        let linear = Schedule { shape: Shape::Linear, warmup: 0, floor: 0.0, steps: None };
        assert!((linear.share(5, 10) - 0.5).abs() < 1e-12);
    }
}
