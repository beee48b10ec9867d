//! View by view through a row's examples: with one example two views of it, with two examples each once.

use super::ViewPlan;
use crate::train::piece::Piece;
use crate::train::sampler::Row;

pub(super) const PIECE: Piece<dyn ViewPlan> = Piece {
    name: "paired",
    summary: "Pictures and texts of a row's examples, one after the other",
    source: "own; two views of one picture as in SLIP (arXiv 2112.12750)",
    build: |settings| {
        let paired: Paired = settings.read()?;
        settings.within("pictures", paired.pictures as f64, 0.0, 16.0)?;
        settings.within("texts", paired.texts as f64, 0.0, 16.0)?;
        settings.within("pictures + texts", (paired.pictures + paired.texts) as f64, 1.0, 32.0)?;
        Ok(Box::new(paired))
    },
};

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Paired {
    #[serde(default = "one")]
    pictures: usize,
    #[serde(default = "one")]
    texts: usize,
}

fn one() -> usize {
    1
}

impl ViewPlan for Paired {
    fn n_pictures(&self) -> usize {
        self.pictures
    }

    fn n_texts(&self) -> usize {
        self.texts
    }

    fn picture(&self, row: &Row, view: usize) -> usize {
        row.examples[view % row.examples.len()]
    }

    fn text(&self, row: &Row, view: usize) -> usize {
        row.examples[view % row.examples.len()]
    }
}
