//! Files that mean harm: each is answered soon and in little memory. A child process does the work and tells.

use std::process::Command;
use std::time::Instant;

use pictor::image::{ImageRule, decode};

use super::files::{data_folder, names};
use super::usage::peak_bytes;

const CHILD: &str = "PICTOR_HOSTILE_CHILD";
const REPEATS: usize = 25;

#[test]
fn hostile_files_are_answered_soon_and_in_little_memory() {
    let Some(data) = data_folder("hostile_files_are_answered_soon_and_in_little_memory") else { return };
    let output = Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", "image::hostile::hostile_child", "--nocapture"])
        .env(CHILD, &data)
        .output()
        .expect("a child");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let numbers = |start: &str| -> Vec<f64> {
        text.lines().filter_map(|line| line.strip_prefix(start)?.split(' ').next()?.parse().ok()).collect()
    };
    let mut milliseconds = numbers("took ");
    milliseconds.sort_by(f64::total_cmp);
    assert_eq!(milliseconds.len(), 22 * REPEATS, "{text}");
    let p99 = milliseconds[milliseconds.len() * 99 / 100];
    let worst = milliseconds[milliseconds.len() - 1];
    let taken = numbers("taken ")[0];
    println!("hostile files: p99 {p99:.2} ms, worst {worst:.2} ms, {:.0} MiB above idle", taken / f64::from(1 << 20));
    // The promise is 250 ms on an idle machine; other tests run beside this one.
    assert!(p99 <= 250.0 && worst <= 1000.0, "p99 {p99} ms, worst {worst} ms");
    assert!(taken <= f64::from(512 << 20), "{taken} bytes");
}

/// Runs in a child process only.
#[test]
fn hostile_child() {
    let Some(data) = std::env::var_os(CHILD).map(std::path::PathBuf::from) else { return };
    println!();
    let before = peak_bytes();
    for name in names(&data, "images/hostile") {
        let bytes = std::fs::read(data.join(&name)).expect("readable");
        for _ in 0..REPEATS {
            let started = Instant::now();
            let outcome = decode(&bytes, ImageRule::Pictor);
            println!("took {} {name} {}", started.elapsed().as_secs_f64() * 1e3, outcome.is_ok());
        }
    }
    println!("taken {}", peak_bytes() - before);
}
