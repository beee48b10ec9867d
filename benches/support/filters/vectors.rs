//! Vectors in clusters, and the plain ways to order them.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use pictor::distance;
use pictor::types::vector::UnitVector;
use rand::Rng as _;
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;

const CLUSTERS: usize = 400;
/// How far centres lie from what all have in common, and vectors from their centre, before they are normalised.
const SPREAD: [f32; 2] = [1.2, 0.8];

/// Unit vectors that share a direction.
pub(super) struct Clusters {
    centres: Vec<Vec<f32>>,
}

impl Clusters {
    pub(super) fn new(dimension: usize, random: &mut ChaCha8Rng) -> Self {
        let common = around(&vec![0.0; dimension], 1.0, random);
        Self { centres: (0..CLUSTERS).map(|_| around(&common, SPREAD[0], random)).collect() }
    }

    pub(super) fn draw(&self, count: usize, random: &mut ChaCha8Rng) -> Vec<f32> {
        let mut drawn = Vec::with_capacity(count * self.centres[0].len());
        for _ in 0..count {
            let centre = random.random_range(0..CLUSTERS);
            drawn.extend(around(&self.centres[centre], SPREAD[1], random));
        }
        drawn
    }

    /// A direction between three centres.
    pub(super) fn direction(&self) -> Vec<f32> {
        let [a, b, c, ..] = &self.centres[..] else { panic!("there are three centres") };
        unit(a.iter().zip(b).zip(c).map(|((a, b), c)| a + b + c).collect())
    }
}

fn around(centre: &[f32], distance: f32, random: &mut ChaCha8Rng) -> Vec<f32> {
    let scale = distance / (centre.len() as f32).sqrt();
    unit(centre.iter().map(|value| value + scale * random.sample::<f32, _>(StandardNormal)).collect())
}

fn unit(values: Vec<f32>) -> Vec<f32> {
    UnitVector::normalise(values).expect("a direction").values
}

/// Numbers of the vectors, the nearest to the direction first.
pub(super) fn by_nearness(vectors: &[f32], direction: &[f32]) -> Vec<u32> {
    let scores: Vec<f32> = vectors.chunks(direction.len()).map(|vector| distance::dot(vector, direction)).collect();
    let mut order: Vec<u32> = (0..scores.len() as u32).collect();
    order.sort_by(|&a, &b| scores[b as usize].total_cmp(&scores[a as usize]));
    order
}

/// Each item's place in an order.
pub(super) fn ranks(order: &[u32]) -> Vec<u32> {
    let mut ranks = vec![0; order.len()];
    for (rank, &item) in (0..).zip(order) {
        ranks[item as usize] = rank;
    }
    ranks
}

#[derive(PartialEq)]
struct Scored(f32, u32);

impl Eq for Scored {}

impl PartialOrd for Scored {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Scored {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0).then_with(|| other.1.cmp(&self.1))
    }
}

/// The items of the `limit` highest scores, the best first, by a heap of what is kept.
pub(crate) fn best_of(limit: usize, scored: impl Iterator<Item = (u32, f32)>) -> Vec<u32> {
    let mut kept = BinaryHeap::with_capacity(limit + 1);
    let mut least = f32::NEG_INFINITY;
    for (item, score) in scored {
        if score > least {
            kept.push(Reverse(Scored(score, item)));
            if kept.len() > limit {
                kept.pop();
            }
            if let Some(Reverse(worst)) = kept.peek().filter(|_| kept.len() == limit) {
                least = worst.0;
            }
        }
    }
    kept.into_sorted_vec().into_iter().map(|Reverse(Scored(_, item))| item).collect()
}
