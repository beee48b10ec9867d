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
#[cfg(target_arch = "x86_64")]
mod x86;

pub use kernel::{Kernel, available, best, dot};
