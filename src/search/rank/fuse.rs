//! Joins several ranked lists into one.

use std::collections::BTreeMap;

use crate::types::ItemId;

/// How lists are joined.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fusion {
    /// Sums weight / (k + rank) over the lists (Cormack, Clarke and Buettcher, SIGIR 2009, who take k = 60 and no weights).
    /// `k` is finite and at least 0.
    ReciprocalRank { k: f32 },
    /// Sums weight × score over the lists, the scores of a list brought to 0 (its least) to 1 (its most). A list whose scores are
    /// all equal gives 1 to each; an item that a list lacks gets 0 from it.
    Weighted,
}

/// One list of hits, by rank, with finite scores; of an item that stands in it twice the first counts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ranked<'a> {
    /// Finite; a negative one pushes down.
    pub weight: f32,
    pub hits: &'a [(ItemId, f32)],
}

/// An item of the joined list.
#[derive(Clone, Debug, PartialEq)]
pub struct Fused {
    pub id: ItemId,
    pub score: f32,
    /// For each list the item's rank, from 1, and its score there.
    pub ranks: Vec<Option<(usize, f32)>>,
}

/// Joins lists by falling score; ties go by item id. Sums are taken in f64, in the order of the lists.
#[must_use]
pub fn fuse(lists: &[Ranked<'_>], fusion: Fusion) -> Vec<Fused> {
    let mut sums: BTreeMap<&ItemId, Sum> = BTreeMap::new();
    for (position, list) in lists.iter().enumerate() {
        let span = Span::of(list.hits);
        for (index, (id, score)) in list.hits.iter().enumerate() {
            let sum = sums.entry(id).or_insert_with(|| Sum { score: 0.0, ranks: vec![None; lists.len()] });
            if sum.ranks[position].is_some() {
                continue;
            }
            let rank = index + 1;
            let share = match fusion {
                Fusion::ReciprocalRank { k } => 1.0 / (f64::from(k) + rank as f64),
                Fusion::Weighted => span.normalise(*score),
            };
            sum.score += f64::from(list.weight) * share;
            sum.ranks[position] = Some((rank, *score));
        }
    }
    let to_fused = |(id, sum): (&ItemId, Sum)| Fused { id: id.clone(), score: sum.score as f32, ranks: sum.ranks };
    let mut fused: Vec<Fused> = sums.into_iter().map(to_fused).collect();
    fused.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| a.id.cmp(&b.id)));
    fused
}

/// What one item has so far.
struct Sum {
    score: f64,
    ranks: Vec<Option<(usize, f32)>>,
}

/// The least and the largest score of a list.
struct Span {
    least: f32,
    most: f32,
}

impl Span {
    fn of(hits: &[(ItemId, f32)]) -> Self {
        let scores = || hits.iter().map(|(_, score)| *score);
        Self { least: scores().fold(f32::INFINITY, f32::min), most: scores().fold(f32::NEG_INFINITY, f32::max) }
    }

    /// From 0 to 1.
    fn normalise(&self, score: f32) -> f64 {
        let least = f64::from(self.least);
        if self.most > self.least { (f64::from(score) - least) / (f64::from(self.most) - least) } else { 1.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hits(of: &[(&str, f32)]) -> Vec<(ItemId, f32)> {
        of.iter().map(|(id, score)| (ItemId::new(id).expect(id), *score)).collect()
    }

    /// Fuses weighted lists and compares ids and scores.
    #[track_caller]
    fn check(lists: &[(f32, &[(&str, f32)])], fusion: Fusion, expected: &[(&str, f32)]) {
        let lists: Vec<(f32, Vec<(ItemId, f32)>)> = lists.iter().map(|(weight, of)| (*weight, hits(of))).collect();
        let ranked: Vec<Ranked<'_>> = lists.iter().map(|(weight, hits)| Ranked { weight: *weight, hits }).collect();
        let fused = fuse(&ranked, fusion);
        let ids: Vec<&str> = fused.iter().map(|item| item.id.as_str()).collect();
        assert_eq!(ids, expected.iter().map(|(id, _)| *id).collect::<Vec<_>>());
        for (found, (id, score)) in fused.iter().zip(expected) {
            assert!((found.score - score).abs() < 1e-6, "{id}: {}, expected {score}", found.score);
        }
    }

    // Expected scores here and below are written out by hand; a Python sum over the formulas gave the same orders.
    #[test]
    fn reciprocal_ranks_add_up() {
        let abc: &[(&str, f32)] = &[("a", 0.9), ("b", 0.6), ("c", 0.4)];
        let bda: &[(&str, f32)] = &[("b", 12.0), ("d", 10.0), ("a", 4.0)];
        let dca: &[(&str, f32)] = &[("d", 3.0), ("c", 2.0), ("a", 1.0)];
        let rank = |k| Fusion::ReciprocalRank { k };
        let expected =
            [("b", 1.0 / 62.0 + 1.0 / 61.0), ("a", 1.0 / 61.0 + 1.0 / 63.0), ("d", 1.0 / 62.0), ("c", 1.0 / 63.0)];
        check(&[(1.0, abc), (1.0, bda)], rank(60.0), &expected);
        let expected =
            [("a", 1.0 / 61.0 + 0.5 / 63.0), ("b", 1.0 / 62.0 + 0.5 / 61.0), ("c", 1.0 / 63.0), ("d", 0.5 / 62.0)];
        check(&[(1.0, abc), (0.5, bda)], rank(60.0), &expected);
        // a and d tie: 1/2 + 2/4 and 2/2.
        let expected = [("a", 1.0), ("d", 1.0), ("c", 1.0 / 4.0 + 2.0 / 3.0), ("b", 1.0 / 3.0)];
        check(&[(1.0, abc), (2.0, dca)], rank(1.0), &expected);
        check(&[(1.0, abc)], rank(0.0), &[("a", 1.0), ("b", 0.5), ("c", 1.0 / 3.0)]);
    }

    #[test]
    fn weighted_scores_are_normalised_in_each_list() {
        let abc: &[(&str, f32)] = &[("a", 0.9), ("b", 0.6), ("c", 0.4)];
        let bda: &[(&str, f32)] = &[("b", 12.0), ("d", 10.0), ("a", 4.0)];
        let expected = [("a", 1.0), ("b", 0.9), ("d", 0.375), ("c", 0.0)];
        check(&[(1.0, abc), (0.5, bda)], Fusion::Weighted, &expected);
        // Equal scores give 1 to each, a negative weight pushes down.
        let flat: &[(&str, f32)] = &[("b", 2.0), ("a", 2.0)];
        check(&[(1.0, abc), (-0.3, flat)], Fusion::Weighted, &[("a", 0.7), ("b", 0.1), ("c", 0.0)]);
        check(&[(0.25, &[("x", -7.0)])], Fusion::Weighted, &[("x", 0.25)]);
    }

    #[test]
    fn every_item_says_where_it_stood() {
        let (first, second) = (hits(&[("a", 0.9), ("b", 0.6), ("a", 0.1)]), hits(&[("b", 5.0)]));
        let lists = [Ranked { weight: 1.0, hits: &first }, Ranked { weight: 1.0, hits: &second }];
        let fused = fuse(&lists, Fusion::ReciprocalRank { k: 60.0 });
        let ranks: Vec<_> = fused.into_iter().map(|item| (item.id.to_string(), item.ranks)).collect();
        assert_eq!(
            ranks,
            [
                ("b".to_owned(), vec![Some((2, 0.6)), Some((1, 5.0))]),
                // The second `a` of the first list does not count.
                ("a".to_owned(), vec![Some((1, 0.9)), None]),
            ]
        );
    }

    #[test]
    fn nothing_fuses_to_nothing() {
        check(&[], Fusion::Weighted, &[]);
        check(&[(1.0, &[]), (1.0, &[])], Fusion::Weighted, &[]);
        check(&[(1.0, &[]), (1.0, &[])], Fusion::ReciprocalRank { k: 60.0 }, &[]);
    }
}
