//! `cargo xtask …`: hands its arguments to the library, which the acceptance tests share.

use std::process::ExitCode;

fn main() -> ExitCode {
    xtask::run(&std::env::args().skip(1).collect::<Vec<_>>())
}
