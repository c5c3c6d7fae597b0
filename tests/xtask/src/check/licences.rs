//! Licences of everything in the lock file against a list of allowed ones, each with a reason.
//!
//! `cargo tree` names the licence expression of every package on every platform, so no JSON is read.

use anyhow::{Result, bail, ensure};

use crate::cargo;

/// Licence and why it may be in the product.
const ALLOWED: [(&str, &str); 15] = [
    ("Apache-2.0", "the project's own"),
    (
        "Apache-2.0 WITH LLVM-exception",
        "the project's own with a further permission",
    ),
    ("MIT", "asks for its notice only"),
    ("MIT-0", "asks for nothing"),
    ("0BSD", "asks for nothing"),
    ("BSD-2-Clause", "asks for its notice only"),
    ("BSD-3-Clause", "asks for its notice, and not to use names"),
    ("BSL-1.0", "asks for its notice in source only"),
    ("CC0-1.0", "public domain"),
    (
        "CDLA-Permissive-2.0",
        "data of certificate authorities, may be passed on",
    ),
    ("ISC", "asks for its notice only"),
    (
        "MPL-2.0",
        "changes to its own files must be published; we change none",
    ),
    ("Unicode-3.0", "data tables, asks for its notice only"),
    ("Unlicense", "public domain"),
    ("Zlib", "asks not to claim authorship"),
];

pub(super) fn run() -> Result<()> {
    let args = [
        "tree",
        "--workspace",
        "--edges",
        "normal,build,dev",
        "--target",
        "all",
        "--locked",
    ];
    let mut command = cargo::cargo(&args);
    let text = cargo::output(command.args(["--prefix", "none", "--format", "{p}\t{l}"]))?;
    let mut bad = Vec::new();
    let mut count = 0_usize;
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let Some((package, licence)) = line.split_once('\t') else {
            bail!("cargo tree printed a line without a licence field: {line}");
        };
        let licence = licence.trim_end_matches(" (*)").trim();
        count += 1;
        if !is_allowed(licence) {
            let name = package.split(' ').next().unwrap_or(package);
            bad.push(format!("{name}: {licence:?}"));
        }
    }
    bad.sort();
    bad.dedup();
    ensure!(count > 50, "cargo tree named only {count} packages");
    ensure!(
        !is_allowed("GPL-3.0-only"),
        "the evaluation of licence expressions lets everything through"
    );
    ensure!(
        bad.is_empty(),
        "not allowed, or not understood: {}",
        bad.join("; ")
    );
    Ok(())
}

/// Whether an SPDX expression (or the old form with slashes) leaves a choice that is allowed.
fn is_allowed(expression: &str) -> bool {
    let text = expression
        .replace('/', " OR ")
        .replace('(', " ( ")
        .replace(')', " ) ");
    let mut words = text.split_whitespace().peekable();
    let verdict = any(&mut words);
    verdict && words.peek().is_none()
}

type Words<'a> = std::iter::Peekable<std::str::SplitWhitespace<'a>>;

fn any(words: &mut Words<'_>) -> bool {
    let mut verdict = all(words);
    while words.next_if_eq(&"OR").is_some() {
        // Both sides are read, whatever the left one says.
        verdict |= all(words);
    }
    verdict
}

fn all(words: &mut Words<'_>) -> bool {
    let mut verdict = one(words);
    while words.next_if_eq(&"AND").is_some() {
        verdict &= one(words);
    }
    verdict
}

fn one(words: &mut Words<'_>) -> bool {
    match words.next() {
        Some("(") => {
            let verdict = any(words);
            words.next() == Some(")") && verdict
        }
        Some(name) => {
            let full = match words.next_if_eq(&"WITH").and_then(|_| words.next()) {
                Some(exception) => format!("{name} WITH {exception}"),
                None => name.to_owned(),
            };
            ALLOWED.iter().any(|(allowed, _)| *allowed == full)
        }
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::is_allowed;

    #[test]
    fn an_expression_is_allowed_when_it_leaves_an_allowed_choice() {
        let cases = [
            ("MIT", true),
            ("MIT OR Apache-2.0", true),
            ("MIT/Apache-2.0", true),
            ("GPL-3.0-only OR MIT", true),
            ("GPL-3.0-only", false),
            ("MIT AND GPL-3.0-only", false),
            ("(MIT OR GPL-3.0-only) AND Unicode-3.0", true),
            ("Apache-2.0 WITH LLVM-exception", true),
            ("Apache-2.0 WITH some-other", false),
            ("", false),
            ("MIT Apache-2.0", false),
        ];
        for (expression, expected) in cases {
            assert_eq!(is_allowed(expression), expected, "{expression:?}");
        }
    }
}
