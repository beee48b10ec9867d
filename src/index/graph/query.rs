//! What a walk asks for: a vector from outside, or a row of its own.

use super::rows::{RowsView, shifted_query};
use super::sketch::{SEARCH_MARGIN, SketchQuery};
use super::walk::Seen;

/// Standard deviations that the high bytes' cosine is allowed to be wrong by.
const MARGIN: f32 = 4.0;

/// A query in the forms that walks compare with; kept by each thread, so that making one allocates nothing.
#[derive(Default)]
pub struct WalkQuery {
    /// High bytes, shifted, as rows are compared with.
    pub(super) shifted: Vec<u8>,
    /// Their length before they were shifted: scores of a walk are cosines times this.
    pub(super) length: f32,
    /// The query is this times its 16-bit numbers.
    pub(super) fine_scale: f32,
    pub(super) sketch: SketchQuery,
    vector: Vec<f32>,
}

impl WalkQuery {
    /// The high bytes, shifted, as rows are compared with.
    pub(super) fn shifted(&self) -> &[u8] {
        &self.shifted
    }

    /// Asks for a vector of the rows' dimension.
    pub(super) fn set_vector(&mut self, rows: RowsView<'_>, vector: &[f32]) {
        self.fine_scale = shifted_query(vector, &mut self.shifted);
        // A vector without a length has no cosine; any order of nodes will do.
        self.length = length(&self.shifted).max(1.0);
        if let Some(sketches) = rows.sketches {
            self.sketch.set(sketches, vector, SEARCH_MARGIN);
        }
    }

    /// What the score of a node by both bytes is at most, but for one time in ten thousand.
    pub(super) fn most(&self, rows: RowsView<'_>, seen: Seen) -> f32 {
        // A number of 16 bits is rounded to 8, which errs by up to 128 either way, evenly; for the row and for the query.
        let fine_scale = rows.terms[seen.node() as usize].fine_scale.hypot(self.fine_scale);
        seen.score / self.length + MARGIN * 128.0 / 3.0_f32.sqrt() * fine_scale
    }

    /// Asks for a row, by its high bytes; sketches allow for `margin` deviations.
    pub(super) fn set_row(&mut self, rows: RowsView<'_>, row: u32, margin: f32) {
        rows.shifted(row, &mut self.shifted);
        let term = rows.terms[row as usize];
        (self.fine_scale, self.length) = (term.fine_scale, (1.0 / term.scale).max(1.0));
        if let Some(sketches) = rows.sketches {
            self.vector.clear();
            let high = &rows.high_of(row)[..rows.dimension];
            self.vector.extend(high.iter().map(|&code| f32::from(code) * term.scale));
            self.sketch.set(sketches, &self.vector, margin);
        }
    }
}

fn length(shifted: &[u8]) -> f32 {
    let square = |&code: &u8| (i32::from(code) - 128).pow(2);
    (shifted.iter().map(square).sum::<i32>() as f32).sqrt()
}
