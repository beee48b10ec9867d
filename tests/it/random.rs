//! Random numbers for tests: the same seed gives the same run everywhere.

/// SplitMix64.
#[derive(Clone)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    /// True in `percent` of a hundred calls.
    pub(crate) fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    pub(crate) fn pick<'t, T>(&mut self, values: &'t [T]) -> &'t T {
        &values[self.below(values.len())]
    }
}

/// The seed of a run: `PICTOR_SEED` if set, else a new one. Printed, so that a failure can be repeated.
pub(crate) fn seed(test: &str) -> u64 {
    let chosen = std::env::var("PICTOR_SEED").ok().and_then(|text| text.parse().ok());
    let seed = chosen.unwrap_or_else(|| {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a clock after 1970");
        u64::from(since.subsec_nanos()) ^ since.as_secs()
    });
    println!("{test}: PICTOR_SEED={seed}");
    seed
}

/// True if the long form of the tests is asked for.
pub(crate) fn is_verify() -> bool {
    std::env::var("PICTOR_VERIFY").is_ok_and(|value| value == "1")
}
