//! `plugin.toml`: what a plugin's folder says of itself.

use std::path::{Path, PathBuf};

use domain::PluginName;
use serde::Deserialize;

use super::Language;
use crate::cli::failure::{Exit, Failure};

const FILE: &str = "plugin.toml";
/// No component that a host takes is larger.
const COMPONENT_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// A plugin's folder.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::cli) struct Manifest {
    pub(in crate::cli) name: String,
    pub(in crate::cli) language: Language,
    /// Where its build leaves the component, relative to the folder.
    pub(in crate::cli) component: PathBuf,
}

impl Manifest {
    /// Reads that of the present folder.
    pub(in crate::cli) fn here() -> Result<Self, Failure> {
        Self::read(Path::new(FILE))
    }

    pub(in crate::cli) fn read(path: &Path) -> Result<Self, Failure> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            Failure::usage(format!(
                "plugin.toml in this folder cannot be read: {error}; go to the plugin's folder, make one with \
                 `rulemill plugin new`, or name the component"
            ))
        })?;
        let wrong = |message: String| {
            Failure::new(
                Exit::Failed,
                format!(
                    "plugin.toml is wrong: {message}; it needs name, language (rust, python or javascript) and component"
                ),
            )
        };
        let manifest: Self =
            toml::from_str(&text).map_err(|error| wrong(error.message().replace('\n', ", ")))?;
        PluginName::parse(&manifest.name).map_err(|error| wrong(error.to_string()))?;
        Ok(manifest)
    }
}

/// The component at `file`, else the one that the folder's build left.
pub(in crate::cli) fn component_file(file: Option<PathBuf>) -> Result<PathBuf, Failure> {
    match file {
        Some(file) => Ok(file),
        None => Ok(Manifest::here()?.component),
    }
}

/// Reads a component.
pub(in crate::cli) fn read_component(file: &Path) -> Result<Vec<u8>, Failure> {
    let fail =
        |problem: String| Failure::new(Exit::Failed, format!("{} {problem}", file.display()));
    let unreadable = |error: std::io::Error| {
        fail(format!(
            "cannot be read: {error}; run `rulemill plugin build` first?"
        ))
    };
    let size = std::fs::metadata(file).map_err(unreadable)?.len();
    if size > COMPONENT_BYTES_MAX {
        return Err(fail(format!(
            "has {size} bytes; no host takes more than {COMPONENT_BYTES_MAX}; build it with optimisation and stripped"
        )));
    }
    std::fs::read(file).map_err(unreadable)
}

#[cfg(test)]
mod tests {
    use super::Manifest;

    #[test]
    fn what_is_missing_in_plugin_toml_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("plugin.toml");
        assert_eq!(Manifest::read(&path).unwrap_err().exit_code(), 2);
        let wrong = |text: &str| {
            std::fs::write(&path, text).unwrap();
            Manifest::read(&path).unwrap_err().messages()[0].clone()
        };
        assert!(wrong("name = \"a\"\nlanguage = \"rust\"\n").contains("component"));
        assert!(
            wrong("name = \"a\"\nlanguage = \"perl\"\ncomponent = \"a.wasm\"\n").contains("perl")
        );
        assert!(
            wrong("name = \"A B\"\nlanguage = \"rust\"\ncomponent = \"a.wasm\"\n").contains("A B")
        );
        std::fs::write(
            &path,
            "name = \"a\"\nlanguage = \"rust\"\ncomponent = \"a.wasm\"\n",
        )
        .unwrap();
        assert_eq!(Manifest::read(&path).unwrap().name, "a");
    }
}
