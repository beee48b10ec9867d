//! Loaded into a process before the C library: while a file named in the environment exists, nothing more fits below one folder.

use std::ffi::{c_char, c_int, c_void};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

unsafe extern "C" {
    fn dlsym(handle: *mut c_void, symbol: *const c_char) -> *mut c_void;
    fn __errno_location() -> *mut c_int;
}

/// The next library in the order of loading.
const RTLD_NEXT: *mut c_void = -1_isize as *mut c_void;
const ENOSPC: c_int = 28;

/// The folder, and the file that fills its disk.
fn settings() -> Option<&'static (PathBuf, PathBuf)> {
    static SETTINGS: OnceLock<Option<(PathBuf, PathBuf)>> = OnceLock::new();
    let variable = |name: &str| std::env::var_os(name).map(PathBuf::from);
    SETTINGS.get_or_init(|| variable("DISK_FULL_FOLDER").zip(variable("DISK_FULL_WHILE"))).as_ref()
}

fn is_full(is_below: impl Fn(&Path) -> bool) -> bool {
    settings().is_some_and(|(folder, signal)| signal.exists() && is_below(folder))
}

fn is_full_at(fd: c_int) -> bool {
    is_full(|folder| std::fs::read_link(format!("/proc/self/fd/{fd}")).is_ok_and(|path| path.starts_with(folder)))
}

fn refuse() -> isize {
    // SAFETY: the C library's own place for this thread's error.
    unsafe { *__errno_location() = ENOSPC };
    -1
}

/// Interposes a function whose first argument is a descriptor.
macro_rules! by_descriptor {
    ($($name:ident($($argument:ident: $type:ty),*) -> $result:ty;)*) => {$(
        /// # Safety
        /// As the C library's.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name(fd: c_int, $($argument: $type),*) -> $result {
            if is_full_at(fd) {
                return refuse() as $result;
            }
            // SAFETY: the C library has a function of this name and type.
            unsafe {
                let next = dlsym(RTLD_NEXT, concat!(stringify!($name), "\0").as_ptr().cast());
                type Next = unsafe extern "C" fn(c_int, $($type),*) -> $result;
                std::mem::transmute::<*mut c_void, Next>(next)(fd, $($argument),*)
            }
        }
    )*};
}

by_descriptor! {
    write(data: *const c_void, count: usize) -> isize;
    pwrite(data: *const c_void, count: usize, at: i64) -> isize;
    pwrite64(data: *const c_void, count: usize, at: i64) -> isize;
    writev(vectors: *const c_void, count: c_int) -> isize;
    ftruncate(length: i64) -> c_int;
    ftruncate64(length: i64) -> c_int;
    fallocate(mode: c_int, at: i64, length: i64) -> c_int;
    fallocate64(mode: c_int, at: i64, length: i64) -> c_int;
}

/// # Safety
/// As the C library's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn copy_file_range(
    from: c_int,
    from_at: *mut i64,
    to: c_int,
    to_at: *mut i64,
    count: usize,
    flags: u32,
) -> isize {
    if is_full_at(to) {
        return refuse();
    }
    type Next = unsafe extern "C" fn(c_int, *mut i64, c_int, *mut i64, usize, u32) -> isize;
    // SAFETY: the C library has a function of this name and type.
    unsafe {
        let next = dlsym(RTLD_NEXT, c"copy_file_range".as_ptr());
        std::mem::transmute::<*mut c_void, Next>(next)(from, from_at, to, to_at, count, flags)
    }
}

/// # Safety
/// As the C library's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mkdir(path: *const c_char, mode: u32) -> c_int {
    // SAFETY: the caller gives a text that ends.
    let name = unsafe { std::ffi::CStr::from_ptr(path) };
    if is_full(|folder| Path::new(&*name.to_string_lossy()).starts_with(folder)) {
        return refuse() as c_int;
    }
    type Next = unsafe extern "C" fn(*const c_char, u32) -> c_int;
    // SAFETY: the C library has a function of this name and type.
    unsafe { std::mem::transmute::<*mut c_void, Next>(dlsym(RTLD_NEXT, c"mkdir".as_ptr()))(path, mode) }
}
