//! What `plugin new` writes: the templates, and the SDK and the contract that this program was built
//! with, so that a new plugin needs nothing else of ours.

use super::Language;

/// A file of a template: path in the plugin's folder, text with `{{placeholders}}`.
type TemplateFile = (&'static str, &'static str);

macro_rules! files {
    ($folder:literal: $($path:literal),*) => {
        &[$(($path, include_str!(concat!("../../../templates/", $folder, "/", $path)))),*]
    };
}

const RUST: &[TemplateFile] = files!(
    "rust": "plugin.toml", "Cargo.toml", "rust-toolchain.toml", "build.rs", "src/lib.rs", "tests/events.toml", "README.md", "gitignore"
);
const PYTHON: &[TemplateFile] = files!("python": "plugin.toml", "app.py", "traced.py", "requirements.txt", "tests/events.toml", "README.md", "gitignore");
const JAVASCRIPT: &[TemplateFile] = files!("javascript": "plugin.toml", "rule.js", "package.json", "tests/events.toml", "README.md", "gitignore");

// SDK: (path below `sdk/`, bytes); WIT: (file name, bytes).
include!(concat!(env!("OUT_DIR"), "/bundle.rs"));

pub(super) fn template(language: Language) -> &'static [TemplateFile] {
    match language {
        Language::Rust => RUST,
        Language::Python => PYTHON,
        Language::Javascript => JAVASCRIPT,
    }
}

/// What comes along unchanged: the SDK for Rust, else the contract alone.
pub(super) fn library(language: Language) -> &'static [(&'static str, &'static [u8])] {
    match language {
        Language::Rust => SDK,
        Language::Python | Language::Javascript => WIT,
    }
}
