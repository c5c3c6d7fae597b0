//! What instances take on the host's side, beside linear memories and tables: a word or more for
//! every global, import and function.
//!
//! wasmtime limits the number of instances, not the size of one, so a component with a million
//! globals would cost gigabytes that nobody counts. The figure is an upper bound, not a measure.

use wasmparser::{BinaryReaderError, Instance, Payload};

/// A global, bytes.
const GLOBAL_BYTES: u64 = 16;
/// An imported or defined function, or another import, bytes.
const FUNCTION_BYTES: u64 = 48;
/// Ordinary plugins stay below it, Python's too, and are not bothered.
const FREE_BYTES: u64 = 4 << 20;
/// Instances of a store; see `budget`.
const INSTANCES_MAX: u64 = 100;

/// What was seen so far.
#[derive(Default)]
pub(super) struct Footprint {
    /// Modules and components that are open around what is being read.
    depth: u32,
    /// Whether a module is being read, and what an instance of it takes.
    is_module: bool,
    module_bytes: u64,
    /// The same of the modules in the outermost component, by their index.
    modules: Vec<u64>,
    largest_bytes: u64,
    instances_bytes: u64,
    /// Whether a component inside of the component instantiates modules.
    is_nested: bool,
}

impl Footprint {
    /// Takes the next part of the component into account.
    pub(super) fn see(&mut self, payload: &Payload<'_>) -> Result<(), BinaryReaderError> {
        match payload {
            Payload::ModuleSection { .. } => {
                self.depth += 1;
                self.module_bytes = 0;
                self.is_module = true;
            }
            Payload::ComponentSection { .. } => self.depth += 1,
            Payload::End(_) => self.end(),
            Payload::GlobalSection(section) => self.add(section.count(), GLOBAL_BYTES),
            Payload::ImportSection(section) => self.add(section.count(), FUNCTION_BYTES),
            Payload::FunctionSection(section) => self.add(section.count(), FUNCTION_BYTES),
            Payload::InstanceSection(section) => {
                for instance in section.clone() {
                    if let Instance::Instantiate { module_index, .. } = instance? {
                        self.instantiate(module_index);
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// What each store of the component takes at most, beyond what is ordinary.
    pub(super) fn overhead_bytes(&self) -> u64 {
        let most = self.largest_bytes.saturating_mul(INSTANCES_MAX);
        // It may be instantiated any number of times.
        let all = if self.is_nested {
            most
        } else {
            self.instances_bytes.min(most)
        };
        all.saturating_sub(FREE_BYTES)
    }

    fn instantiate(&mut self, module_index: u32) {
        self.is_nested |= self.depth > 0;
        let known = usize::try_from(module_index)
            .ok()
            .and_then(|index| self.modules.get(index));
        // An alias of a module in a component: one of those that were read.
        let bytes = known.copied().unwrap_or(self.largest_bytes);
        self.instances_bytes = self.instances_bytes.saturating_add(bytes);
    }

    fn end(&mut self) {
        self.depth = self.depth.saturating_sub(1);
        if !self.is_module {
            return;
        }
        self.is_module = false;
        self.largest_bytes = self.largest_bytes.max(self.module_bytes);
        if self.depth == 0 {
            self.modules.push(self.module_bytes);
        }
    }

    fn add(&mut self, count: u32, bytes: u64) {
        self.module_bytes = self
            .module_bytes
            .saturating_add(u64::from(count).saturating_mul(bytes));
    }
}
