//! Black margins that bring a picture nearer to a square before it is resized, as CLIP4Cir's preprocessing adds them.

use std::str::FromStr;

use crate::{Error, Result};

/// Which margins a picture gets.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum PadRule {
    /// A picture whose longer side is at least `ratio` times the shorter one is padded to that ratio: `targetpad`.
    Target { ratio: f64 },
    /// Every picture is padded to a square: `squarepad`.
    Square,
}

impl PadRule {
    /// What CLIP4Cir trains and serves with.
    pub const TARGET: Self = Self::Target { ratio: 1.25 };

    /// The margins of a picture, the same on opposite sides; one pixel of the padded size may be lacking.
    #[must_use]
    pub fn margin(self, width: u32, height: u32) -> Margin {
        let longer = f64::from(width.max(height));
        let side = match self {
            Self::Target { ratio } if longer / f64::from(width.min(height)) < ratio => return Margin::NONE,
            Self::Target { ratio } => longer / ratio,
            Self::Square => longer,
        };
        // `as` cuts towards zero, as Python's `int` does, and makes negative numbers 0.
        let half = |length: u32| ((side - f64::from(length)) / 2.0) as u32;
        Margin { across: half(width), down: half(height) }
    }
}

impl FromStr for PadRule {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text.split_once(':') {
            None if text == "target" => Ok(Self::TARGET),
            None if text == "square" => Ok(Self::Square),
            Some(("target", ratio)) if ratio.parse::<f64>().is_ok_and(is_possible) => {
                Ok(Self::Target { ratio: ratio.parse().unwrap_or(1.25) })
            }
            _ => {
                let message =
                    format!("expected target, target:RATIO with a ratio from 1 to 100, or square; found {text:?}");
                Err(Error::invalid("pad", message))
            }
        }
    }
}

/// True for ratios that mean something.
pub(super) fn is_possible(ratio: f64) -> bool {
    (1.0..=100.0).contains(&ratio)
}

/// Black pixels around a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Margin {
    /// On the left and again on the right.
    pub across: u32,
    /// Above and again below.
    pub down: u32,
}

impl Margin {
    pub const NONE: Self = Self { across: 0, down: 0 };
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Expected: CLIP4Cir's formulas in Python.
    #[test]
    fn margins_are_cut_to_whole_pixels() {
        let check = |rule: PadRule, (width, height), (across, down)| {
            assert_eq!(rule.margin(width, height), Margin { across, down }, "{rule:?} {width}×{height}");
        };
        check(PadRule::TARGET, (640, 480), (0, 16));
        check(PadRule::TARGET, (480, 640), (16, 0));
        check(PadRule::TARGET, (500, 400), (0, 0));
        check(PadRule::TARGET, (501, 400), (0, 0));
        check(PadRule::TARGET, (503, 400), (0, 1));
        check(PadRule::TARGET, (400, 401), (0, 0));
        check(PadRule::TARGET, (1, 32_768), (13_106, 0));
        check(PadRule::Square, (640, 480), (0, 80));
        check(PadRule::Square, (481, 640), (79, 0));
        check(PadRule::Square, (7, 7), (0, 0));
    }

    #[test]
    fn rules_are_read() {
        assert_eq!("target".parse::<PadRule>().expect("a rule"), PadRule::TARGET);
        assert_eq!("target:1.5".parse::<PadRule>().expect("a rule"), PadRule::Target { ratio: 1.5 });
        assert_eq!("square".parse::<PadRule>().expect("a rule"), PadRule::Square);
        for bad in ["", "targets", "target:", "target:0.5", "target:NaN", "square:2"] {
            assert!(matches!(bad.parse::<PadRule>(), Err(Error::InvalidArgument { .. })), "{bad:?}");
        }
    }
}
