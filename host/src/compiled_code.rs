//! How uploads are compiled: by a child process of this program, and kept in the data folder.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use plugin_runtime::{ChildCompiler, CodeCacheConfig, CodeConfig, CompileLimits, Compiler};

/// The command that the child runs; see `cli`.
pub(crate) const COMMAND: &str = "compile-plugin";

/// What the compilation of one component may use. A plugin in Python (18 MB) takes 20 s of CPU time
/// and 1 GiB; one in Rust 0.3 s and 200 MiB.
pub(crate) const LIMITS: CompileLimits = CompileLimits {
    memory_bytes_max: 4 << 30,
    cpu_seconds_max: 120,
};

/// Compiled code of all versions of all plugins; those used longest ago are compiled anew.
const CACHE_BYTES_MAX: u64 = 1 << 30;

/// Child and cache of the host with this data folder.
pub(crate) fn config(data_dir: &Path) -> CodeConfig {
    CodeConfig {
        compiler: match program() {
            Some(program) => Compiler::Child(ChildCompiler {
                program,
                args: vec![OsString::from(COMMAND)],
                limits: LIMITS,
            }),
            None => {
                tracing::warn!(
                    "this program's file is not known, plugins are compiled without limits"
                );
                Compiler::InProcess
            }
        },
        cache: Some(CodeCacheConfig {
            folder: data_dir.join("compiled-plugins"),
            key_file: data_dir.join("compiled-plugins.key"),
            bytes_max: CACHE_BYTES_MAX,
        }),
    }
}

/// This program, also after its file was replaced by another version: then the link still leads to
/// the one that runs.
fn program() -> Option<PathBuf> {
    let link = Path::new("/proc/self/exe");
    if link.exists() {
        return Some(link.to_owned());
    }
    std::env::current_exe().ok()
}
