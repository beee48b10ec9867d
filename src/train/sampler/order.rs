//! An endless list of things, shuffled anew for each epoch.

use rand::seq::SliceRandom as _;

use crate::train::random::random_for;

/// Things `0..n` in one order after the other.
pub(super) struct ShuffledEpochs {
    n: usize,
    seed: u64,
    /// The epoch whose order is kept.
    epoch: Option<u64>,
    order: Vec<usize>,
}

impl ShuffledEpochs {
    pub(super) fn new(n: usize, seed: u64) -> Self {
        Self { n, seed, epoch: None, order: (0..n).collect() }
    }

    pub(super) fn n(&self) -> usize {
        self.n
    }

    /// The thing at a place of the endless list.
    pub(super) fn at(&mut self, place: u64) -> usize {
        let (epoch, within) = (place / self.n as u64, (place % self.n as u64) as usize);
        if self.epoch != Some(epoch) {
            self.order = (0..self.n).collect();
            self.order.shuffle(&mut random_for(self.seed, "epoch", &[epoch]));
            self.epoch = Some(epoch);
        }
        self.order[within]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_epoch_shows_everything_once_in_its_own_order() {
        let mut list = ShuffledEpochs::new(50, 7);
        let first: Vec<_> = (0..50).map(|place| list.at(place)).collect();
        let second: Vec<_> = (50..100).map(|place| list.at(place)).collect();
        assert_ne!(first, second);
        for mut epoch in [first.clone(), second] {
            epoch.sort_unstable();
            assert_eq!(epoch, (0..50).collect::<Vec<_>>());
        }
        let again: Vec<_> = (0..50).map(|place| list.at(place)).collect();
        assert_eq!(first, again, "a list that went on gives the same when asked again");
    }
}
