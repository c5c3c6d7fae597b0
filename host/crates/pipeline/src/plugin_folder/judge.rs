//! Which entries of the folder may be components, by name, kind and size.

use domain::PluginName;

use super::glance::{Kind, Sighting, Stamp};
use super::outcome::FolderOutcome;

/// Endings that editors, copiers and browsers give to what is not complete.
const TEMPORARY_ENDINGS: [&str; 7] = [
    ".tmp",
    ".temp",
    ".part",
    ".partial",
    ".crdownload",
    ".swp",
    "~",
];
const ENDING: &str = ".wasm";

/// The plugin that a file is a version of.
///
/// # Errors
///
/// What it is instead, and why, in words that stay the same as long as that does.
pub(super) fn judge(
    sighting: &Sighting,
    component_bytes_max: u64,
) -> Result<(PluginName, Stamp), (FolderOutcome, String)> {
    let wrong = |outcome, detail: &str| Err((outcome, detail.to_owned()));
    let name = sighting.name.as_str();
    if name.starts_with('.') || TEMPORARY_ENDINGS.iter().any(|end| name.ends_with(end)) {
        return wrong(
            FolderOutcome::Temporary,
            "its name says that it is not finished: it is left alone",
        );
    }
    let stamp = match sighting.kind {
        Kind::Folder => return wrong(FolderOutcome::SubFolder, "it is a folder"),
        Kind::Symlink => return wrong(FolderOutcome::Symlink, "it is a symbolic link"),
        Kind::Other => return wrong(FolderOutcome::NotAFile, "it is no plain file"),
        Kind::File(stamp) => stamp,
    };
    let plugin = plugin_name(name).map_err(|detail| (FolderOutcome::WrongName, detail))?;
    if stamp.size > component_bytes_max {
        let detail = format!(
            "it has more than {component_bytes_max} bytes, the limit plugins.component-max"
        );
        return Err((FolderOutcome::TooLarge, detail));
    }
    Ok((plugin, stamp))
}

fn plugin_name(file: &str) -> Result<PluginName, String> {
    let Some(name) = file.strip_suffix(ENDING) else {
        return Err(format!("its name does not end with {ENDING}"));
    };
    PluginName::parse(name).map_err(|error| {
        // What a compiler names with underscores is the usual case.
        let near = name.to_ascii_lowercase().replace('_', "-");
        match PluginName::parse(&near) {
            Ok(near) => format!("{error}; {near}{ENDING} would be right"),
            Err(_) => error.to_string(),
        }
    })
}
