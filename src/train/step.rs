//! One step: rows become views, views become vectors, vectors a loss, and the loss gradients.

use rand::Rng as _;
use rand::seq::{IndexedRandom as _, SliceRandom as _};
use rand_chacha::ChaCha8Rng;
use tch::{Kind, Tensor};

use super::data::image_pool::ImagePool;
use super::data::text_pool::TextPool;
use super::data::{Corpus, Pictures};
use super::loss::{Attribute, Bank, ComposedQueries, Gallery, Scalar, Targets, Term, Views};
use super::random::random_for;
use super::recipe::{PatchDropRecipe, RunRecipe};
use super::sampler::Row;
use super::student::{Student, normalise};
use super::targets::BoundTargets;
use super::views::ViewPlan;
use crate::encode::Role;
use crate::model::Network;
use crate::model::observer::Observer;
use crate::{Error, Result};

/// A term of the objective and what it is worth.
pub struct WeightedTerm {
    /// What metrics call it.
    pub name: String,
    pub weight: f64,
    pub term: Box<dyn Term>,
    /// Its learned numbers; filled before the first step.
    pub scalars: Vec<(Scalar, Tensor)>,
}

/// What a step needs beside the student.
pub struct StepContext<'c> {
    pub corpus: &'c Corpus,
    pub pictures: &'c Pictures<'c>,
    pub views: &'c dyn ViewPlan,
    /// Texts encoded before the run, if the text tower does not learn.
    pub pool: Option<TextPool>,
    /// Wordings of composed queries encoded before the run, in the same case: float32 `[texts, dimension]`, not normalised.
    pub wordings: Option<Tensor>,
    /// Pictures encoded before the run, if the image tower does not learn and shows them as they are.
    pub images: Option<ImagePool>,
    pub targets: Option<Box<dyn BoundTargets>>,
    /// Which side of a search the texts stand on.
    pub role: Role,
    pub seed: u64,
    pub run: RunRecipe,
    pub patch_drop: Option<PatchDropRecipe>,
}

/// The inputs of one step.
pub struct Batch {
    step: u64,
    n_rows: usize,
    pictures: Vec<BatchPictures>,
    texts: Vec<BatchTexts>,
    concepts: Tensor,
    bank: Option<Bank>,
    targets: Option<Targets>,
    composed: Option<BatchQueries>,
    attributes: Vec<Attribute>,
}

/// What rows are as composed queries.
struct BatchQueries {
    targets: Tensor,
    gallery: Option<Gallery>,
    /// Decides what a combiner leaves out.
    seed: u64,
}

enum BatchPictures {
    /// float32 `[rows, dimension]` of the frozen tower.
    Vectors(Tensor),
    /// float32 `[rows, 3, height, width]`.
    Pixels(Tensor),
}

impl BatchPictures {
    fn pixels(&self) -> Option<Tensor> {
        match self {
            Self::Vectors(_) => None,
            Self::Pixels(pixels) => Some(pixels.shallow_clone()),
        }
    }
}

enum BatchTexts {
    /// Vectors of the frozen tower.
    Vectors(Tensor),
    Words(Vec<String>),
}

impl StepContext<'_> {
    /// Draws everything that a step shows; the same step always shows the same.
    ///
    /// # Errors
    /// Those of the store and of decoding; `FailedPrecondition` for an item without text.
    pub fn batch(&self, step: u64, rows: &[Row], student: &Student) -> Result<Batch> {
        let (mut pictures, mut texts) = (Vec::new(), Vec::new());
        for view in 0..self.views.n_pictures() {
            let examples: Vec<usize> = rows.iter().map(|row| self.views.picture(row, view)).collect();
            pictures.push(match &self.images {
                Some(images) => BatchPictures::Vectors(images.vectors(&examples)?),
                None => {
                    let shown = self.pictures.shown(&examples, self.seed, [step, view as u64])?;
                    BatchPictures::Pixels(shown.to_device(student.device))
                }
            });
        }
        for view in 0..self.views.n_texts() {
            let examples = rows.iter().map(|row| self.views.text(row, view));
            let without = |example: usize| Error::FailedPrecondition {
                reason: "ITEM_WITHOUT_TEXT",
                message: format!("item {:?} has no text to show", self.corpus.examples[example].id),
            };
            let random = |place: usize| random_for(self.seed, "text", &[step, view as u64, place as u64]);
            if let Some(numbers) = self.drawn_wordings(rows, &random) {
                texts.push(self.wording(&numbers));
                continue;
            }
            texts.push(match &self.pool {
                Some(pool) => {
                    let drawn = examples
                        .enumerate()
                        .map(|(place, example)| pool.draw(example, &mut random(place)).ok_or_else(|| without(example)));
                    BatchTexts::Vectors(pool.vectors(&drawn.collect::<Result<Vec<_>>>()?))
                }
                None => {
                    let drawn = examples.enumerate().map(|(place, example)| {
                        let captions = &self.corpus.examples[example].captions;
                        self.corpus.mix.draw(captions, &mut random(place)).ok_or_else(|| without(example))
                    });
                    BatchTexts::Words(drawn.collect::<Result<_>>()?)
                }
            });
        }
        let concepts: Vec<i64> = rows.iter().map(|row| self.corpus.examples[row.examples[0]].concept as i64).collect();
        let concepts = Tensor::from_slice(&concepts).to_device(student.device);
        let bank = self.pool.as_ref().map(|pool| {
            let (texts, concepts) = pool.draw_bank(&mut random_for(self.seed, "bank", &[step]));
            Bank { texts: pool.vectors(&texts), concepts: Tensor::from_slice(&concepts).to_device(student.device) }
        });
        let first: Vec<usize> = rows.iter().map(|row| row.examples[0]).collect();
        let targets = self.targets.as_ref().map(|targets| targets.targets(&first)).transpose()?;
        let composed = self.composed(step, rows, student)?;
        let attributes = self.attributes(rows, student);
        Ok(Batch { step, n_rows: rows.len(), pictures, texts, concepts, bank, targets, composed, attributes })
    }

    /// What the pictures of each view show.
    fn attributes(&self, rows: &[Row], student: &Student) -> Vec<Attribute> {
        let labels = |attribute: usize, view: usize| {
            let label = |row: &Row| self.corpus.examples[self.views.picture(row, view)].attributes[attribute];
            let labels: Vec<i64> = rows.iter().map(|row| label(row).map_or(-1, |value| value as i64)).collect();
            Tensor::from_slice(&labels).to_device(student.device)
        };
        let attribute = |(number, values): (usize, &Vec<String>)| Attribute {
            values: values.len() as i64,
            images: (0..self.views.n_pictures()).map(|view| labels(number, view)).collect(),
        };
        self.corpus.attributes.iter().enumerate().map(attribute).collect()
    }

    /// A wording of each row's composed query, by its number; `None` if the rows are none.
    fn drawn_wordings(&self, rows: &[Row], random: &dyn Fn(usize) -> ChaCha8Rng) -> Option<Vec<usize>> {
        let triplets = self.corpus.triplets.as_ref()?;
        let draw =
            |(place, row): (usize, &Row)| triplets.all[row.triplet?].wordings.choose(&mut random(place)).copied();
        rows.iter().enumerate().map(draw).collect()
    }

    fn wording(&self, numbers: &[usize]) -> BatchTexts {
        match &self.wordings {
            Some(vectors) => {
                let rows: Vec<i64> = numbers.iter().map(|&number| number as i64).collect();
                BatchTexts::Vectors(vectors.index_select(0, &Tensor::from_slice(&rows).to_device(vectors.device())))
            }
            None => {
                let texts = self.corpus.triplets.as_ref().map(|triplets| &triplets.texts);
                BatchTexts::Words(numbers.iter().filter_map(|&number| texts?.get(number).cloned()).collect())
            }
        }
    }

    /// The targets of rows that are composed queries, and what they are told apart from.
    fn composed(&self, step: u64, rows: &[Row], student: &Student) -> Result<Option<BatchQueries>> {
        if rows.iter().any(|row| row.triplet.is_none() || row.examples.len() < 2) {
            return Ok(None);
        }
        let [references, targets] =
            [0, 1].map(|side| rows.iter().map(|row| row.examples[side]).collect::<Vec<usize>>());
        let gallery = self.images.as_ref().map(|images| images.gallery(&references, &targets)).transpose()?;
        let numbers: Vec<i64> = targets.iter().map(|&target| target as i64).collect();
        let seed = random_for(self.seed, "dropout", &[step]).random::<u64>();
        let targets = Tensor::from_slice(&numbers).to_device(student.device);
        Ok(Some(BatchQueries { targets, gallery, seed }))
    }

    /// Computes the loss and leaves gradients in the student's parameters and the terms' scalars; gives each term's value.
    ///
    /// # Errors
    /// What the terms say of the views; `FailedPrecondition` with reason `LOSS_NOT_FINITE`.
    pub fn backward(&self, batch: &Batch, student: &Student, terms: &mut [WeightedTerm]) -> Result<Vec<f64>> {
        if self.run.parts <= 1 {
            let views = self.embed(batch, 0, batch.n_rows, student)?.into_views(batch, student)?;
            let (loss, values) = weighted(&views, terms)?;
            loss.backward();
            return Ok(values);
        }
        // First without gradient, to have every row's vectors for the loss; then part by part with the vectors' gradients.
        let size = batch.n_rows.div_ceil(self.run.parts);
        let parts = || (0..batch.n_rows).step_by(size).map(|from| (from, size.min(batch.n_rows - from)));
        let counted: Vec<(Tensor, Tensor)> =
            student.tensors.buffers.values().map(|buffer| (buffer.shallow_clone(), buffer.copy())).collect();
        let embedded = {
            let _no_gradients = tch::no_grad_guard();
            parts().map(|(from, n)| self.embed(batch, from, n, student)).collect::<Result<Vec<_>>>()?
        };
        for (mut buffer, before) in counted {
            buffer.copy_(&before);
        }
        let leaves = Embedded::joined(&embedded);
        let views = leaves.views(batch, student)?;
        let (loss, values) = weighted(&views, terms)?;
        loss.backward();
        for (from, n) in parts() {
            let part = self.embed(batch, from, n, student)?;
            let mut total = Tensor::zeros([], (Kind::Float, student.device));
            for (vectors, leaf) in part.all().zip(leaves.all()) {
                let gradient = leaf.grad();
                if gradient.defined() && vectors.requires_grad() {
                    total += (vectors * gradient.narrow(0, from as i64, n as i64)).sum(Kind::Float);
                }
            }
            if total.requires_grad() {
                total.backward();
            }
        }
        Ok(values)
    }

    /// Fills in the terms' learned numbers from the first step's vectors.
    ///
    /// # Errors
    /// What the terms say of the views.
    pub fn start_scalars(&self, batch: &Batch, student: &Student, terms: &mut [WeightedTerm]) -> Result<()> {
        let _no_gradients = tch::no_grad_guard();
        let views = self.embed(batch, 0, batch.n_rows, student)?.into_views(batch, student)?;
        for term in terms {
            let scalars = term.term.scalars(&views)?;
            let tensor = |scalar: &Scalar| {
                Tensor::from(scalar.start).to_kind(Kind::Float).to_device(student.device).set_requires_grad(true)
            };
            term.scalars = scalars.into_iter().map(|scalar| (scalar.clone(), tensor(&scalar))).collect();
        }
        Ok(())
    }

    fn embed(&self, batch: &Batch, from: usize, n: usize, student: &Student) -> Result<Embedded> {
        let network = student.network(&student.tensors, !self.run.freeze_batch_norm)?;
        let (first, length) = (from as i64, n as i64);
        let (mut images, mut pixels) = (Vec::new(), Vec::new());
        for view in &batch.pictures {
            match view {
                BatchPictures::Vectors(vectors) => images.push(vectors.narrow(0, first, length)),
                BatchPictures::Pixels(shown) => pixels.push(shown.narrow(0, first, length)),
            }
        }
        if !pixels.is_empty() {
            let mut observer = self.observer(batch.step, from);
            let vectors = student.embed_images(&network, &Tensor::cat(&pixels, 0), &mut observer)?;
            images = vectors.chunk(pixels.len() as i64, 0);
        }
        let texts = batch.texts.iter().map(|texts| embed_texts(texts, from, n, (student, self.role), &network));
        Ok(Embedded { images, texts: texts.collect::<Result<_>>()? })
    }

    fn observer(&self, step: u64, from: usize) -> PatchDrop {
        let drop = self.patch_drop.as_ref().filter(|drop| {
            let tail = (self.run.steps as f64 * drop.unmasked_tail).ceil() as u64;
            step < self.run.steps.saturating_sub(tail)
        });
        PatchDrop { share: drop.map(|drop| drop.share), random: random_for(self.seed, "patches", &[step, from as u64]) }
    }
}

fn embed_texts(
    texts: &BatchTexts,
    from: usize,
    n: usize,
    (student, role): (&Student, Role),
    network: &Network,
) -> Result<Tensor> {
    match texts {
        BatchTexts::Vectors(vectors) => Ok(vectors.narrow(0, from as i64, n as i64)),
        BatchTexts::Words(words) => student.embed_texts(network, &words[from..from + n], role),
    }
}

/// Vectors of views as the encoders give them, before the loss.
struct Embedded {
    images: Vec<Tensor>,
    texts: Vec<Tensor>,
}

impl Embedded {
    /// All parts in one, as leaves.
    fn joined(parts: &[Self]) -> Self {
        let join = |of: fn(&Self) -> &Vec<Tensor>| -> Vec<Tensor> {
            let n_views = parts.first().map_or(0, |part| of(part).len());
            let view = |view: usize| parts.iter().map(|part| of(part)[view].shallow_clone()).collect::<Vec<_>>();
            (0..n_views).map(|number| Tensor::cat(&view(number), 0).detach().set_requires_grad(true)).collect()
        };
        Self { images: join(|part| &part.images), texts: join(|part| &part.texts) }
    }

    fn all(&self) -> impl Iterator<Item = &Tensor> {
        self.images.iter().chain(&self.texts)
    }

    fn views(&self, batch: &Batch, student: &Student) -> Result<Views> {
        let clone = |tensors: &[Tensor]| tensors.iter().map(Tensor::shallow_clone).collect();
        Self { images: clone(&self.images), texts: clone(&self.texts) }.into_views(batch, student)
    }

    fn into_views(self, batch: &Batch, student: &Student) -> Result<Views> {
        let clone = |tensor: &Option<Tensor>| tensor.as_ref().map(Tensor::shallow_clone);
        let composed = match (&batch.composed, self.images.first(), self.texts.first()) {
            (Some(rows), Some(images), Some(texts)) => Some(ComposedQueries {
                queries: student.compose(&student.tensors, images, texts, Some(rows.seed))?,
                targets: rows.targets.shallow_clone(),
                gallery: rows.gallery.as_ref().map(|gallery| Gallery {
                    vectors: gallery.vectors.shallow_clone(),
                    places: gallery.places.shallow_clone(),
                    excluded: gallery.excluded.shallow_clone(),
                }),
            }),
            _ => None,
        };
        Ok(Views {
            images: self.images.iter().map(normalise).collect(),
            texts: self.texts.iter().map(normalise).collect(),
            composed,
            concepts: batch.concepts.shallow_clone(),
            bank: batch
                .bank
                .as_ref()
                .map(|bank| Bank { texts: bank.texts.shallow_clone(), concepts: bank.concepts.shallow_clone() }),
            targets: batch
                .targets
                .as_ref()
                .map(|targets| Targets { images: clone(&targets.images), texts: clone(&targets.texts) }),
            attributes: batch.attributes.iter().map(Attribute::shallow_clone).collect(),
            pictures: batch.pictures.iter().filter_map(BatchPictures::pixels).collect(),
        })
    }
}

/// The weighted sum, and each term's own value.
fn weighted(views: &Views, terms: &[WeightedTerm]) -> Result<(Tensor, Vec<f64>)> {
    let (mut sum, mut values): (Option<Tensor>, Vec<f64>) = (None, Vec::new());
    for term in terms {
        let scalars: Vec<Tensor> = term.scalars.iter().map(|(_, tensor)| tensor.shallow_clone()).collect();
        let value = term.term.loss(views, &scalars)?;
        let number = value.double_value(&[]);
        if !number.is_finite() {
            return Err(Error::FailedPrecondition {
                reason: "LOSS_NOT_FINITE",
                message: format!(
                    "the term {} became {number}: lower optimiser.lr, or set optimiser.clip_norm",
                    term.name
                ),
            });
        }
        values.push(number);
        // A weight of 0 leaves the run exactly as it is without the term.
        if term.weight != 0.0 {
            let weighted = value * term.weight;
            sum = Some(match sum {
                Some(sum) => sum + weighted,
                None => weighted,
            });
        }
    }
    let sum = sum.ok_or_else(|| Error::invalid("recipe.objective", "every term has the weight 0"))?;
    if !sum.requires_grad() {
        return Err(Error::invalid("recipe.objective", "no term depends on a parameter that learns"));
    }
    Ok((sum, values))
}

/// Shows each picture's tower a part of its patches.
struct PatchDrop {
    share: Option<f64>,
    random: ChaCha8Rng,
}

impl Observer for PatchDrop {
    fn kept_patches(&mut self, batch: i64, n_patches: i64) -> Option<Tensor> {
        let share = self.share?;
        let n_kept = ((n_patches as f64 * (1.0 - share)) as i64).max(1);
        let mut kept = Vec::with_capacity((batch * n_kept) as usize);
        for _ in 0..batch {
            let mut patches: Vec<i64> = (0..n_patches).collect();
            let (chosen, _) = patches.partial_shuffle(&mut self.random, n_kept as usize);
            kept.extend_from_slice(chosen);
        }
        Some(Tensor::from_slice(&kept).view([batch, n_kept]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patches_are_kept_by_number_and_by_seed() {
        let kept = |seed: u64, share: f64| {
            PatchDrop { share: Some(share), random: random_for(seed, "patches", &[]) }
                .kept_patches(3, 196)
                .expect("kept")
        };
        assert_eq!(kept(1, 0.5).size(), [3, 98]);
        assert_eq!(kept(1, 0.75).size(), [3, 49]);
        assert_eq!(kept(1, 0.999).size(), [3, 1]);
        assert_eq!(kept(1, 0.5), kept(1, 0.5));
        assert_ne!(kept(1, 0.5), kept(2, 0.5));
        let row: Vec<i64> = Vec::try_from(kept(1, 0.5).get(0)).expect("numbers");
        let distinct: std::collections::BTreeSet<_> = row.iter().collect();
        assert_eq!(distinct.len(), 98);
    }
}
