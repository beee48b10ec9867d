//! Rows of signs by AVX-512 with VPOPCNTDQ, and by the plain code with longer registers.

use std::arch::x86_64::{
    _MM_HINT_T0, _mm_prefetch, _mm512_add_epi64, _mm512_add_ps, _mm512_and_si512, _mm512_fmadd_ps, _mm512_loadu_ps,
    _mm512_loadu_si512, _mm512_permute_ps, _mm512_popcnt_epi64, _mm512_reduce_add_epi64, _mm512_setzero_si512,
    _mm512_shuffle_f32x4, _mm512_slli_epi64, _mm512_storeu_ps, _mm512_sub_epi64, _mm512_sub_ps,
};

use super::signs::{self, BLOCK, PLANES, SignQuery, check};

/// Rows whose memory is asked for before their turn: they lie where no processor would guess.
const AHEAD: usize = 16;

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
pub(super) fn rotate_avx512(values: &mut [f32]) {
    #[target_feature(enable = "avx512f")]
    fn compiled(values: &mut [f32]) {
        // SAFETY: this function has what the other two need, and what is across lies in blocks of sixteen.
        signs::rotate(
            values,
            |sixteen| unsafe { within_avx512(sixteen) },
            |all, half| unsafe { across_avx512(all, half) },
        );
    }
    // SAFETY: `available` offers this function only if AVX-512F was detected.
    unsafe { compiled(values) }
}

/// # Safety
/// AVX-512F must be there.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn within_avx512(values: &mut [f32; 16]) {
    /// Minus where the place has this bit.
    const fn signs(half: usize) -> [f32; 16] {
        let (mut signs, mut place) = ([1.0; 16], 0);
        while place < 16 {
            if place & half != 0 {
                signs[place] = -1.0;
            }
            place += 1;
        }
        signs
    }
    const SIGNS: [[f32; 16]; 4] = [signs(1), signs(2), signs(4), signs(8)];
    // SAFETY: all of them are sixteen numbers.
    unsafe {
        let mut x = _mm512_loadu_ps(values.as_ptr());
        x = _mm512_fmadd_ps(x, _mm512_loadu_ps(SIGNS[0].as_ptr()), _mm512_permute_ps::<0b10_11_00_01>(x));
        x = _mm512_fmadd_ps(x, _mm512_loadu_ps(SIGNS[1].as_ptr()), _mm512_permute_ps::<0b01_00_11_10>(x));
        x = _mm512_fmadd_ps(x, _mm512_loadu_ps(SIGNS[2].as_ptr()), _mm512_shuffle_f32x4::<0b10_11_00_01>(x, x));
        x = _mm512_fmadd_ps(x, _mm512_loadu_ps(SIGNS[3].as_ptr()), _mm512_shuffle_f32x4::<0b01_00_11_10>(x, x));
        _mm512_storeu_ps(values.as_mut_ptr(), x);
    }
}

/// # Safety
/// AVX-512F must be there; `half` must be a multiple of 16, and the values as many as a multiple of twice as much.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn across_avx512(values: &mut [f32], half: usize) {
    for block in values.chunks_exact_mut(2 * half) {
        for at in (0..half).step_by(16) {
            // SAFETY: both are sixteen numbers of the block, and do not overlap.
            unsafe {
                let (a, b) = (block.as_mut_ptr().add(at), block.as_mut_ptr().add(half + at));
                let (x, y) = (_mm512_loadu_ps(a), _mm512_loadu_ps(b));
                _mm512_storeu_ps(a, _mm512_add_ps(x, y));
                _mm512_storeu_ps(b, _mm512_sub_ps(x, y));
            }
        }
    }
}

/// # Safety
/// AVX-512F and VPOPCNTDQ must be there; every row must lie within the words, and rows be whole blocks.
#[target_feature(enable = "avx512f,avx512vpopcntdq")]
unsafe fn avx512(query: &SignQuery, words: &[u64], rows: &[u32], least: f32, out: &mut Vec<u32>) {
    let n_words = query.n_words();
    if n_words == BLOCK {
        // SAFETY: the caller's promises are what it needs.
        return unsafe { avx512_of_a_block(query, words, rows, least, out) };
    }
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

/// As [`avx512`] for rows of one block: the query stays in registers.
///
/// # Safety
/// As there, and a row must be one block.
#[inline]
#[target_feature(enable = "avx512f,avx512vpopcntdq")]
unsafe fn avx512_of_a_block(query: &SignQuery, words: &[u64], rows: &[u32], least: f32, out: &mut Vec<u32>) {
    // SAFETY: planes have as many words as a row, which is a block.
    let planes: [_; PLANES] =
        std::array::from_fn(|plane| unsafe { _mm512_loadu_si512(query.planes.as_ptr().add(plane * BLOCK).cast()) });
    for (at, &row) in rows.iter().enumerate() {
        if let Some(&ahead) = rows.get(at + AHEAD) {
            // SAFETY: a hint, of an address that the caller has seen to lie within `words`.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(words.as_ptr().add(ahead as usize * BLOCK).cast()) };
        }
        let first = row as usize * BLOCK;
        // SAFETY: the caller has seen that the row lies within `words`.
        let signs = unsafe { _mm512_loadu_si512(words.as_ptr().add(first).cast()) };
        let [one, two, four, eight] = planes.map(|plane| _mm512_popcnt_epi64(_mm512_and_si512(signs, plane)));
        let low = _mm512_add_epi64(one, _mm512_slli_epi64::<1>(two));
        let high = _mm512_sub_epi64(_mm512_slli_epi64::<2>(four), _mm512_slli_epi64::<3>(eight));
        let product = _mm512_reduce_add_epi64(_mm512_add_epi64(low, high)) as i32;
        if query.most(product, words[first + BLOCK - 1]) > least {
            out.push(row);
        }
    }
}
