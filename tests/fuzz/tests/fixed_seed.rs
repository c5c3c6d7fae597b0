//! Both targets with a fixed seed, for some seconds each, and all inputs that ever broke something.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::process::{Command, Output};
use std::sync::Mutex;

/// Both measure the memory of a process and want the machine's attention.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn fuzz(args: &[&str]) -> Output {
    let _alone = ONE_AT_A_TIME.lock();
    let findings = tempfile::tempdir().unwrap();
    Command::new(env!("CARGO_BIN_EXE_fuzz"))
        .args(args)
        .arg("--findings")
        .arg(findings.path())
        .output()
        .unwrap()
}

fn finds_nothing(args: &[&str]) {
    let output = fuzz(args);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    assert!(!said.contains("FOUND"), "{said}");
}

#[test]
fn uploads_of_a_fixed_seed_break_nothing() {
    finds_nothing(&["upload", "--inputs", "250", "--seed", "1"]);
}

#[test]
fn values_of_a_fixed_seed_break_nothing() {
    finds_nothing(&["values", "--inputs", "3000", "--seed", "1"]);
}

#[test]
fn what_once_broke_something_does_so_no_more() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("found");
    let mut files: Vec<_> = folder.read_dir().unwrap().flatten().collect();
    files.sort_by_key(std::fs::DirEntry::path);
    for file in files {
        let name = file.file_name().into_string().unwrap();
        if let Some((target @ ("upload" | "values"), _)) = name.split_once('-') {
            let path = file.path();
            finds_nothing(&[target, "--replay", path.to_str().unwrap()]);
        }
    }
}
