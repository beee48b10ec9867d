//! Maximal marginal relevance (Carbonell and Goldstein, SIGIR 1998): relevant hits that do not repeat each other.

use crate::distance::dot;

/// Picks up to `limit` indices, each time the largest `lambda` × relevance − (1 − `lambda`) × cosine, where the cosine is the
/// largest to one picked before; for the first pick it is 0.
///
/// `lambda` is from 0 (only unlike the others) to 1 (only relevant). There is one vector for each relevance, of unit length and
/// all of one dimension; panics if dimensions differ. Ties go to the lower index. O(`limit` × n) inner products.
#[must_use]
pub fn mmr(relevance: &[f32], vectors: &[&[f32]], lambda: f32, limit: usize) -> Vec<usize> {
    debug_assert_eq!(relevance.len(), vectors.len(), "one vector for each relevance");
    let pairs = relevance.iter().zip(vectors).enumerate();
    let mut left: Vec<Candidate<'_>> =
        pairs.map(|(index, (&relevance, &vector))| Candidate { index, relevance, vector, nearest: None }).collect();
    let mut picked = Vec::with_capacity(limit.min(left.len()));
    while picked.len() < limit
        && let Some(place) = best_place(&left, lambda)
    {
        // Not swap_remove: the order is what breaks ties.
        let pick = left.remove(place);
        picked.push(pick.index);
        for candidate in &mut left {
            let cosine = dot(pick.vector, candidate.vector);
            candidate.nearest = Some(candidate.nearest.map_or(cosine, |nearest| nearest.max(cosine)));
        }
    }
    picked
}

struct Candidate<'a> {
    index: usize,
    relevance: f32,
    vector: &'a [f32],
    /// The largest cosine to a picked one.
    nearest: Option<f32>,
}

/// Where the best candidate stands, the first among equals.
fn best_place(left: &[Candidate<'_>], lambda: f32) -> Option<usize> {
    let worth =
        |candidate: &Candidate<'_>| lambda * candidate.relevance - (1.0 - lambda) * candidate.nearest.unwrap_or(0.0);
    let worths = left.iter().map(worth).enumerate();
    worths.reduce(|best, next| if next.1 > best.1 { next } else { best }).map(|(place, _)| place)
}

#[cfg(test)]
mod tests {
    use super::mmr;

    // The expected orders come from a Python loop over the formula, each pick ahead by 0.007 or more.
    #[test]
    fn picks_follow_the_formula() {
        let vectors: [&[f32]; 5] = [&[1.0, 0.0], &[0.8, 0.6], &[0.96, 0.28], &[0.0, 1.0], &[-0.6, 0.8]];
        let relevance = [0.9, 0.8, 0.85, 0.5, 0.3];
        let check = |lambda: f32, limit: usize, expected: &[usize]| {
            assert_eq!(mmr(&relevance, &vectors, lambda, limit), expected, "{lambda}, {limit}");
        };
        check(1.0, 5, &[0, 2, 1, 3, 4]);
        check(0.7, 5, &[0, 4, 1, 2, 3]);
        check(0.5, 5, &[0, 4, 1, 2, 3]);
        check(0.3, 5, &[0, 4, 1, 3, 2]);
        check(0.5, 2, &[0, 4]);
        check(0.5, 9, &[0, 4, 1, 2, 3]);
        check(0.5, 0, &[]);
    }

    #[test]
    fn ties_go_to_the_lower_index() {
        let same: &[f32] = &[0.6, 0.8];
        let vectors = [same; 4];
        assert_eq!(mmr(&[0.5; 4], &vectors, 0.5, 4), [0, 1, 2, 3]);
        assert_eq!(mmr(&[0.1, 0.2, 0.3, 0.3], &vectors, 0.5, 4), [2, 3, 1, 0]);
        // Without relevance the first pick is a tie of all.
        assert_eq!(mmr(&[-0.5, 0.5, 0.0, 0.7], &vectors, 0.0, 1), [0]);
        assert_eq!(mmr(&[], &[], 0.5, 3), [] as [usize; 0]);
    }

    /// A negative cosine is worth something; starting from 0 instead of from nothing would hide it.
    #[test]
    fn opposite_vectors_are_preferred() {
        let vectors: [&[f32]; 3] = [&[1.0, 0.0], &[0.0, 1.0], &[-1.0, 0.0]];
        assert_eq!(mmr(&[0.9, 0.5, 0.4], &vectors, 0.5, 2), [0, 2]);
    }
}
