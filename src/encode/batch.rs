//! Splits texts into batches of similar length, so that little is computed for padding.

/// Tokens of padding in one text that never close a batch.
const PADDING_IGNORED: usize = 8;

/// Groups positions of `costs`, longest first.
///
/// A batch's longest cost times its size stays within `budget` unless it holds one alone; a cost that is more than a quarter
/// (and more than a few tokens) below the batch's longest opens a new one.
#[must_use]
pub fn plan(costs: &[usize], budget: usize) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..costs.len()).collect();
    order.sort_by_key(|&position| std::cmp::Reverse(costs[position]));
    let mut batches: Vec<Vec<usize>> = Vec::new();
    for position in order {
        let fits = |batch: &Vec<usize>| {
            let longest = costs[batch[0]];
            let padding = longest - costs[position];
            longest * (batch.len() + 1) <= budget && padding <= (longest / 4).max(PADDING_IGNORED)
        };
        match batches.last_mut().filter(|batch| fits(batch)) {
            Some(batch) => batch.push(position),
            None => batches.push(vec![position]),
        }
    }
    batches
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{ProptestConfig, prop_assert, prop_assert_eq, proptest};

    use super::plan;

    #[test]
    fn similar_lengths_travel_together() {
        let check =
            |costs: &[usize], budget, expected: &[&[usize]]| assert_eq!(plan(costs, budget), expected, "{costs:?}");
        check(&[], 100, &[]);
        check(&[7], 1, &[&[0]]);
        check(&[10, 100, 12, 90], 1000, &[&[1, 3], &[2, 0]]);
        check(&[50, 50, 50], 100, &[&[0, 1], &[2]]);
        check(&[2, 9, 3], 1000, &[&[1, 2, 0]]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]
        #[test]
        fn every_text_is_in_one_batch_within_the_budget(costs in proptest::collection::vec(1_usize..512, 0..200), budget in 1_usize..4096) {
            let batches = plan(&costs, budget);
            let mut seen: Vec<usize> = batches.iter().flatten().copied().collect();
            seen.sort_unstable();
            prop_assert_eq!(seen, (0..costs.len()).collect::<Vec<_>>());
            for batch in batches {
                let longest = batch.iter().map(|&position| costs[position]).max().unwrap_or_default();
                prop_assert!(batch.len() == 1 || longest * batch.len() <= budget);
            }
        }
    }
}
