//! The limits of the runtime and of every plugin in it.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use crate::code_cache::CodeCacheConfig;
use crate::compiler::Compiler;

/// The most linear memory that a rule may ask for one instance, unless the configuration's own
/// value is higher: Python takes 64 MiB, `StarlingMonkey` 128 MiB.
pub const MEMORY_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// The longest deadline that a rule may ask for a call, unless the configuration's own value is
/// longer: a slow call holds a mapper thread.
pub const CALL_DEADLINE_MAX: Duration = Duration::from_millis(100);

/// What the runtime may use.
#[derive(Clone, Debug)]
pub struct RuntimeConfig {
    /// Threads that call quick plugins, and the most that one rule may hold, plus one. As many again, at least four, start
    /// instances and call the others.
    pub mapper_threads: NonZeroUsize,
    /// Linear memory of one instance, bytes.
    pub memory_bytes_max: u64,
    /// Linear memory of all instances together, bytes.
    pub memory_total_bytes_max: u64,
    /// CPU time of one mapping call; in wall-clock time ten times as much.
    pub call_deadline: Duration,
    /// CPU time of an instance's start and `init`; in wall-clock time ten times as much.
    pub init_deadline: Duration,
    /// All messages of one event, bytes.
    pub output_bytes_max: usize,
    /// Messages of one event.
    pub messages_max: usize,
    /// A component's file, bytes.
    pub component_bytes_max: usize,
    /// `node.id`; plugins see it as an attribute.
    pub node: Arc<str>,
    /// `instance.id`; plugins see it as an attribute.
    pub instance: Arc<str>,
}

/// Who compiles plugins and where their code is kept.
#[derive(Clone, Debug, Default)]
pub struct CodeConfig {
    /// Who compiles.
    pub compiler: Compiler,
    /// `None`: nothing is kept, each start compiles anew.
    pub cache: Option<CodeCacheConfig>,
}
