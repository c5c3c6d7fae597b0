//! The manual names the test behind each promise: every such test is there.

use anyhow::{Result, ensure};
use xtask::places;

/// A word with so many underscores is the name of a test.
const UNDERSCORES_MIN: usize = 3;
/// Each chapter with names, and how many at least: fewer and they were not found where they are.
const CHAPTERS: [(&str, usize); 7] = [
    ("access.md", 6),
    ("apsaramq-api.md", 1),
    ("delivery.md", 20),
    ("plugins.md", 8),
    ("plugin-folder.md", 1),
    ("plugin-security.md", 2),
    ("rules.md", 5),
];

/// `cases` are the names of all tests; a name in the manual may end with `*`.
pub(crate) fn names_tests_that_exist(cases: &[&str]) -> Result<()> {
    CHAPTERS
        .iter()
        .try_for_each(|(chapter, names_min)| of_chapter(chapter, *names_min, cases))
}

fn of_chapter(chapter: &str, names_min: usize, cases: &[&str]) -> Result<()> {
    let path = places::root().join("host/manual").join(chapter);
    let text = std::fs::read_to_string(&path)?;
    // Between backticks is every second part.
    let names: Vec<&str> = text
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|word| word.matches('_').count() >= UNDERSCORES_MIN && !word.contains(' '))
        .filter(|word| !word.starts_with("rulemill_") && !word.starts_with("RULEMILL_"))
        .collect();
    ensure!(
        names.len() >= names_min,
        "only {} names of tests in {}",
        names.len(),
        path.display()
    );
    for name in names {
        let is_there = match name.strip_suffix('*') {
            Some(beginning) => cases.iter().any(|case| case.starts_with(beginning)),
            None => cases.contains(&name),
        };
        ensure!(is_there, "{} names no test: {name}", path.display());
    }
    Ok(())
}
