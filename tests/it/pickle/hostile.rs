//! Hundreds of files that mean harm or are damaged, in a child process whose memory is limited: each is refused with a reason, or
//! read within bounds, and none takes a second.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use pictor::model::pickle::TorchFile;
use pictor::types::Error;

use super::{damaged, lies};
use crate::image::usage::peak_bytes;

const CHILD: &str = "PICTOR_PICKLE_CHILD";

/// What `TorchFile::open` may take, plus as much for the tensors of the largest files here.
const MEMORY_BYTES: u64 = 128 << 20;

/// A file and what must become of it.
pub(super) struct Case {
    pub(super) name: String,
    pub(super) file: Vec<u8>,
    /// A word of the reason; `None` if the file may also be read.
    pub(super) refused: Option<String>,
}

impl Case {
    pub(super) fn refused(name: impl Into<String>, file: Vec<u8>, word: impl Into<String>) -> Self {
        Self { name: name.into(), file, refused: Some(word.into()) }
    }

    pub(super) fn bounded(name: impl Into<String>, file: Vec<u8>) -> Self {
        Self { name: name.into(), file, refused: None }
    }
}

#[test]
fn hostile_files_are_refused_within_bounds() {
    let folder = tempfile::tempdir().expect("a folder");
    let cases: Vec<Case> = [lies::cases(), damaged::cases()].into_iter().flatten().collect();
    for (number, case) in cases.iter().enumerate() {
        std::fs::write(folder.path().join(format!("{number}.pt")), &case.file).expect("written");
    }
    // The child does not make the files, so that what it takes is what reading takes.
    let list: Vec<_> = cases.iter().map(|case| (&case.name, &case.refused)).collect();
    std::fs::write(folder.path().join("list.json"), serde_json::to_string(&list).expect("JSON")).expect("written");
    let output = Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", "pickle::hostile::hostile_child", "--nocapture", "--test-threads=1"])
        .env(CHILD, folder.path())
        .output()
        .expect("a child");
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    let last = text.lines().find_map(|line| line.strip_prefix("all done: "));
    let last = last.unwrap_or_else(|| panic!("the child ended with {}: {}", output.status, tail(&text)));
    println!("{last}");
    assert!(output.status.success(), "{}", tail(&text));
}

fn tail(text: &str) -> &str {
    let start = text.len().saturating_sub(4000);
    let start = (start..text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    &text[start..]
}

/// Runs in a child process only.
#[test]
fn hostile_child() {
    let Some(folder) = std::env::var_os(CHILD).map(PathBuf::from) else { return };
    let list = std::fs::read_to_string(folder.join("list.json")).expect("a list");
    let cases: Vec<(String, Option<String>)> = serde_json::from_str(&list).expect("JSON");
    limit_memory(MEMORY_BYTES);
    let before = peak_bytes();
    let (mut n_refused, mut n_read, mut slowest) = (0, 0, Duration::ZERO);
    let mut wrong = Vec::new();
    for (number, (name, refused)) in cases.iter().enumerate() {
        let path = folder.join(format!("{number}.pt"));
        let file_bytes = std::fs::metadata(&path).expect("a file").len() as usize;
        let start = Instant::now();
        let outcome = TorchFile::open(&path).and_then(|file| file.tensors(file.root()));
        let elapsed = start.elapsed();
        slowest = slowest.max(elapsed);
        if elapsed >= Duration::from_secs(1) {
            wrong.push(format!("{name}: {elapsed:?}"));
        }
        match (outcome, refused) {
            (Err(Error::FailedPrecondition { reason: "CHECKPOINT_REFUSED", message }), word) => {
                let word = word.as_deref().unwrap_or_default();
                if !message.contains(word) || message.len() > 2000 {
                    wrong.push(format!("{name}: expected {word:?} in {message:?}"));
                }
                n_refused += 1;
            }
            (Ok(tensors), None) => {
                let bytes: usize = tensors.values().map(|tensor| tensor.bytes.len()).sum();
                if bytes > 8 * file_bytes + (1 << 20) {
                    wrong.push(format!("{name}: {bytes} bytes"));
                }
                n_read += 1;
            }
            (Ok(tensors), Some(_)) => wrong.push(format!("{name} was read: {} tensors", tensors.len())),
            (Err(other), _) => wrong.push(format!("{name}: {other:?}")),
        }
    }
    assert!(wrong.is_empty(), "{} of {}: {wrong:#?}", wrong.len(), cases.len());
    assert!(n_refused >= 200, "{n_refused}");
    let peak = (peak_bytes() - before) >> 20;
    let millis = slowest.as_millis();
    println!(
        "\nall done: {} files, {n_refused} refused, {n_read} read; slowest {millis} ms, {peak} MiB more at the most, {} allowed",
        cases.len(),
        MEMORY_BYTES >> 20
    );
}

/// From here on, allocating more than `bytes` beyond what is there aborts the process.
fn limit_memory(bytes: u64) {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmData:")).expect("VmData");
    let now = line.split_whitespace().next().and_then(|kib| kib.parse::<u64>().ok()).expect("a number") * 1024;
    let limit = libc::rlimit { rlim_cur: now + bytes, rlim_max: now + bytes };
    // SAFETY: the call reads one struct that lives until it returns.
    let outcome = unsafe { libc::setrlimit(libc::RLIMIT_DATA, &raw const limit) };
    assert_eq!(outcome, 0, "setrlimit");
}
