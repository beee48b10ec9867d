//! What each output pixel takes from the input: Pillow's filters and weights, to the last bit.

/// How a picture is resampled. The names and numbers are Pillow's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Filter {
    Nearest,
    Box,
    Bilinear,
    Bicubic,
    Lanczos,
}

impl Filter {
    /// Every filter, by Pillow's number.
    pub const ALL: [(u64, Self); 5] =
        [(0, Self::Nearest), (1, Self::Lanczos), (2, Self::Bilinear), (3, Self::Bicubic), (4, Self::Box)];

    /// The filter with Pillow's number, as `resample` in model folders has it.
    #[must_use]
    pub fn from_pillow(number: u64) -> Option<Self> {
        Self::ALL.iter().find(|(known, _)| *known == number).map(|(_, filter)| *filter)
    }

    /// How far the filter reaches to each side, in input pixels when enlarging.
    fn support(self) -> f64 {
        match self {
            Self::Nearest | Self::Box => 0.5,
            Self::Bilinear => 1.0,
            Self::Bicubic => 2.0,
            Self::Lanczos => 3.0,
        }
    }

    fn weight(self, x: f64) -> f64 {
        match self {
            Self::Nearest | Self::Box => f64::from(x > -0.5 && x <= 0.5),
            Self::Bilinear => (1.0 - x.abs()).max(0.0),
            Self::Bicubic => cubic(x.abs()),
            Self::Lanczos if (-3.0..3.0).contains(&x) => sinc(x) * sinc(x / 3.0),
            Self::Lanczos => 0.0,
        }
    }
}

/// The cubic convolution kernel with a = -½.
fn cubic(x: f64) -> f64 {
    const A: f64 = -0.5;
    if x < 1.0 {
        ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        (((x - 5.0) * x + 8.0) * x - 4.0) * A
    } else {
        0.0
    }
}

fn sinc(x: f64) -> f64 {
    if x == 0.0 {
        return 1.0;
    }
    let x = x * std::f64::consts::PI;
    x.sin() / x
}

/// Fractional bits of a weight: 32 less 8 for the pixel and 2 for sums beyond 1.
pub(super) const PRECISION_BITS: u32 = 22;

/// The weights of a range of output pixels along one axis.
pub(super) struct Coefficients {
    /// For each output pixel its first input pixel and where its weights stand.
    taps: Vec<(usize, std::ops::Range<usize>)>,
    weights: Vec<i32>,
}

impl Coefficients {
    /// Computes the weights of the output pixels `start..start + count` when `input` pixels become `output`.
    pub(super) fn new(filter: Filter, input: usize, output: usize, start: usize, count: usize) -> Self {
        let scale = input as f64 / output as f64;
        // Reducing widens the filter, so that every input pixel counts.
        let stretch = scale.max(1.0);
        let support = filter.support() * stretch;
        let per_pixel = 1.0 / stretch;
        let mut taps = Vec::with_capacity(count);
        let mut weights = Vec::new();
        let mut exact = Vec::new();
        for position in start..start + count {
            let centre = (position as f64 + 0.5) * scale;
            // `as` cuts towards zero, and negative numbers become 0.
            let first = (centre - support + 0.5) as usize;
            let end = ((centre + support + 0.5) as usize).min(input);
            exact.clear();
            exact.extend((first..end).map(|x| filter.weight((x as f64 - centre + 0.5) * per_pixel)));
            let sum: f64 = exact.iter().sum();
            let from = weights.len();
            weights.extend(exact.iter().map(|&weight| quantise(if sum == 0.0 { weight } else { weight / sum })));
            taps.push((first, from..weights.len()));
        }
        Self { taps, weights }
    }

    /// The weights of output pixels that are the input pixels of the same number.
    pub(super) fn identity(start: usize, count: usize) -> Self {
        let taps = (0..count).map(|index| (start + index, index..index + 1)).collect();
        Self { taps, weights: vec![1 << PRECISION_BITS; count] }
    }

    /// The same for the input without `margin` black pixels before and behind its `length` others; black adds nothing.
    pub(super) fn without_margin(mut self, margin: usize, length: usize) -> Self {
        for (first, range) in &mut self.taps {
            let inside = |pixel: usize| pixel.clamp(margin, margin + length);
            let (from, to) = (inside(*first), inside(*first + range.len()));
            let start = range.start + from.saturating_sub(*first).min(range.len());
            *range = start..start + (to - from);
            *first = from - margin;
        }
        self
    }

    /// The first input pixel of the `index`-th output pixel of the range, and the weights from there on.
    #[inline(always)]
    pub(super) fn at(&self, index: usize) -> (usize, &[i32]) {
        let (first, range) = &self.taps[index];
        (*first, &self.weights[range.clone()])
    }

    /// The input pixels that the output pixels `range` of the range need.
    pub(super) fn input_of(&self, range: std::ops::Range<usize>) -> std::ops::Range<usize> {
        let taps = &self.taps[range];
        let first = taps.iter().map(|(first, _)| *first).min().unwrap_or(0);
        let end = taps.iter().map(|(first, range)| first + range.len()).max().unwrap_or(0);
        first..end
    }
}

/// Rounds to a fixed-point number, halves away from zero.
fn quantise(weight: f64) -> i32 {
    let scaled = weight * f64::from(1_u32 << PRECISION_BITS);
    if weight < 0.0 { (scaled - 0.5) as i32 } else { (scaled + 0.5) as i32 }
}

/// The input pixel that each of the output pixels `start..start + count` takes without filtering.
pub(super) fn nearest(input: usize, output: usize, start: usize, count: usize) -> Vec<usize> {
    let step = input as f64 / output as f64;
    // Pillow walks in steps, with the rounding errors that this has.
    let walk = std::iter::successors(Some(step * 0.5), |at| Some(at + step));
    walk.skip(start).take(count).map(|at| (at as usize).min(input - 1)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_of_a_pixel_sum_to_one() {
        for (_, filter) in Filter::ALL {
            for (input, output) in [(1, 1), (1, 9), (9, 1), (640, 224), (224, 640), (7, 5), (32_768, 3)] {
                let coefficients = Coefficients::new(filter, input, output, 0, output);
                for index in 0..output {
                    let (first, weights) = coefficients.at(index);
                    let sum: i64 = weights.iter().map(|&weight| i64::from(weight)).sum();
                    let error = (sum - (1 << PRECISION_BITS)).abs();
                    assert!(error as usize <= weights.len(), "{filter:?} {input} {output} {index}: {sum}");
                    assert!(first + weights.len() <= input && !weights.is_empty());
                }
            }
        }
    }

    #[test]
    fn a_range_has_the_weights_of_the_whole() {
        let whole = Coefficients::new(Filter::Bicubic, 500, 224, 0, 224);
        let range = Coefficients::new(Filter::Bicubic, 500, 224, 100, 24);
        for index in 0..24 {
            assert_eq!(range.at(index), whole.at(100 + index));
        }
    }
}
