//! Processes that end while a network computes.

use std::process::Command;
use std::time::Duration;

use pictor::encode::Role;
use pictor::model::Precision;

use super::{block_on, encode, minilm};

/// Set for the process that [`ending_while_a_network_computes_is_clean`] starts.
const CHILD: &str = "PICTOR_EXIT_CHILD";

/// Not a test of its own: the child that ends in the middle of its batches.
#[test]
fn exit_child() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    let handle = minilm(Precision::F32);
    let texts: Vec<String> =
        (0..512).map(|number| format!("text {number} of many, so that there is always one in work")).collect();
    std::thread::spawn(move || {
        loop {
            // At the end the queue's answer never comes.
            drop(block_on(handle.encode_texts(texts.clone(), Role::Document, None)));
        }
    });
    std::thread::sleep(Duration::from_millis(200));
    std::process::exit(0);
}

/// Fails when a worker is inside libtorch while its static objects are destroyed: the child then dies of SIGSEGV or SIGABRT.
#[test]
fn ending_while_a_network_computes_is_clean() {
    // Loads the model's file into the page cache and proves that the child can load it.
    encode(&minilm(Precision::F32), &["a text"], Role::Document);
    let program = std::env::current_exe().expect("this program");
    for cycle in 0..8 {
        let arguments = ["--exact", "encoder::exit::exit_child", "--nocapture"];
        let output = Command::new(&program).args(arguments).env(CHILD, "1").output().expect("a child");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "cycle {cycle}: the child ended with {}: {said}", output.status);
    }
}
