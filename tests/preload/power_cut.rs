//! Loaded into a process before the C library: notes what is flushed below one folder, before it is.
//!
//! Before, so that nothing counts as flushed that was written while the call was on its way.

mod disk;

use std::ffi::{c_char, c_int, c_void};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

unsafe extern "C" {
    fn dlsym(handle: *mut c_void, symbol: *const c_char) -> *mut c_void;
}

/// The next library in the order of loading.
const RTLD_NEXT: *mut c_void = -1_isize as *mut c_void;

type Flush = unsafe extern "C" fn(c_int) -> c_int;

fn note(fd: c_int) {
    static FOLDERS: OnceLock<Option<(PathBuf, PathBuf)>> = OnceLock::new();
    let variable = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let folders = FOLDERS.get_or_init(|| variable("POWER_CUT_FOLDER").zip(variable("POWER_CUT_SHADOW")));
    let Some((folder, shadow)) = folders else { return };
    let Ok(path) = std::fs::read_link(format!("/proc/self/fd/{fd}")) else { return };
    if !path.starts_with(folder) {
        return;
    }
    // The file may have been renamed or removed meanwhile; its descriptor still leads to it.
    let path: &Path = if path.is_dir() { &path } else { &PathBuf::from(format!("/proc/self/fd/{fd}")) };
    if let Err(error) = disk::note_flushed(shadow, path) {
        eprintln!("power cut: {}: {error}", path.display());
        std::process::abort();
    }
}

fn flush(name: &std::ffi::CStr, fd: c_int) -> c_int {
    note(fd);
    // SAFETY: the C library has a function of this name and type.
    unsafe {
        let next = dlsym(RTLD_NEXT, name.as_ptr());
        assert!(!next.is_null(), "the C library flushes files");
        std::mem::transmute::<*mut c_void, Flush>(next)(fd)
    }
}

/// # Safety
/// As the C library's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fsync(fd: c_int) -> c_int {
    flush(c"fsync", fd)
}

/// # Safety
/// As the C library's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fdatasync(fd: c_int) -> c_int {
    flush(c"fdatasync", fd)
}
