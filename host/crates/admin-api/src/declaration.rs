//! Files that say which groups, plugins and rules there are to be: TOML or JSON, one or a folder of them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::strict_json;

/// A larger file is no declaration, bytes.
const FILE_BYTES_MAX: u64 = 16 << 20;
/// Files of one folder.
const FILES_MAX: usize = 1000;

/// What files declare, in the form of the API.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DeclaredFiles {
    /// As in `/v1/groups`.
    pub groups: Vec<Value>,
    /// Each with what it is to be.
    pub plugins: Vec<DeclaredPlugin>,
    /// As in `/v1/rules`, each with the name of its file.
    pub rules: Vec<(Value, String)>,
}

/// A plugin of a declaration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeclaredPlugin {
    /// Its name.
    pub name: String,
    /// Where its component is.
    pub component: DeclaredComponent,
}

/// Where the component of a plugin is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeclaredComponent {
    /// In this file.
    File(PathBuf),
    /// On the host: the version with this digest.
    Digest(String),
}

/// Why files declare nothing.
#[derive(Debug, thiserror::Error)]
pub enum ReadDeclarationError {
    /// A file or the folder.
    #[error("{} cannot be read: {source}", path.display())]
    Read {
        /// Which one.
        path: PathBuf,
        /// What happened.
        source: io::Error,
    },
    /// A file has something else in it.
    #[error("{}: {detail}", path.display())]
    Content {
        /// Which one.
        path: PathBuf,
        /// What is wrong, in one line.
        detail: String,
    },
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileIn {
    #[serde(default)]
    group: Vec<Value>,
    #[serde(default)]
    plugin: Vec<PluginIn>,
    #[serde(default)]
    rule: Vec<Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PluginIn {
    name: String,
    file: Option<PathBuf>,
    digest: Option<String>,
}

/// Reads one file, or all files of a folder whose names end in `.toml` or `.json`, in the order of their
/// names. Paths of components are relative to the file that names them.
///
/// # Errors
///
/// Names the file that cannot be read or says something else.
pub fn read_declarations(path: &Path) -> Result<DeclaredFiles, ReadDeclarationError> {
    let failed = |source| ReadDeclarationError::Read {
        path: path.to_owned(),
        source,
    };
    let mut declared = DeclaredFiles::default();
    if fs::metadata(path).map_err(failed)?.is_dir() {
        for file in files_of(path)? {
            read_file(&file, &mut declared)?;
        }
    } else {
        read_file(path, &mut declared)?;
    }
    Ok(declared)
}

/// The declaring files of a folder by name; those whose names begin with a dot are left alone.
fn files_of(folder: &Path) -> Result<Vec<PathBuf>, ReadDeclarationError> {
    let failed = |source| ReadDeclarationError::Read {
        path: folder.to_owned(),
        source,
    };
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if is_declaring(&path) && path.is_file() {
            files.push(path);
        }
    }
    if files.len() > FILES_MAX {
        return Err(ReadDeclarationError::Content {
            path: folder.to_owned(),
            detail: format!("has more than {FILES_MAX} files"),
        });
    }
    files.sort();
    Ok(files)
}

fn is_declaring(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    let ending = path.extension().and_then(|ending| ending.to_str());
    name.is_some_and(|name| !name.starts_with('.')) && matches!(ending, Some("toml" | "json"))
}

fn read_file(path: &Path, declared: &mut DeclaredFiles) -> Result<(), ReadDeclarationError> {
    let failed = |source| ReadDeclarationError::Read {
        path: path.to_owned(),
        source,
    };
    let wrong = |detail: String| ReadDeclarationError::Content {
        path: path.to_owned(),
        detail,
    };
    if fs::metadata(path).map_err(failed)?.len() > FILE_BYTES_MAX {
        return Err(wrong(format!("has more than {FILE_BYTES_MAX} bytes")));
    }
    let text = fs::read_to_string(path).map_err(failed)?;
    let value = if path.extension().is_some_and(|ending| ending == "json") {
        serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?
    } else {
        from_toml(&text).map_err(wrong)?
    };
    let file: FileIn = strict_json::from_value(&value).map_err(|error| {
        wrong(format!(
            "{error}; a file has [[group]], [[plugin]] and [[rule]]"
        ))
    })?;
    let name = path
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    declared.groups.extend(file.group);
    let rules = file.rule.into_iter().map(|rule| (rule, name.clone()));
    declared.rules.extend(rules);
    for plugin in file.plugin {
        let component = match (plugin.file, plugin.digest) {
            (Some(file), None) => {
                DeclaredComponent::File(path.parent().unwrap_or(Path::new("")).join(file))
            }
            (None, Some(digest)) => DeclaredComponent::Digest(digest),
            (Some(_), Some(_)) | (None, None) => {
                return Err(wrong(format!(
                    "plugin {} must say either file or digest",
                    plugin.name
                )));
            }
        };
        declared.plugins.push(DeclaredPlugin {
            name: plugin.name,
            component,
        });
    }
    Ok(())
}

/// TOML as JSON; the problem in one line with its place.
fn from_toml(text: &str) -> Result<Value, String> {
    let table: toml::Table = toml::from_str(text).map_err(|error| {
        let before = error.span().and_then(|span| text.get(..span.start));
        let line = before.map_or(1, |before| before.matches('\n').count() + 1);
        let message = error.message().replace('\n', " ");
        format!("line {line}: {message}")
    })?;
    Ok(json_of(toml::Value::Table(table)))
}

fn json_of(value: toml::Value) -> Value {
    match value {
        toml::Value::String(text) => Value::String(text),
        toml::Value::Integer(number) => number.into(),
        toml::Value::Float(number) => number.into(),
        toml::Value::Boolean(flag) => flag.into(),
        toml::Value::Datetime(time) => Value::String(time.to_string()),
        toml::Value::Array(items) => items.into_iter().map(json_of).collect(),
        toml::Value::Table(table) => {
            let fields = table
                .into_iter()
                .map(|(name, value)| (name, json_of(value)));
            Value::Object(fields.collect::<Map<_, _>>())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use serde_json::json;

    use super::{DeclaredComponent, read_declarations};

    #[test]
    fn a_folder_is_read_file_by_file_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        write(
            "a.toml",
            "[[group]]\ngroupId = \"GID_A\"\n[[plugin]]\nname = \"p\"\nfile = \"p.wasm\"\n[[rule]]\nruleId = \"one\"\nsource = { groupId = \"GID_A\" }\n",
        );
        write(
            "b.json",
            r#"{"rule":[{"ruleId":"two"}],"plugin":[{"name":"q","digest":"sha256:0"}]}"#,
        );
        write(".hidden.toml", "nonsense");
        write("p.wasm", "");
        let read = read_declarations(folder.path()).unwrap();
        assert_eq!(read.groups, [json!({ "groupId": "GID_A" })]);
        let one = json!({ "ruleId": "one", "source": { "groupId": "GID_A" } });
        let two = json!({ "ruleId": "two" });
        assert_eq!(
            read.rules,
            [(one, "a.toml".to_owned()), (two, "b.json".to_owned())]
        );
        let components: Vec<_> = read.plugins.into_iter().map(|it| it.component).collect();
        assert_eq!(
            components,
            [
                DeclaredComponent::File(folder.path().join("p.wasm")),
                DeclaredComponent::Digest("sha256:0".to_owned())
            ]
        );
    }

    #[test]
    fn what_is_wrong_is_said_in_one_line_with_its_place() {
        let folder = tempfile::tempdir().unwrap();
        for (name, text, part) in [
            ("a.toml", "x = 1\n", "unknown field `x`"),
            ("b.toml", "\n[[rule]\n", "line 2"),
            ("c.json", "{", "EOF"),
            (
                "d.toml",
                "[[plugin]]\nname = \"p\"\n",
                "either file or digest",
            ),
        ] {
            let path = folder.path().join(name);
            fs::write(&path, text).unwrap();
            let error = read_declarations(&path).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains(part), "{error}");
            assert!(!error.contains('\n'), "{error}");
        }
        assert!(read_declarations(Path::new("no/such/file.toml")).is_err());
    }
}
