//! Where networks run and in which numbers.

use std::path::Path;
use std::str::FromStr;

use tch::{Cuda, Device, Kind};

use crate::{Error, Result};

/// What the operator asked for: `auto`, `cpu` or `cuda:N`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeviceChoice {
    /// The first GPU if there is one, else the CPU.
    #[default]
    Auto,
    Cpu,
    Cuda(usize),
}

impl FromStr for DeviceChoice {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let number = |digits: &str| digits.parse().ok().filter(|_| digits.bytes().all(|byte| byte.is_ascii_digit()));
        match text {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda(0)),
            _ => {
                text.strip_prefix("cuda:").and_then(number).map(Self::Cuda).ok_or_else(|| {
                    Error::invalid("device", format!("expected one of auto, cpu, cuda:N, found {text:?}"))
                })
            }
        }
    }
}

impl DeviceChoice {
    /// Settles on a device; call [`preload_cuda`] before.
    ///
    /// # Errors
    /// `FailedPrecondition` with reason `NO_SUCH_DEVICE` if the GPU is not there.
    pub fn resolve(self) -> Result<Device> {
        match self {
            Self::Cpu => Ok(Device::Cpu),
            Self::Auto if Cuda::is_available() => Ok(Device::Cuda(0)),
            Self::Auto => Ok(Device::Cpu),
            Self::Cuda(number) if Cuda::is_available() && (number as i64) < Cuda::device_count() => {
                Ok(Device::Cuda(number))
            }
            Self::Cuda(number) => Err(no_such_device(format!(
                "cuda:{number} was asked for, but libtorch sees {} CUDA devices",
                if Cuda::is_available() { Cuda::device_count() } else { 0 }
            ))),
        }
    }
}

/// The device's name as [`DeviceChoice`] reads it.
#[must_use]
pub fn device_name(device: Device) -> String {
    match device {
        Device::Cuda(number) => format!("cuda:{number}"),
        _ => "cpu".to_owned(),
    }
}

/// What the operator asked for: `auto`, `f32`, `bf16` or `f16`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PrecisionChoice {
    /// bf16 where the hardware multiplies it, else f32.
    #[default]
    Auto,
    Exactly(Precision),
}

/// The numbers that a network computes in; pooling and normalisation are always f32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    F32,
    Bf16,
    F16,
}

impl FromStr for PrecisionChoice {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "auto" => Ok(Self::Auto),
            "f32" => Ok(Self::Exactly(Precision::F32)),
            "bf16" => Ok(Self::Exactly(Precision::Bf16)),
            "f16" => Ok(Self::Exactly(Precision::F16)),
            _ => Err(Error::invalid("dtype", format!("expected one of auto, f32, bf16, f16, found {text:?}"))),
        }
    }
}

impl PrecisionChoice {
    /// Settles on a precision for a device.
    ///
    /// # Errors
    /// `InvalidArgument` for f16 on a CPU, where libtorch has no fast kernels for it.
    pub fn resolve(self, device: Device) -> Result<Precision> {
        match (self, device) {
            (Self::Exactly(Precision::F16), Device::Cpu) => {
                Err(Error::invalid("dtype", "f16 needs a CUDA device; on a CPU use bf16 or f32"))
            }
            (Self::Exactly(precision), _) => Ok(precision),
            (Self::Auto, Device::Cpu) if !cpu_multiplies_bf16() => Ok(Precision::F32),
            (Self::Auto, _) => Ok(Precision::Bf16),
        }
    }
}

impl Precision {
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::F16 => "f16",
        }
    }

    #[must_use]
    pub const fn kind(self) -> Kind {
        match self {
            Self::F32 => Kind::Float,
            Self::Bf16 => Kind::BFloat16,
            Self::F16 => Kind::Half,
        }
    }
}

/// True with AVX512-BF16 or AMX-BF16; every CPU that has the second also has the first.
fn cpu_multiplies_bf16() -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        std::arch::is_x86_feature_detected!("avx512bf16")
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        false
    }
}

/// Loads libtorch's CUDA half if the device asks for it; must be the first statement of `main`.
///
/// One binary serves both kinds of machine: it is linked with the CPU half only, and libtorch finds CUDA if the library is
/// in the process before its first call. `auto` tries it only where an NVIDIA driver is, and carries on without.
///
/// # Errors
/// `FailedPrecondition` with reason `NO_SUCH_DEVICE` if `cuda:N` was asked for and the library cannot be loaded.
pub fn preload_cuda(choice: DeviceChoice) -> Result<()> {
    match choice {
        DeviceChoice::Cpu => Ok(()),
        DeviceChoice::Auto if !Path::new("/dev/nvidiactl").exists() => Ok(()),
        DeviceChoice::Auto => {
            if let Err(error) = open_globally(c"libtorch_cuda.so") {
                tracing::warn!("there is an NVIDIA driver, but CUDA is not used: {error}");
            }
            Ok(())
        }
        DeviceChoice::Cuda(_) => open_globally(c"libtorch_cuda.so"),
    }
}

fn open_globally(library: &std::ffi::CStr) -> Result<()> {
    // SAFETY: the name is a NUL-terminated string; loading runs the library's own initialisers, which libtorch is built
    // for. The handle is never closed, so the code stays mapped.
    let handle = unsafe { libc::dlopen(library.as_ptr(), libc::RTLD_NOW | libc::RTLD_GLOBAL) };
    if !handle.is_null() {
        return Ok(());
    }
    // SAFETY: dlerror gives NULL or a NUL-terminated string that lives until this thread's next dl call.
    let reason = unsafe {
        let message = libc::dlerror();
        if message.is_null() { String::new() } else { std::ffi::CStr::from_ptr(message).to_string_lossy().into_owned() }
    };
    Err(no_such_device(format!("CUDA was asked for, but its libraries do not load: {reason}")))
}

fn no_such_device(message: String) -> Error {
    Error::FailedPrecondition { reason: "NO_SUCH_DEVICE", message }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_are_read_strictly() {
        for (text, expected) in
            [("auto", DeviceChoice::Auto), ("cpu", DeviceChoice::Cpu), ("cuda:3", DeviceChoice::Cuda(3))]
        {
            assert_eq!(text.parse::<DeviceChoice>().expect(text), expected);
        }
        for bad in ["", "gpu", "cuda:", "cuda:-1", "cuda:+1", "CPU"] {
            assert!(bad.parse::<DeviceChoice>().is_err(), "{bad:?}");
        }
        for bad in ["", "fp32", "BF16"] {
            assert!(bad.parse::<PrecisionChoice>().is_err(), "{bad:?}");
        }
        let f16 = PrecisionChoice::Exactly(Precision::F16);
        assert!(f16.resolve(Device::Cpu).is_err() && f16.resolve(Device::Cuda(0)).is_ok());
    }
}
