//! Where a picture has which colours, kept in directions that the texts hardly use.

use std::sync::OnceLock;

use serde::Deserialize;
use tch::{Kind, Tensor};

use super::free::{Fixed, free_directions};
use super::{Scalar, Term, Views};
use crate::train::piece::Piece;
use crate::{Error, Result};

pub(super) const PIECE: Piece<dyn Term> = Piece {
    name: "colours",
    summary: "The mean colours of a picture's fields, each in a direction of its own",
    source: "own; mean colours of fields are what MPEG-7's colour layout describes (ISO/IEC 15938-3)",
    build: |settings| {
        let read: Settings = settings.read()?;
        settings.within("fields", read.fields as f64, 1.0, 16.0)?;
        settings.within("share", read.share, 1e-3, 0.9)?;
        Ok(Box::new(Colours { settings: read, code: OnceLock::new() }))
    },
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    /// A picture has so many fields in each direction.
    #[serde(default = "default_fields")]
    fields: i64,
    /// The mean length of what colours are to a unit vector; what a picture means has the rest.
    #[serde(default = "default_share")]
    share: f64,
}

fn default_fields() -> i64 {
    3
}

fn default_share() -> f64 {
    0.5
}

struct Colours {
    settings: Settings,
    code: OnceLock<Code>,
}

/// How colours become a vector.
struct Code {
    /// `[dimension, 3 · fields²]`, orthonormal columns.
    directions: Fixed,
    /// `[3 · fields²]`: the first step's mean.
    mean: Fixed,
    scale: f64,
}

impl Term for Colours {
    /// Chooses the directions, what counts as no colour, and how far a colour is from it; none of these is learned.
    fn scalars(&self, first: &Views) -> Result<Vec<Scalar>> {
        let wanted = 3 * self.settings.fields * self.settings.fields;
        // Attributes of the same pictures have the first directions.
        let taken = first.attributes.iter().map(|attribute| attribute.values).sum::<i64>();
        let directions = free_directions("colours", first, taken, wanted)?;
        let colours: Vec<Tensor> = self.colours(first)?;
        let colours = Tensor::cat(&colours, 0);
        let mean = colours.mean_dim([0_i64].as_slice(), false, colours.kind());
        let lengths = (colours - &mean).norm_scalaropt_dim(2.0, [1_i64].as_slice(), false);
        let length = lengths.mean(Kind::Double).double_value(&[]);
        let scale = if length > 0.0 { self.settings.share / length } else { 0.0 };
        self.code.get_or_init(|| Code { directions: Fixed::new(directions), mean: Fixed::new(mean), scale });
        Ok(Vec::new())
    }

    /// The mean square of what the vectors miss of the colours, 1 if they know nothing of them.
    fn loss(&self, views: &Views, _scalars: &[Tensor]) -> Result<Tensor> {
        let code = self.code.get().ok_or_else(|| Error::Internal("no directions were chosen".to_owned()))?;
        let (directions, mean) = (code.directions.get(), code.mean.get());
        let colours = self.colours(views)?;
        let missed = views.images.iter().zip(&colours).map(|(images, colours)| {
            let wanted = (colours - &mean) * code.scale;
            (images.matmul(&directions) - wanted).square().sum_dim_intlist([1_i64].as_slice(), false, images.kind())
        });
        let missed = Tensor::cat(&missed.collect::<Vec<_>>(), 0);
        Ok(missed.mean(missed.kind()) / (self.settings.share * self.settings.share))
    }
}

impl Colours {
    /// `[batch, 3 · fields²]` for each view of the pictures.
    fn colours(&self, views: &Views) -> Result<Vec<Tensor>> {
        if views.pictures.is_empty() || views.pictures.len() != views.images.len() {
            let message = "colours needs pictures and an image tower that learns";
            return Err(Error::invalid("recipe.objective", message));
        }
        let fields = [self.settings.fields; 2];
        let pool = |pictures: &Tensor| pictures.adaptive_avg_pool2d(fields).flatten(1, -1);
        Ok(views.pictures.iter().map(pool).collect())
    }
}
