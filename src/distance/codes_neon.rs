//! Products of codes by NEON, which every aarch64 processor has.

use std::arch::aarch64::{
    int32x4_t, vaddq_s32, vaddvq_f32, vaddvq_s32, vcvtq_f32_s32, vdupq_n_f32, vdupq_n_s32, vfmaq_f32, vget_low_s8,
    vget_low_s16, vget_low_u8, vld1_s8, vld1q_f32, vld1q_s8, vld1q_u8, vmlal_high_s16, vmlal_s16, vmovl_high_s8,
    vmovl_high_s16, vmovl_high_u8, vmovl_s8, vmovl_s16, vmovl_u8, vreinterpretq_s16_u16, vshlq_n_s32,
};

use super::codes::check;

pub(super) fn dots(query: &[u8], codes: &[i8], rows: &[u32], out: &mut [i32]) {
    check(query, codes, rows, out);
    let width = query.len();
    for (&row, out) in rows.iter().zip(out) {
        let codes = &codes[row as usize * width..][..width];
        // SAFETY: NEON is part of aarch64; each block holds 16 bytes.
        *out = unsafe {
            let mut sums: [int32x4_t; 2] = [vdupq_n_s32(0); 2];
            for (a, b) in query.as_chunks::<16>().0.iter().zip(codes.as_chunks::<16>().0) {
                let (a, b) = (vld1q_u8(a.as_ptr()), vld1q_s8(b.as_ptr()));
                let low = (vreinterpretq_s16_u16(vmovl_u8(vget_low_u8(a))), vmovl_s8(vget_low_s8(b)));
                let high = (vreinterpretq_s16_u16(vmovl_high_u8(a)), vmovl_high_s8(b));
                sums[0] = vmlal_s16(sums[0], vget_low_s16(low.0), vget_low_s16(low.1));
                sums[1] = vmlal_high_s16(sums[1], low.0, low.1);
                sums[0] = vmlal_s16(sums[0], vget_low_s16(high.0), vget_low_s16(high.1));
                sums[1] = vmlal_high_s16(sums[1], high.0, high.1);
            }
            vaddvq_s32(vaddq_s32(sums[0], sums[1]))
        };
    }
}

pub(super) fn wide_dot(query: &[f32], high: &[i8], low: &[i8]) -> f32 {
    assert!(query.len() == high.len() && query.len() == low.len(), "vectors of one length");
    let blocks = query.len() / 8;
    // SAFETY: NEON is part of aarch64; each block holds 8 numbers.
    let sum = unsafe {
        let mut sums = [vdupq_n_f32(0.0); 2];
        for block in 0..blocks {
            let h = vmovl_s8(vld1_s8(high.as_ptr().add(8 * block)));
            let l = vmovl_s8(vld1_s8(low.as_ptr().add(8 * block)));
            let first = vaddq_s32(vshlq_n_s32::<8>(vmovl_s16(vget_low_s16(h))), vmovl_s16(vget_low_s16(l)));
            let second = vaddq_s32(vshlq_n_s32::<8>(vmovl_high_s16(h)), vmovl_high_s16(l));
            let query = query.as_ptr().add(8 * block);
            sums[0] = vfmaq_f32(sums[0], vld1q_f32(query), vcvtq_f32_s32(first));
            sums[1] = vfmaq_f32(sums[1], vld1q_f32(query.add(4)), vcvtq_f32_s32(second));
        }
        vaddvq_f32(sums[0]) + vaddvq_f32(sums[1])
    };
    let wide = |place: usize| (256 * i32::from(high[place]) + i32::from(low[place])) as f32;
    (8 * blocks..query.len()).fold(sum, |sum, place| query[place].mul_add(wide(place), sum))
}
