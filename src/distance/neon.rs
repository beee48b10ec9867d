//! NEON, which every aarch64 processor has.

use std::arch::aarch64::{vaddq_f32, vaddvq_f32, vdupq_n_f32, vfmaq_f32, vld1q_f32};

pub(super) fn dot(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len(), "vectors of one length");
    let (a_blocks, a_rest) = a.as_chunks::<16>();
    let (b_blocks, b_rest) = b.as_chunks::<16>();
    // SAFETY: NEON is part of aarch64; each block holds 16 numbers and a load reads 4 of them, from 4 · lane with lane < 4.
    let sum = unsafe {
        let mut sums = [vdupq_n_f32(0.0); 4];
        for (a, b) in a_blocks.iter().zip(b_blocks) {
            for (lane, sum) in sums.iter_mut().enumerate() {
                *sum = vfmaq_f32(*sum, vld1q_f32(a.as_ptr().add(4 * lane)), vld1q_f32(b.as_ptr().add(4 * lane)));
            }
        }
        vaddvq_f32(vaddq_f32(vaddq_f32(sums[0], sums[1]), vaddq_f32(sums[2], sums[3])))
    };
    a_rest.iter().zip(b_rest).fold(sum, |sum, (a, b)| a.mul_add(*b, sum))
}
