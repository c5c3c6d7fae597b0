//! How uploads are compiled: by a child process of this program, and kept in the data folder.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use plugin_runtime::{ChildCompiler, CodeCacheConfig, CodeConfig, CompileLimits, Compiler};

use crate::config::Plugins;

/// The command that the child runs; see `cli`.
pub(crate) const COMMAND: &str = "compile-plugin";

/// Compiled code of all versions of all plugins; those used longest ago are compiled anew.
const CACHE_BYTES_MAX: u64 = 1 << 30;

/// What the child is told of its limits.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct ChildArgs {
    /// CPU time of all its threads, seconds.
    cpu_seconds_max: u64,
    /// Address space, bytes.
    memory_bytes_max: u64,
}

impl ChildArgs {
    pub(crate) fn limits(self) -> CompileLimits {
        CompileLimits {
            memory_bytes_max: self.memory_bytes_max,
            cpu_seconds_max: self.cpu_seconds_max,
        }
    }
}

/// Child and cache of the host with this data folder.
pub(crate) fn config(data_dir: &Path, plugins: &Plugins) -> CodeConfig {
    let limits = CompileLimits {
        memory_bytes_max: plugins.compile_memory_bytes,
        cpu_seconds_max: plugins.compile_time.as_secs(),
    };
    CodeConfig {
        compiler: compiler(limits, plugins.function_bytes_max),
        cache: Some(CodeCacheConfig {
            folder: data_dir.join("compiled-plugins"),
            key_file: data_dir.join("compiled-plugins.key"),
            bytes_max: CACHE_BYTES_MAX,
        }),
    }
}

/// This program as a child with `limits`, and what is kept of the functions that it compiled.
pub(crate) fn compiler(limits: CompileLimits, function_bytes_max: u64) -> Compiler {
    let Some(program) = program() else {
        tracing::warn!("this program's file is not known, plugins are compiled without limits");
        return Compiler::InProcess;
    };
    let args = [limits.cpu_seconds_max, limits.memory_bytes_max].map(|it| it.to_string().into());
    Compiler::Child(ChildCompiler {
        program,
        args: [OsString::from(COMMAND)].into_iter().chain(args).collect(),
        wall_clock_max: limits.wall_clock_max(),
        limits,
        function_bytes_max,
    })
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
