//! `plugin new`: a folder that builds, passes its tests and can be pushed.

use std::fs;
use std::path::Path;

use domain::PluginName;

use super::Language;
use super::bundle;
use crate::cli::failure::{Exit, Failure};
use crate::cli::output::talk;

/// The toolchain that the host itself is built with.
const TOOLCHAIN: &str = "1.97.0";

pub(super) fn run(name: &str, language: Language) -> Result<(), Failure> {
    let name = PluginName::parse(name).map_err(|error| Failure::usage(error.to_string()))?;
    let name = name.as_str();
    if language == Language::Rust && !name.starts_with(|first: char| first.is_ascii_lowercase()) {
        return Err(Failure::usage(format!(
            "{name} is no name of a Rust crate: it must start with a letter"
        )));
    }
    let folder = Path::new(name);
    make(folder, name, language)?;
    talk(format_args!("{name}/ is ready. Next:"));
    let prepare = match language {
        Language::Rust => "",
        Language::Python => {
            "python3 -m venv .venv && .venv/bin/pip install -r requirements.txt && "
        }
        Language::Javascript => "npm install && ",
    };
    talk(format_args!(
        "  cd {name} && {prepare}rulemill plugin test && rulemill plugin push"
    ));
    Ok(())
}

/// Makes the folder; it must not be there.
fn make(folder: &Path, name: &str, language: Language) -> Result<(), Failure> {
    let fail = |what: &Path, error: std::io::Error| {
        Failure::new(
            Exit::Failed,
            format!("{} cannot be made: {error}", what.display()),
        )
    };
    fs::create_dir(folder).map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => Failure::new(
            Exit::Failed,
            format!(
                "{} is there already; take another name, or remove it",
                folder.display()
            ),
        ),
        _ => fail(folder, error),
    })?;
    let crate_name = name.replace('-', "_");
    let version = env!("CARGO_PKG_VERSION");
    for (path, text) in bundle::template(language) {
        let text = text
            .replace("{{name}}", name)
            .replace("{{crate}}", &crate_name)
            .replace("{{version}}", version)
            .replace("{{toolchain}}", TOOLCHAIN);
        write(folder, path, text.as_bytes()).map_err(|error| fail(&folder.join(path), error))?;
    }
    for (path, bytes) in bundle::library(language) {
        write(folder, path, bytes).map_err(|error| fail(&folder.join(path), error))?;
    }
    Ok(())
}

fn write(folder: &Path, path: &str, bytes: &[u8]) -> std::io::Result<()> {
    // A leading dot would hide the template from whoever looks for it.
    let path = folder.join(if path == "gitignore" {
        ".gitignore"
    } else {
        path
    });
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::write(path, bytes)
}

#[cfg(test)]
mod tests {
    use super::make;
    use crate::cli::plugin_kit::{Language, Manifest};

    #[test]
    fn a_new_folder_says_what_it_is_and_brings_the_contract_along() {
        for language in [Language::Rust, Language::Python, Language::Javascript] {
            let home = tempfile::tempdir().unwrap();
            let folder = home.path().join("my-mapping");
            make(&folder, "my-mapping", language).unwrap();
            let manifest = Manifest::read(&folder.join("plugin.toml")).unwrap();
            assert_eq!(
                (manifest.name.as_str(), manifest.language),
                ("my-mapping", language)
            );
            assert!(folder.join(".gitignore").exists());
            let wit = if language == Language::Rust {
                "sdk/wit"
            } else {
                "wit"
            };
            assert!(folder.join(wit).join("world.wit").exists(), "{language:?}");
            let left = std::fs::read_to_string(folder.join("README.md")).unwrap();
            assert!(!left.contains("{{"), "{left}");
            // It never writes over what is there.
            assert!(make(&folder, "my-mapping", language).is_err());
        }
    }
}
