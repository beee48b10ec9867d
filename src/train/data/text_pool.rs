//! Texts of a run whose text tower does not change: drawn and encoded once, before the first step.

use std::collections::HashMap;

use rand::Rng as _;
use rand_chacha::ChaCha8Rng;
use tch::Tensor;

use super::captions::Captions;
use super::corpus::Corpus;
use crate::Result;
use crate::train::random::random_for;

/// Texts drawn for each item where the recipe does not say.
const DEFAULT_VARIANTS: usize = 32;

/// Vectors of texts, several for each set of captions.
pub struct TextPool {
    /// float32 `[texts, dimension]`, normalised.
    vectors: Tensor,
    /// Rows of `vectors` for each caption set.
    variants: Vec<Vec<i64>>,
    /// The caption set of each example; `None` if it has no texts.
    sets: Vec<Option<usize>>,
    /// A trained concept and its caption set, for the bank of all concepts.
    bank: Vec<(i64, usize)>,
}

impl TextPool {
    /// Draws and encodes texts for all trained examples; `encode` gives normalised float32 `[texts, dimension]`.
    ///
    /// # Errors
    /// What `encode` says.
    pub fn new(
        corpus: &Corpus,
        variants: Option<usize>,
        seed: u64,
        encode: &mut dyn FnMut(&[String]) -> Result<Tensor>,
    ) -> Result<Self> {
        let mut set_numbers: HashMap<&Captions, usize> = HashMap::new();
        let mut texts: Vec<String> = Vec::new();
        let mut text_numbers: HashMap<String, i64> = HashMap::new();
        let (mut pool, mut sets, mut bank) = (Vec::new(), vec![None; corpus.examples.len()], Vec::new());
        let mut is_in_bank = vec![false; corpus.n_concepts()];
        for number in corpus.trained() {
            let example = &corpus.examples[number];
            let next = pool.len();
            let set = *set_numbers.entry(&example.captions).or_insert(next);
            if set == next {
                let mut random = random_for(seed, "text pool", &[set as u64]);
                let draw = |_| corpus.mix.draw(&example.captions, &mut random);
                let drawn: Vec<i64> = (0..variants.unwrap_or(DEFAULT_VARIANTS))
                    .map_while(draw)
                    .map(|text| {
                        *text_numbers.entry(text).or_insert_with_key(|text| {
                            texts.push(text.clone());
                            texts.len() as i64 - 1
                        })
                    })
                    .collect();
                pool.push(drawn);
            }
            if !pool[set].is_empty() {
                sets[number] = Some(set);
                if !std::mem::replace(&mut is_in_bank[example.concept], true) {
                    bank.push((example.concept as i64, set));
                }
            }
        }
        Ok(Self { vectors: encode(&texts)?, variants: pool, sets, bank })
    }

    /// Draws one text's row for an example; `None` if the example has no texts.
    #[must_use]
    pub fn draw(&self, example: usize, random: &mut ChaCha8Rng) -> Option<i64> {
        self.sets[example].map(|set| self.draw_of(set, random))
    }

    /// Draws one text for each concept: their rows, and the concepts' numbers.
    #[must_use]
    pub fn draw_bank(&self, random: &mut ChaCha8Rng) -> (Vec<i64>, Vec<i64>) {
        self.bank.iter().map(|&(concept, set)| (self.draw_of(set, random), concept)).unzip()
    }

    /// The vectors of rows, float32 `[rows, dimension]`.
    pub fn vectors(&self, rows: &[i64]) -> Tensor {
        let rows = Tensor::from_slice(rows).to_device(self.vectors.device());
        self.vectors.index_select(0, &rows)
    }

    /// Distinct texts.
    #[must_use]
    pub fn n_texts(&self) -> i64 {
        self.vectors.size()[0]
    }

    fn draw_of(&self, set: usize, random: &mut ChaCha8Rng) -> i64 {
        let variants = &self.variants[set];
        variants[random.random_range(0..variants.len())]
    }
}
