//! Kernels that compare vectors. The best one for this machine is chosen once, at first use.
//!
//! A kernel sees one row at a time, so equal vectors have equal scores wherever they stand.

pub mod codes;
#[cfg(target_arch = "aarch64")]
mod codes_neon;
#[cfg(target_arch = "x86_64")]
mod codes_x86;
mod kernel;
#[cfg(target_arch = "aarch64")]
mod neon;
mod scalar;
pub mod signs;
#[cfg(target_arch = "x86_64")]
mod signs_x86;
#[cfg(target_arch = "x86_64")]
mod x86;

/// Asks the processor to bring values near that begin at a cache line; a hint that changes no result.
#[inline]
pub fn prefetch<T>(values: &[T]) {
    #[cfg(target_arch = "x86_64")]
    for at in (0..size_of_val(values)).step_by(codes::ROW_ALIGNMENT) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: SSE is part of x86_64, a prefetch reads nothing that the program can see, and the place lies within the values.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(values.as_ptr().cast::<i8>().add(at)) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = values;
}

pub use kernel::{Kernel, available, best, dot};
