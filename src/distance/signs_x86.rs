//! Rows of signs by AVX-512 with VPOPCNTDQ, and by the plain code with longer registers.

use std::arch::x86_64::{
    _mm512_add_epi64, _mm512_and_si512, _mm512_loadu_si512, _mm512_popcnt_epi64, _mm512_reduce_add_epi64,
    _mm512_setzero_si512, _mm512_slli_epi64, _mm512_sub_epi64,
};

use super::signs::{self, BLOCK, PLANES, SignQuery, check};

/// Only handed out by `available`, after the processor was asked.
pub(super) fn survivors_avx512(query: &SignQuery, words: &[u64], rows: &[u32], least: f32, out: &mut Vec<u32>) {
    check(query, words, rows);
    // SAFETY: `available` offers this function only if AVX-512F and VPOPCNTDQ were detected; `check` has seen every row.
    unsafe { avx512(query, words, rows, least, out) }
}

/// Only handed out by `available`, after the processor was asked.
pub(super) fn survivors_popcnt(query: &SignQuery, words: &[u64], rows: &[u32], least: f32, out: &mut Vec<u32>) {
    #[target_feature(enable = "avx2,popcnt")]
    fn compiled(query: &SignQuery, words: &[u64], rows: &[u32], least: f32, out: &mut Vec<u32>) {
        signs::survivors(query, words, rows, least, out);
    }
    check(query, words, rows);
    // SAFETY: `available` offers this function only if AVX2 and POPCNT were detected.
    unsafe { compiled(query, words, rows, least, out) }
}

/// Only handed out by `available`, after the processor was asked.
pub(super) fn rotate_avx512(values: &mut [f32], scratch: &mut [f32]) {
    #[target_feature(enable = "avx512f")]
    fn compiled(values: &mut [f32], scratch: &mut [f32]) {
        signs::rotate(values, scratch);
    }
    // SAFETY: `available` offers this function only if AVX-512F was detected.
    unsafe { compiled(values, scratch) }
}

/// Only handed out by `available`, after the processor was asked.
pub(super) fn rotate_avx2(values: &mut [f32], scratch: &mut [f32]) {
    #[target_feature(enable = "avx2")]
    fn compiled(values: &mut [f32], scratch: &mut [f32]) {
        signs::rotate(values, scratch);
    }
    // SAFETY: `available` offers this function only if AVX2 was detected.
    unsafe { compiled(values, scratch) }
}

/// # Safety
/// AVX-512F and VPOPCNTDQ must be there; every row must lie within the words, and rows be whole blocks.
#[target_feature(enable = "avx512f,avx512vpopcntdq")]
unsafe fn avx512(query: &SignQuery, words: &[u64], rows: &[u32], least: f32, out: &mut Vec<u32>) {
    let n_words = query.n_words();
    for &row in rows {
        let first = row as usize * n_words;
        let mut sum = _mm512_setzero_si512();
        for block in (0..n_words).step_by(BLOCK) {
            // SAFETY: the caller has seen that the row lies within `words`; planes have as many words as a row.
            let count = |plane: usize| unsafe {
                let signs = _mm512_loadu_si512(words.as_ptr().add(first + block).cast());
                let plane = _mm512_loadu_si512(query.planes.as_ptr().add(plane * n_words + block).cast());
                _mm512_popcnt_epi64(_mm512_and_si512(signs, plane))
            };
            const { assert!(PLANES == 4) };
            let low = _mm512_add_epi64(count(0), _mm512_slli_epi64::<1>(count(1)));
            let high = _mm512_sub_epi64(_mm512_slli_epi64::<2>(count(2)), _mm512_slli_epi64::<3>(count(3)));
            sum = _mm512_add_epi64(sum, _mm512_add_epi64(low, high));
        }
        if query.most(_mm512_reduce_add_epi64(sum) as i32, words[first + n_words - 1]) > least {
            out.push(row);
        }
    }
}
