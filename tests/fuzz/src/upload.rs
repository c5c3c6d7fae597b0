//! Any bytes as an upload: each answer is a typed error or a mapper, within time and memory.
//!
//! What the runtime accepts is judged again by code that shares nothing with it: the names of the
//! imports are read by [`face`], validity is that of wasmparser with every feature on.

mod face;
mod mutate;
mod program;
mod seeds;
mod tree;

use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use domain::MappingLimits;
use plugin_runtime::{
    ChildCompiler, CodeConfig, CompilePluginError, CompiledPlugin, InspectPluginError,
    MapperInstance, MapperSpec, PluginRuntime, RuntimeConfig,
};
use wasmparser::{Validator, WasmFeatures};

use crate::corpus::Corpus;
use crate::gauge::{self, Bounds};
use crate::random::Random;
use crate::run::Target;
use crate::{COMPILE_LIMITS, Compiler};
use mutate::Mutator;

/// Inputs whose mutations grow beyond this are refused for their size; few are made.
const COMPONENT_BYTES_MAX: usize = 1 << 20;
/// One in so many inputs that `inspect` refuses is given to the whole pipeline nevertheless.
const REFUSED_PER_COMPILED: u64 = 200;
/// One in so many that are not valid as well: their child does nothing but say so.
const INVALID_PER_COMPILED: u64 = 4;
/// No error may be longer: it goes into an answer of the API and into the log.
const ERROR_BYTES_MAX: usize = 64 * 1024;

/// Reading is linear in the size of the upload.
const INSPECT: Bounds = Bounds {
    cpu: Duration::from_secs(2),
    memory_bytes: 32 << 20,
};
/// The compiler's child is not counted here; what is, is the size of its code.
const COMPILE: Bounds = Bounds {
    cpu: Duration::from_secs(5),
    memory_bytes: 256 << 20,
};
/// `init` and three calls at their deadlines, with what the host does around them.
const RUN: Bounds = Bounds {
    cpu: Duration::from_secs(2),
    memory_bytes: 64 << 20,
};

pub(crate) struct Upload {
    runtime: Arc<PluginRuntime>,
    corpus: Corpus,
    mutator: Mutator,
    refused: u64,
    accepted: u64,
    compiled: u64,
    prepared: u64,
}

impl Upload {
    pub(crate) fn start(compiler: &Compiler) -> Result<Self> {
        let child = ChildCompiler {
            program: compiler.program.clone(),
            args: vec![OsString::from(Compiler::COMMAND)],
            limits: COMPILE_LIMITS,
            wall_clock_max: COMPILE_LIMITS.wall_clock_max(),
            // So few that they come and go.
            function_bytes_max: 1 << 20,
        };
        let code = CodeConfig {
            compiler: plugin_runtime::Compiler::Child(child),
            cache: None,
        };
        let runtime = PluginRuntime::start_with(config(), code)?;
        let seeds = seeds::all(&compiler.plugins)?;
        Ok(Self {
            runtime,
            mutator: Mutator::new(&seeds),
            corpus: Corpus::new(seeds),
            refused: 0,
            accepted: 0,
            compiled: 0,
            prepared: 0,
        })
    }

    fn inspect(&mut self, input: &[u8]) -> Result<String, String> {
        let answer = gauge::measure("inspect", INSPECT, || self.runtime.inspect(input))?;
        match answer {
            Ok(facts) => {
                self.accepted += 1;
                if facts.size_bytes != input.len() {
                    return Err(format!("inspect says {} bytes", facts.size_bytes));
                }
                face::check(input)?;
                self.compile(input)
            }
            Err(error) => {
                self.refused += 1;
                say(&error)?;
                if self.refused.is_multiple_of(REFUSED_PER_COMPILED) {
                    self.compile_refused(input, &error)?;
                }
                Ok(error.to_string())
            }
        }
    }

    fn compile_refused(&self, input: &[u8], error: &InspectPluginError) -> Result<(), String> {
        match self.runtime.compile(input) {
            Err(CompilePluginError::Inspect(same)) if same == *error => Ok(()),
            other => Err(format!("inspect says {error}, compile says {other:?}")),
        }
    }

    fn compile(&mut self, input: &[u8]) -> Result<String, String> {
        let validity = Validator::new_with_features(WasmFeatures::all()).validate_all(input);
        if let Err(why) = &validity
            && !self.accepted.is_multiple_of(INVALID_PER_COMPILED)
        {
            return Ok(why.to_string());
        }
        let answer = gauge::measure("compile", COMPILE, || self.runtime.compile(input))?;
        match answer {
            Ok(plugin) => {
                self.compiled += 1;
                if let Err(error) = validity {
                    return Err(format!("an invalid component is compiled: {error}"));
                }
                self.run(&plugin)
            }
            Err(error) => {
                say(&error)?;
                if matches!(error, CompilePluginError::CompilerFailed { .. }) {
                    return Err(error.to_string());
                }
                // The validator's words are better feedback than those around it.
                Ok(validity.map_or_else(|why| why.to_string(), |_| error.to_string()))
            }
        }
    }

    fn run(&mut self, plugin: &Arc<CompiledPlugin>) -> Result<String, String> {
        let cases = gauge::measure("its own cases", COMPILE, || {
            self.runtime.run_own_cases(plugin)
        })?;
        let spec = MapperSpec {
            config: "{}".to_owned(),
            limits: MappingLimits::default(),
            samples: Vec::new(),
        };
        let prepared = gauge::measure("the canary", RUN, || self.runtime.prepare(plugin, spec))?;
        let mapper = match prepared {
            Ok(mapper) => mapper,
            Err(error) => {
                say(&error)?;
                return Ok(format!("{error}"));
            }
        };
        self.prepared += 1;
        let mapped = gauge::measure("a call", RUN, || {
            let mut instance = MapperInstance::new(&mapper)?;
            instance.map(&crate::values::any_event())
        })?;
        Ok(match mapped {
            Ok(_) => format!("maps, cases {}", cases.is_ok()),
            Err(fault) => {
                say(&fault)?;
                format!("maps in the canary only: {fault}")
            }
        })
    }
}

impl Target for Upload {
    fn draw(&mut self, random: &mut Random) -> Vec<u8> {
        self.mutator.draw(&self.corpus, random)
    }

    fn attempt(&mut self, input: &[u8]) -> Result<String, String> {
        self.inspect(input)
    }

    fn learn(&mut self, input: &[u8], outcome: &str, random: &mut Random) {
        self.corpus.learn(input, outcome, random);
    }

    fn tally(&self) -> String {
        let outcomes = self.corpus.outcomes();
        format!(
            "{outcomes} outcomes, {} accepted by inspect, {} compiled, {} prepared",
            self.accepted, self.compiled, self.prepared
        )
    }
}

fn config() -> RuntimeConfig {
    RuntimeConfig {
        mapper_threads: NonZeroUsize::MIN,
        memory_bytes_max: 16 << 20,
        memory_total_bytes_max: 64 << 20,
        call_deadline: Duration::from_millis(10),
        init_deadline: Duration::from_millis(50),
        output_bytes_max: 64 * 1024,
        messages_max: 16,
        component_bytes_max: COMPONENT_BYTES_MAX,
        node: "node-1".into(),
        instance: "mqtt-local".into(),
    }
}

/// An error says something, and not without end.
fn say(error: &impl std::fmt::Display) -> Result<(), String> {
    let bytes = error.to_string().len();
    if (1..=ERROR_BYTES_MAX).contains(&bytes) {
        Ok(())
    } else {
        Err(format!("an error of {bytes} bytes"))
    }
}

/// A component of this project's own making, which is valid.
fn assemble(text: &str) -> Result<Vec<u8>> {
    wat::parse_str(text).with_context(|| format!("a seed is not valid:\n{text}"))
}
