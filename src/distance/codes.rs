//! Kernels over rows of 8-bit codes, chosen once like those over float32.

use std::sync::LazyLock;

/// Rows of codes begin at multiples of this many bytes, so that a row is whole cache lines.
pub const ROW_ALIGNMENT: usize = 64;

/// Products of a query with rows: `(query, codes, rows, out)`.
pub type Dots = fn(&[u8], &[i8], &[u32], &mut [i32]);

/// One way to compute over codes on this machine.
#[derive(Clone, Copy, Debug)]
pub struct CodeKernel {
    pub name: &'static str,
    /// The inner products of a query, shifted by 128 to unsigned bytes, with the rows of `codes` that are numbered; a row has the
    /// query's length, a multiple of [`ROW_ALIGNMENT`]. Panics if a row lies outside or `out` is shorter than `rows`.
    pub dots: Dots,
    /// The inner product of a query with the 16-bit numbers 256 · high + low; panics if the lengths differ.
    pub wide_dot: fn(query: &[f32], high: &[i8], low: &[i8]) -> f32,
}

static BEST: LazyLock<CodeKernel> = LazyLock::new(|| available()[0]);

/// The kernel in use.
#[must_use]
pub fn best() -> &'static CodeKernel {
    &BEST
}

/// Every kernel that this machine can run, the best first; the scalar one is always the last.
#[must_use]
pub fn available() -> Vec<CodeKernel> {
    let mut kernels = Vec::new();
    #[cfg(target_arch = "x86_64")]
    {
        use super::codes_x86 as x86;
        let has_avx512 = is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw");
        if has_avx512 && is_x86_feature_detected!("avx512vnni") {
            kernels.push(CodeKernel { name: "avx512vnni", dots: x86::dots_vnni, wide_dot: x86::wide_dot_avx512 });
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            kernels.push(CodeKernel { name: "avx2", dots: x86::dots_avx2, wide_dot: x86::wide_dot_avx2 });
        }
    }
    #[cfg(target_arch = "aarch64")]
    kernels.push(CodeKernel { name: "neon", dots: super::codes_neon::dots, wide_dot: super::codes_neon::wide_dot });
    kernels.push(CodeKernel { name: "scalar", dots: dots_scalar, wide_dot: wide_dot_scalar });
    kernels
}

/// Asks the processor to bring a row near; a hint that changes no result. Rows outside are ignored.
#[inline]
pub fn prefetch(codes: &[i8], row: u32, width: usize) {
    if let Some(row) = codes.get(row as usize * width..(row as usize + 1) * width) {
        super::prefetch(row);
    }
}

/// The rows' bounds, checked for all rows at once before any is read.
#[inline]
pub(super) fn check(query: &[u8], codes: &[i8], rows: &[u32], out: &[i32]) {
    assert!(query.len().is_multiple_of(ROW_ALIGNMENT), "a query has whole blocks");
    assert!(out.len() >= rows.len(), "a place for each product");
    let n_rows = codes.len().checked_div(query.len()).unwrap_or(0);
    assert!(rows.iter().all(|&row| (row as usize) < n_rows), "every row lies within the codes");
}

fn dots_scalar(query: &[u8], codes: &[i8], rows: &[u32], out: &mut [i32]) {
    check(query, codes, rows, out);
    for (&row, out) in rows.iter().zip(out) {
        let codes = &codes[row as usize * query.len()..][..query.len()];
        *out = query.iter().zip(codes).map(|(&a, &b)| i32::from(a) * i32::from(b)).sum();
    }
}

fn wide_dot_scalar(query: &[f32], high: &[i8], low: &[i8]) -> f32 {
    assert!(query.len() == high.len() && query.len() == low.len(), "vectors of one length");
    let mut lanes = [0.0_f32; 8];
    for (place, ((query, high), low)) in query.iter().zip(high).zip(low).enumerate() {
        lanes[place % 8] += query * (256 * i32::from(*high) + i32::from(*low)) as f32;
    }
    lanes.iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes that look random and have both ends of their range.
    fn bytes(seed: u64, count: usize) -> Vec<i8> {
        let mut state = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(99);
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            match state >> 60 {
                0 => i8::MIN,
                1 => i8::MAX,
                _ => (state >> 33) as i8,
            }
        };
        (0..count).map(|_| next()).collect()
    }

    #[test]
    fn every_kernel_gives_exact_products_of_codes() {
        for width in [0, 64, 128, 320, 384, 512, 768, 4096] {
            let (query, codes) = (bytes(1, width), bytes(2, 9 * width));
            let query: Vec<u8> = query.iter().map(|&value| value as u8).collect();
            let rows: Vec<u32> = if width == 0 { vec![] } else { vec![8, 0, 3, 3, 7, 1, 2] };
            let exact = |row: &u32| -> i64 {
                let codes = &codes[*row as usize * width..][..width];
                query.iter().zip(codes).map(|(&a, &b)| i64::from(a) * i64::from(b)).sum()
            };
            let expected: Vec<i64> = rows.iter().map(exact).collect();
            for kernel in available() {
                let mut found = vec![0; rows.len()];
                (kernel.dots)(&query, &codes, &rows, &mut found);
                let found: Vec<i64> = found.into_iter().map(i64::from).collect();
                assert_eq!(found, expected, "{} {width}", kernel.name);
            }
        }
    }

    #[test]
    fn every_kernel_agrees_with_f64_on_wide_rows() {
        for length in (0..=70).chain([384, 511, 512, 1024]) {
            let (high, low) = (bytes(3, length), bytes(4, length));
            let query: Vec<f32> = bytes(5, length).iter().map(|&value| f32::from(value) / 300.0).collect();
            let wide = |place: usize| f64::from(256 * i32::from(high[place]) + i32::from(low[place]));
            let products: Vec<f64> = (0..length).map(|place| f64::from(query[place]) * wide(place)).collect();
            let (exact, size) = (products.iter().sum::<f64>(), products.iter().map(|x| x.abs()).sum::<f64>());
            for kernel in available() {
                let found = f64::from((kernel.wide_dot)(&query, &high, &low));
                assert!((found - exact).abs() <= 1e-6 * size + 1e-12, "{} {length}: {found} {exact}", kernel.name);
            }
        }
    }

    #[test]
    fn rows_outside_are_refused() {
        for kernel in available() {
            let outside = || (kernel.dots)(&[0; 64], &[0; 128], &[2], &mut [0]);
            assert!(std::panic::catch_unwind(outside).is_err(), "{}", kernel.name);
            let no_place = || (kernel.dots)(&[0; 64], &[0; 128], &[1], &mut []);
            assert!(std::panic::catch_unwind(no_place).is_err(), "{}", kernel.name);
            let shorter = || (kernel.wide_dot)(&[0.0; 20], &[0; 20], &[0; 19]);
            assert!(std::panic::catch_unwind(shorter).is_err(), "{}", kernel.name);
        }
        prefetch(&[0; 64], 7, 64);
    }
}
