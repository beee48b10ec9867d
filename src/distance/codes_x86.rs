//! Products of codes by AVX2 and by AVX-512 with VNNI.

use std::arch::x86_64::{
    __m128i, __m256i, __m512i, _mm_add_epi32, _mm_add_ps, _mm_add_ss, _mm_cvtsi128_si32, _mm_cvtss_f32,
    _mm_loadl_epi64, _mm_loadu_si128, _mm_movehl_ps, _mm_shuffle_epi32, _mm_shuffle_ps, _mm256_add_epi32,
    _mm256_add_ps, _mm256_castps256_ps128, _mm256_castsi256_si128, _mm256_cvtepi8_epi16, _mm256_cvtepi8_epi32,
    _mm256_cvtepi32_ps, _mm256_cvtepu8_epi16, _mm256_extractf128_ps, _mm256_extracti128_si256, _mm256_fmadd_ps,
    _mm256_loadu_ps, _mm256_madd_epi16, _mm256_setzero_ps, _mm256_setzero_si256, _mm256_slli_epi32, _mm512_add_epi32,
    _mm512_add_ps, _mm512_cvtepi8_epi32, _mm512_cvtepi32_ps, _mm512_dpbusd_epi32, _mm512_fmadd_ps, _mm512_loadu_ps,
    _mm512_loadu_si512, _mm512_reduce_add_epi32, _mm512_reduce_add_ps, _mm512_setzero_ps, _mm512_setzero_si512,
    _mm512_slli_epi32,
};

use super::codes::{check, prefetch};

/// Rows that are on their way while one is read: as many lines as the processor waits for at once.
const AHEAD: usize = 4;

/// Only handed out by `available`, after the processor was asked.
pub(super) fn dots_vnni(query: &[u8], codes: &[i8], rows: &[u32], out: &mut [i32]) {
    check(query, codes, rows, out);
    // SAFETY: `available` offers this function only if AVX-512F, BW and VNNI were detected; `check` has seen every row.
    unsafe { vnni(query, codes, rows, out) }
}

/// Only handed out by `available`, after the processor was asked.
pub(super) fn dots_avx2(query: &[u8], codes: &[i8], rows: &[u32], out: &mut [i32]) {
    check(query, codes, rows, out);
    // SAFETY: `available` offers this function only if AVX2 was detected; `check` has seen every row.
    unsafe { avx2(query, codes, rows, out) }
}

/// Only handed out by `available`, after the processor was asked.
pub(super) fn wide_dot_avx512(query: &[f32], high: &[i8], low: &[i8]) -> f32 {
    assert!(query.len() == high.len() && query.len() == low.len(), "vectors of one length");
    // SAFETY: `available` offers this function only if AVX-512F was detected; the lengths are equal.
    unsafe { wide_avx512(query, high, low) }
}

/// Only handed out by `available`, after the processor was asked.
pub(super) fn wide_dot_avx2(query: &[f32], high: &[i8], low: &[i8]) -> f32 {
    assert!(query.len() == high.len() && query.len() == low.len(), "vectors of one length");
    // SAFETY: `available` offers this function only if AVX2 and FMA were detected; the lengths are equal.
    unsafe { wide_avx2(query, high, low) }
}

/// # Safety
/// AVX-512F, BW and VNNI must be there; every row must lie within the codes, and the query's length be a multiple of 64.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
unsafe fn vnni(query: &[u8], codes: &[i8], rows: &[u32], out: &mut [i32]) {
    let width = query.len();
    for &row in rows.iter().take(AHEAD) {
        prefetch(codes, row, width);
    }
    for (place, (&row, out)) in rows.iter().zip(out).enumerate() {
        if let Some(&later) = rows.get(place + AHEAD) {
            prefetch(codes, later, width);
        }
        let mut sums = [_mm512_setzero_si512(); 2];
        for block in 0..width / 64 {
            // SAFETY: the caller has seen that the row's bytes lie within `codes`; both blocks hold 64 bytes.
            let (a, b): (__m512i, __m512i) = unsafe {
                (
                    _mm512_loadu_si512(query.as_ptr().add(64 * block).cast()),
                    _mm512_loadu_si512(codes.as_ptr().add(row as usize * width + 64 * block).cast()),
                )
            };
            sums[block % 2] = _mm512_dpbusd_epi32(sums[block % 2], a, b);
        }
        *out = _mm512_reduce_add_epi32(_mm512_add_epi32(sums[0], sums[1]));
    }
}

/// # Safety
/// AVX2 must be there; every row must lie within the codes, and the query's length be a multiple of 64.
#[target_feature(enable = "avx2")]
unsafe fn avx2(query: &[u8], codes: &[i8], rows: &[u32], out: &mut [i32]) {
    let width = query.len();
    for &row in rows.iter().take(AHEAD) {
        prefetch(codes, row, width);
    }
    for (place, (&row, out)) in rows.iter().zip(out).enumerate() {
        if let Some(&later) = rows.get(place + AHEAD) {
            prefetch(codes, later, width);
        }
        let mut sums = [_mm256_setzero_si256(); 2];
        for block in 0..width / 16 {
            // SAFETY: the caller has seen that the row's bytes lie within `codes`; both blocks hold 16 bytes.
            let (a, b): (__m128i, __m128i) = unsafe {
                (
                    _mm_loadu_si128(query.as_ptr().add(16 * block).cast()),
                    _mm_loadu_si128(codes.as_ptr().add(row as usize * width + 16 * block).cast()),
                )
            };
            // Products of 16-bit numbers: those of bytes would saturate where two of them are added.
            let product = _mm256_madd_epi16(_mm256_cvtepu8_epi16(a), _mm256_cvtepi8_epi16(b));
            sums[block % 2] = _mm256_add_epi32(sums[block % 2], product);
        }
        *out = sum_avx2(_mm256_add_epi32(sums[0], sums[1]));
    }
}

#[target_feature(enable = "avx2")]
fn sum_avx2(eight: __m256i) -> i32 {
    let four = _mm_add_epi32(_mm256_castsi256_si128(eight), _mm256_extracti128_si256::<1>(eight));
    let two = _mm_add_epi32(four, _mm_shuffle_epi32::<0b00_00_11_10>(four));
    _mm_cvtsi128_si32(_mm_add_epi32(two, _mm_shuffle_epi32::<1>(two)))
}

/// # Safety
/// AVX-512F must be there and the lengths equal.
#[target_feature(enable = "avx512f")]
unsafe fn wide_avx512(query: &[f32], high: &[i8], low: &[i8]) -> f32 {
    let mut sums = [_mm512_setzero_ps(); 2];
    let blocks = query.len() / 16;
    for block in 0..blocks {
        // SAFETY: each block holds 16 numbers.
        let (x, h, l): (_, __m128i, __m128i) = unsafe {
            (
                _mm512_loadu_ps(query.as_ptr().add(16 * block)),
                _mm_loadu_si128(high.as_ptr().add(16 * block).cast()),
                _mm_loadu_si128(low.as_ptr().add(16 * block).cast()),
            )
        };
        let wide = _mm512_add_epi32(_mm512_slli_epi32::<8>(_mm512_cvtepi8_epi32(h)), _mm512_cvtepi8_epi32(l));
        sums[block % 2] = _mm512_fmadd_ps(x, _mm512_cvtepi32_ps(wide), sums[block % 2]);
    }
    let sum = _mm512_reduce_add_ps(_mm512_add_ps(sums[0], sums[1]));
    rest(sum, &query[16 * blocks..], &high[16 * blocks..], &low[16 * blocks..])
}

/// # Safety
/// AVX2 and FMA must be there and the lengths equal.
#[target_feature(enable = "avx2,fma")]
unsafe fn wide_avx2(query: &[f32], high: &[i8], low: &[i8]) -> f32 {
    let mut sums = [_mm256_setzero_ps(); 2];
    let blocks = query.len() / 8;
    for block in 0..blocks {
        // SAFETY: each block holds 8 numbers, and a half load reads 8 bytes.
        let (x, h, l): (_, __m128i, __m128i) = unsafe {
            (
                _mm256_loadu_ps(query.as_ptr().add(8 * block)),
                _mm_loadl_epi64(high.as_ptr().add(8 * block).cast()),
                _mm_loadl_epi64(low.as_ptr().add(8 * block).cast()),
            )
        };
        let wide = _mm256_add_epi32(_mm256_slli_epi32::<8>(_mm256_cvtepi8_epi32(h)), _mm256_cvtepi8_epi32(l));
        sums[block % 2] = _mm256_fmadd_ps(x, _mm256_cvtepi32_ps(wide), sums[block % 2]);
    }

    let eight = _mm256_add_ps(sums[0], sums[1]);
    let four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps::<1>(eight));
    let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    let sum = _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps::<1>(two, two)));
    rest(sum, &query[8 * blocks..], &high[8 * blocks..], &low[8 * blocks..])
}

/// What blocks leave over.
fn rest(sum: f32, query: &[f32], high: &[i8], low: &[i8]) -> f32 {
    let wide = |(high, low): (&i8, &i8)| (256 * i32::from(*high) + i32::from(*low)) as f32;
    query.iter().zip(high.iter().zip(low).map(wide)).fold(sum, |sum, (query, wide)| query.mul_add(wide, sum))
}
