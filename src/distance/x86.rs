//! AVX2 and AVX-512.

use std::arch::x86_64::{
    _mm_add_ps, _mm_add_ss, _mm_cvtss_f32, _mm_movehl_ps, _mm_shuffle_ps, _mm256_add_ps, _mm256_castps256_ps128,
    _mm256_extractf128_ps, _mm256_fmadd_ps, _mm256_loadu_ps, _mm256_setzero_ps, _mm512_add_ps, _mm512_fmadd_ps,
    _mm512_loadu_ps, _mm512_maskz_loadu_ps, _mm512_reduce_add_ps, _mm512_setzero_ps,
};

/// Only handed out by `available`, after the processor was asked.
pub(super) fn dot_avx2(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len(), "vectors of one length");
    // SAFETY: `available` offers this function only if AVX2 and FMA were detected; the lengths are equal.
    unsafe { avx2(a, b) }
}

/// Only handed out by `available`, after the processor was asked.
pub(super) fn dot_avx512(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len(), "vectors of one length");
    // SAFETY: `available` offers this function only if AVX-512F was detected; the lengths are equal.
    unsafe { avx512(a, b) }
}

/// # Safety
/// AVX2 and FMA must be there and the lengths equal.
#[target_feature(enable = "avx2,fma")]
unsafe fn avx2(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [_mm256_setzero_ps(); 4];
    let (a_blocks, a_rest) = a.as_chunks::<32>();
    let (b_blocks, b_rest) = b.as_chunks::<32>();
    for (a, b) in a_blocks.iter().zip(b_blocks) {
        for (lane, sum) in sums.iter_mut().enumerate() {
            // SAFETY: each block holds 32 numbers and a load reads 8 of them, from 8 · lane with lane < 4.
            let (x, y) =
                unsafe { (_mm256_loadu_ps(a.as_ptr().add(8 * lane)), _mm256_loadu_ps(b.as_ptr().add(8 * lane))) };
            *sum = _mm256_fmadd_ps(x, y, *sum);
        }
    }
    let (a_eights, a_rest) = a_rest.as_chunks::<8>();
    let (b_eights, b_rest) = b_rest.as_chunks::<8>();
    for (a, b) in a_eights.iter().zip(b_eights) {
        // SAFETY: each block holds 8 numbers.
        let (x, y) = unsafe { (_mm256_loadu_ps(a.as_ptr()), _mm256_loadu_ps(b.as_ptr())) };
        sums[0] = _mm256_fmadd_ps(x, y, sums[0]);
    }
    let eight = _mm256_add_ps(_mm256_add_ps(sums[0], sums[1]), _mm256_add_ps(sums[2], sums[3]));
    let four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps::<1>(eight));
    let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    let one = _mm_add_ss(two, _mm_shuffle_ps::<1>(two, two));
    a_rest.iter().zip(b_rest).fold(_mm_cvtss_f32(one), |sum, (a, b)| a.mul_add(*b, sum))
}

/// # Safety
/// AVX-512F must be there and the lengths equal.
#[target_feature(enable = "avx512f")]
unsafe fn avx512(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [_mm512_setzero_ps(); 4];
    let (a_blocks, a_rest) = a.as_chunks::<64>();
    let (b_blocks, b_rest) = b.as_chunks::<64>();
    for (a, b) in a_blocks.iter().zip(b_blocks) {
        for (lane, sum) in sums.iter_mut().enumerate() {
            // SAFETY: each block holds 64 numbers and a load reads 16 of them, from 16 · lane with lane < 4.
            let (x, y) =
                unsafe { (_mm512_loadu_ps(a.as_ptr().add(16 * lane)), _mm512_loadu_ps(b.as_ptr().add(16 * lane))) };
            *sum = _mm512_fmadd_ps(x, y, *sum);
        }
    }
    for (a, b) in a_rest.chunks(16).zip(b_rest.chunks(16)) {
        let mask = u16::MAX >> (16 - a.len());
        // SAFETY: the mask lets the load read only the numbers that the chunk has, 1 to 16.
        let (x, y) = unsafe { (_mm512_maskz_loadu_ps(mask, a.as_ptr()), _mm512_maskz_loadu_ps(mask, b.as_ptr())) };
        sums[0] = _mm512_fmadd_ps(x, y, sums[0]);
    }
    _mm512_reduce_add_ps(_mm512_add_ps(_mm512_add_ps(sums[0], sums[1]), _mm512_add_ps(sums[2], sums[3])))
}
