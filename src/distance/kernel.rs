//! The choice of kernel.

use std::sync::LazyLock;

use super::scalar;

/// One way to compute on this machine.
#[derive(Clone, Copy, Debug)]
pub struct Kernel {
    pub name: &'static str,
    /// The inner product of two vectors of one length; panics if the lengths differ.
    pub dot: fn(&[f32], &[f32]) -> f32,
}

static BEST: LazyLock<Kernel> = LazyLock::new(|| available()[0]);

/// The kernel in use.
#[must_use]
pub fn best() -> &'static Kernel {
    &BEST
}

/// The inner product by the best kernel; panics if the lengths differ.
#[must_use]
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    (BEST.dot)(a, b)
}

/// Every kernel that this machine can run, the best first; the scalar one is always the last.
#[must_use]
pub fn available() -> Vec<Kernel> {
    let mut kernels = Vec::new();
    #[cfg(target_arch = "x86_64")]
    {
        use super::x86;
        if is_x86_feature_detected!("avx512f") {
            kernels.push(Kernel { name: "avx512", dot: x86::dot_avx512 });
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            kernels.push(Kernel { name: "avx2", dot: x86::dot_avx2 });
        }
    }
    #[cfg(target_arch = "aarch64")]
    kernels.push(Kernel { name: "neon", dot: super::neon::dot });
    kernels.push(Kernel { name: "scalar", dot: scalar::dot });
    kernels
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers in -1..1 that look random.
    fn numbers(seed: u32, count: usize) -> Vec<f32> {
        let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(1);
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / 8_388_608.0 - 1.0
        };
        (0..count).map(|_| next()).collect()
    }

    #[test]
    fn every_kernel_agrees_with_f64() {
        for length in (0..=130).chain([384, 511, 512, 513, 768, 1024, 16_384]) {
            let (a, b) = (numbers(length as u32, length), numbers(length as u32 + 7, length));
            let exact: f64 = a.iter().zip(&b).map(|(&x, &y)| f64::from(x) * f64::from(y)).sum();
            let size: f64 = a.iter().zip(&b).map(|(&x, &y)| (f64::from(x) * f64::from(y)).abs()).sum();
            for kernel in available() {
                let found = f64::from((kernel.dot)(&a, &b));
                assert!((found - exact).abs() <= 1e-6 * size + 1e-12, "{} {length}: {found} {exact}", kernel.name);
            }
        }
    }

    #[test]
    fn equal_rows_score_equally_at_any_alignment() {
        let query = numbers(1, 100);
        let row = numbers(2, 100);
        for kernel in available() {
            let expected = (kernel.dot)(&query, &row);
            for offset in 0..20 {
                let mut shifted = vec![0.0; offset];
                shifted.extend_from_slice(&row);
                let found = (kernel.dot)(&query, &shifted[offset..]);
                assert_eq!(found.to_bits(), expected.to_bits(), "{} at {offset}", kernel.name);
            }
        }
    }

    #[test]
    fn different_lengths_are_refused() {
        for kernel in available() {
            let outcome = std::panic::catch_unwind(|| (kernel.dot)(&[1.0; 16], &[1.0; 17]));
            assert!(outcome.is_err(), "{}", kernel.name);
        }
    }
}
