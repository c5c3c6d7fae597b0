//! `tests/*.toml`: a plugin's cases as its author writes them.

use std::fs;
use std::path::{Path, PathBuf};

use plugin_runtime::{CASES_BYTES_MAX, Case};
use serde::Deserialize;

use crate::cli::failure::{Exit, Failure};

/// Where they are, in the plugin's folder.
pub(super) const FOLDER: &str = "tests";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CaseFile {
    #[serde(default)]
    case: Vec<Case>,
}

/// A case and where it is written.
#[derive(Debug)]
pub(super) struct WrittenCase {
    pub(super) case: Case,
    pub(super) file: PathBuf,
    /// Which `[[case]]` of the file, from 0.
    pub(super) index: usize,
}

/// All cases of the present folder, by file name; none without a folder of tests.
pub(super) fn read() -> Result<Vec<WrittenCase>, Failure> {
    read_folder(Path::new(FOLDER))
}

/// All cases of the folder `folder` of tests.
pub(super) fn read_folder(folder: &Path) -> Result<Vec<WrittenCase>, Failure> {
    let fail = |path: &Path, problem: String| {
        Failure::new(Exit::Failed, format!("{}: {problem}", path.display()))
    };
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let mut files = Vec::new();
    let entries = fs::read_dir(folder).map_err(|error| fail(folder, error.to_string()))?;
    for entry in entries {
        let path = entry
            .map_err(|error| fail(folder, error.to_string()))?
            .path();
        if path.extension().is_some_and(|ending| ending == "toml") {
            files.push(path);
        }
    }
    files.sort();
    let mut all = Vec::new();
    for file in files {
        let size = fs::metadata(&file).map_or(0, |metadata| metadata.len());
        if size > u64::try_from(CASES_BYTES_MAX).unwrap_or(u64::MAX) {
            return Err(fail(
                &file,
                format!("has {size} bytes; the limit is {CASES_BYTES_MAX}"),
            ));
        }
        let text = fs::read_to_string(&file).map_err(|error| fail(&file, error.to_string()))?;
        let cases: CaseFile = toml::from_str(&text).map_err(|error| {
            let line = error
                .span()
                .and_then(|span| text.get(..span.start))
                .map_or(0, |before| before.matches('\n').count() + 1);
            fail(
                &file,
                format!("line {line}: {}", error.message().replace('\n', ", ")),
            )
        })?;
        for (index, case) in cases.case.into_iter().enumerate() {
            case.check()
                .map_err(|error| fail(&file, domain::ErrorChain(&error).to_string()))?;
            all.push(WrittenCase {
                case,
                file: file.clone(),
                index,
            });
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::read_folder;

    #[test]
    fn cases_are_read_by_file_and_what_is_wrong_is_told_with_its_line() {
        let folder = tempfile::tempdir().unwrap();
        let write =
            |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        write("b.toml", "[[case]]\nname = \"second\"\nskipped = true\n");
        write(
            "a.toml",
            "[[case]]\nname = \"first\"\n[[case.message]]\nbody-json = { a = 1 }\n",
        );
        write("notes.txt", "no cases");
        let cases = read_folder(folder.path()).unwrap();
        let names: Vec<_> = cases.iter().map(|it| it.case.name.as_str()).collect();
        assert_eq!(names, ["first", "second"]);

        write("c.toml", "[[case]]\nname = \"third\"\nskiped = true\n");
        let failure = read_folder(folder.path()).unwrap_err();
        let message = &failure.messages()[0];
        assert!(
            message.contains("c.toml: line 3") && message.contains("skiped"),
            "{message}"
        );

        write("c.toml", "[[case]]\nname = \"third\"\n");
        let failure = read_folder(folder.path()).unwrap_err();
        assert!(
            failure.messages()[0].contains("exactly one of"),
            "{failure:?}"
        );
    }
}
