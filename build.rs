//! Lets our binaries find libtorch without `LD_LIBRARY_PATH`, and tells them the git revision.

use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if let Some(folder) = std::env::var_os("DEP_TCH_LIBTORCH_LIB") {
        // The link folder holds links only. The libraries find each other relative to where they really are, so that is
        // the folder to name.
        let real = real_folder(Path::new(&folder));
        println!("cargo:rustc-link-arg=-Wl,-rpath,{}", real.display());
    }
    println!("cargo:rustc-env=PICTOR_GIT_REVISION={}", git_revision().unwrap_or_else(|| "unknown".to_owned()));
}

fn real_folder(folder: &Path) -> PathBuf {
    let library = folder.join("libtorch_cpu.so").canonicalize().ok();
    library.and_then(|library| library.parent().map(Path::to_owned)).unwrap_or_else(|| folder.to_owned())
}

fn git_revision() -> Option<String> {
    let branch = git(&["rev-parse", "--symbolic-full-name", "HEAD"])?;
    for name in ["HEAD", branch.as_str()] {
        let path = git(&["rev-parse", "--git-path", name])?;
        if Path::new(&path).exists() {
            println!("cargo:rerun-if-changed={path}");
        }
    }
    git(&["rev-parse", "--short=12", "HEAD"])
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
