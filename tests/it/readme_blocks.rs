//! Code blocks of a Markdown file, so that tests run what readers copy.

use anyhow::{Context, Result, ensure};
use xtask::places;

/// The text between `<!-- tested: NAME -->` and the next such marker or the next heading, in a file of
/// the repository.
pub(crate) fn section(file: &str, name: &str) -> Result<String> {
    let path = places::root().join(file);
    let text = std::fs::read_to_string(&path).with_context(|| format!("no {file}"))?;
    let marker = format!("<!-- tested: {name} -->");
    let (_, after) = text
        .split_once(&marker)
        .with_context(|| format!("{file} has no {marker}"))?;
    let end = ["<!-- ", "\n#"]
        .iter()
        .filter_map(|end| after.find(end))
        .min()
        .unwrap_or(after.len());
    Ok(after.get(..end).unwrap_or(after).to_owned())
}

/// The first fenced block of `language` in `text`.
pub(crate) fn first_block(text: &str, language: &str) -> Result<String> {
    let fence = format!("```{language}\n");
    let (_, after) = text
        .split_once(&fence)
        .with_context(|| format!("no block of {language}"))?;
    let (block, _) = after
        .split_once("\n```")
        .with_context(|| format!("a block of {language} does not end"))?;
    ensure!(!block.trim().is_empty(), "an empty block of {language}");
    Ok(format!("{block}\n"))
}

/// The shell commands of a section.
pub(crate) fn commands(file: &str, name: &str) -> Result<String> {
    first_block(&section(file, name)?, "sh")
}
