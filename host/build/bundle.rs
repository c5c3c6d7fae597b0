//! The SDK as a crate that stands alone: its files, and its manifest without the workspace.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

/// Files below `folder`, sorted, each with its name below `prefix`. Links are followed.
pub(crate) fn files(folder: &Path, prefix: &str) -> Result<Vec<(String, PathBuf)>, String> {
    let fail = |error: std::io::Error| format!("failed to list {}: {error}", folder.display());
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).map_err(fail)? {
        let path = entry.map_err(fail)?.path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let name = format!("{prefix}/{name}");
        if path.is_dir() {
            all.extend(files(&path, &name)?);
        } else {
            let path = path.canonicalize().map_err(fail)?;
            all.push((name, path));
        }
    }
    all.sort();
    Ok(all)
}

/// A constant with these files.
pub(crate) fn source(name: &str, files: Vec<(String, PathBuf)>) -> String {
    let mut text = format!("const {name}: &[(&str, &[u8])] = &[\n");
    for (name, path) in files {
        // Writing to a string never fails.
        let _: std::fmt::Result = writeln!(text, "    ({name:?}, include_bytes!({path:?})),");
    }
    text + "];\n"
}

/// The SDK's manifest with everything in it that it takes from the workspace.
pub(crate) fn standalone_manifest(workspace: &Path) -> Result<String, String> {
    let read = |path: PathBuf| -> Result<Table, String> {
        let text = fs::read_to_string(&path)
            .map_err(|error| format!("failed to read {}: {error}", path.display()))?;
        text.parse()
            .map_err(|error| format!("{} is wrong: {error}", path.display()))
    };
    let root = read(workspace.join("Cargo.toml"))?;
    let mut manifest = read(workspace.join("guest-sdk/Cargo.toml"))?;
    manifest.remove("lints");
    manifest.remove("dev-dependencies");
    let shared = |place: &str, name: &str| -> Result<Value, String> {
        let value = root
            .get("workspace")
            .and_then(|it| it.get(place)?.get(name));
        value
            .cloned()
            .ok_or_else(|| format!("the workspace has no {place}.{name}"))
    };
    let fill_in = |table: &mut Table, place: &str| -> Result<(), String> {
        let Some(Value::Table(entries)) = table.get_mut(place) else {
            return Ok(());
        };
        for (name, value) in entries.iter_mut() {
            if value.get("workspace").is_some() {
                *value = merged(shared(place, name)?, value);
            }
        }
        Ok(())
    };
    fill_in(&mut manifest, "package")?;
    fill_in(&mut manifest, "dependencies")?;
    if let Some(Value::Table(targets)) = manifest.get_mut("target") {
        for target in targets.iter_mut().filter_map(|(_, it)| it.as_table_mut()) {
            fill_in(target, "dependencies")?;
        }
    }
    // Not a member of whatever is around it.
    toml::to_string(&manifest).map_err(|error| error.to_string())
}

/// What the workspace says, with what the member says beside it.
fn merged(shared: Value, member: &Value) -> Value {
    let Value::Table(member) = member else {
        return shared;
    };
    let own: Table = member
        .iter()
        .filter(|(name, _)| *name != "workspace")
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    if own.is_empty() {
        return shared;
    }
    let mut table = match shared {
        Value::Table(table) => table,
        version => Table::from_iter([("version".to_owned(), version)]),
    };
    for (name, value) in own {
        match (table.get_mut(&name), value) {
            (Some(Value::Array(all)), Value::Array(more)) => all.extend(more),
            (_, value) => {
                table.insert(name, value);
            }
        }
    }
    Value::Table(table)
}
