//! Functions that were compiled before, so that a component like an earlier one takes a fraction of the time: each save
//! while a plugin is written, and each version that changes a little, or was built with the same libraries.
//!
//! The child keeps nothing between components, so the host keeps them for it, in memory. What a child that was taken over
//! by its component puts there is as trusted as the code that it gives: both are run.

use std::borrow::Cow;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use wasmtime::CacheStore;

use super::{bytes_of, pipes};

/// A block is kept if one function in so many was new: less spares next to nothing, and would come with each save.
const NEW_PART: u64 = 4;
/// Functions have about so many bytes for each byte of their component.
const FUNCTION_BYTES: u64 = 3;

/// What became of the functions of compiled plugins since start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FunctionStats {
    /// Functions that were there already. One that the compiler then could not read is compiled, and counts as both.
    pub reused: u64,
    /// Functions that were compiled.
    pub compiled: u64,
    /// What is kept of them, bytes.
    pub kept_bytes: u64,
    /// The most that is kept of them, bytes.
    pub kept_bytes_max: u64,
}

/// What a compilation says of the functions of its component.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct CompiledFunctions {
    /// Functions that did not need compiling.
    pub(super) reused: u64,
    /// Functions that did.
    pub(super) compiled: u64,
    /// Those that did, with their keys; empty when they have more bytes than were wanted.
    pub(super) block: Vec<u8>,
}

/// The host's side: the blocks of the last compilations.
#[derive(Debug)]
pub(crate) struct FunctionBlocks(Mutex<Kept>);

#[derive(Debug)]
struct Kept {
    blocks: VecDeque<Arc<[u8]>>,
    stats: FunctionStats,
}

impl FunctionBlocks {
    pub(crate) fn new(kept_bytes_max: u64) -> Self {
        let stats = FunctionStats {
            kept_bytes_max,
            ..FunctionStats::default()
        };
        Self(Mutex::new(Kept {
            blocks: VecDeque::new(),
            stats,
        }))
    }

    pub(crate) fn stats(&self) -> FunctionStats {
        self.0.lock().stats
    }

    /// What the compiler is given for `component`, and the most that it may hand back: nothing for one whose functions
    /// would not be kept: to find and to encode each takes time, too.
    pub(super) fn for_component(&self, component: &[u8]) -> (Vec<Arc<[u8]>>, u64) {
        let kept = self.0.lock();
        let bytes_max = kept.stats.kept_bytes_max;
        if bytes_of(component).saturating_mul(FUNCTION_BYTES) > bytes_max {
            return (Vec::new(), 0);
        }
        (kept.blocks.iter().cloned().collect(), bytes_max)
    }

    /// Counts what a compilation gave, and keeps its block if that has much that is new; the oldest make room. What went and is
    /// needed again comes back with the next compilation that needs it.
    pub(crate) fn take(&self, compiled: CompiledFunctions) {
        let mut kept = self.0.lock();
        let Kept { blocks, stats } = &mut *kept;
        // A child may say anything.
        stats.reused = stats.reused.saturating_add(compiled.reused);
        stats.compiled = stats.compiled.saturating_add(compiled.compiled);
        let block = compiled.block;
        let size = bytes_of(&block);
        let is_much = compiled.compiled > compiled.reused / NEW_PART;
        if block.is_empty() || size > stats.kept_bytes_max || !is_much {
            return;
        }
        while stats.kept_bytes + size > stats.kept_bytes_max {
            let Some(oldest) = blocks.pop_front() else {
                break;
            };
            stats.kept_bytes -= bytes_of(&oldest);
        }
        stats.kept_bytes += size;
        blocks.push_back(Arc::from(block));
    }
}

/// The child's side: what one compilation finds among the functions that are known, and what it adds.
#[derive(Debug)]
pub(super) struct KnownFunctions {
    known: HashMap<&'static [u8], &'static [u8]>,
    reused: AtomicU64,
    compiled: AtomicU64,
    bytes_max: u64,
    /// The new ones; `None` when they have more bytes than are wanted.
    block: Mutex<Option<Vec<u8>>>,
}

impl KnownFunctions {
    /// `None` if no functions are wanted: then each would be hashed and encoded for nothing.
    pub(super) fn of(question: &pipes::Question<'static>) -> Option<Self> {
        let bytes_max = question.block_bytes_max;
        let functions = question.blocks.iter().flat_map(|it| pipes::functions(it));
        (bytes_max > 0).then(|| Self {
            known: functions.collect(),
            reused: AtomicU64::new(0),
            compiled: AtomicU64::new(0),
            bytes_max,
            block: Mutex::new(Some(Vec::new())),
        })
    }

    /// What it says, once nothing is compiled any more.
    pub(super) fn told(&self) -> CompiledFunctions {
        CompiledFunctions {
            reused: self.reused.load(Ordering::Relaxed),
            compiled: self.compiled.load(Ordering::Relaxed),
            block: self.block.lock().take().unwrap_or_default(),
        }
    }
}

impl CacheStore for KnownFunctions {
    fn get(&self, key: &[u8]) -> Option<Cow<'_, [u8]>> {
        let found = self.known.get(key)?;
        self.reused.fetch_add(1, Ordering::Relaxed);
        Some(Cow::Borrowed(found))
    }

    fn insert(&self, key: &[u8], value: Vec<u8>) -> bool {
        self.compiled.fetch_add(1, Ordering::Relaxed);
        let mut block = self.block.lock();
        if let Some(bytes) = &mut *block {
            pipes::push_function(bytes, key, &value);
            if bytes_of(bytes) > self.bytes_max {
                // A part of a large component would push out those of others and save it little.
                *block = None;
            }
        }
        block.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compiled(block: Vec<u8>) -> CompiledFunctions {
        CompiledFunctions {
            reused: 1,
            compiled: 2,
            block,
        }
    }

    #[test]
    fn the_oldest_block_makes_room_and_one_that_is_too_large_pushes_out_none() {
        let blocks = FunctionBlocks::new(10);
        for (block, kept) in [
            (vec![1; 4], 4),
            (vec![2; 4], 8),
            (vec![3; 11], 8),
            (vec![], 8),
            (vec![4; 3], 7),
            (vec![5; 10], 10),
        ] {
            blocks.take(compiled(block));
            assert_eq!(blocks.stats().kept_bytes, kept);
        }
        assert_eq!(
            blocks.for_component(&[0; 3]),
            (vec![Arc::from([5; 10])], 10)
        );
        assert_eq!(blocks.for_component(&[0; 4]), (Vec::new(), 0));
        let stats = blocks.stats();
        assert_eq!((stats.reused, stats.compiled), (6, 12));
    }

    #[test]
    fn a_block_of_a_few_functions_is_not_worth_its_place() {
        let blocks = FunctionBlocks::new(10);
        for (new, kept) in [(25, 0), (26, 1)] {
            blocks.take(CompiledFunctions {
                reused: 100,
                compiled: new,
                block: vec![0],
            });
            assert_eq!(blocks.stats().kept_bytes, kept, "{new} new functions");
        }
    }

    #[test]
    fn functions_are_known_or_new_or_too_many() {
        let mut block = Vec::new();
        pipes::push_function(&mut block, b"known", b"code");
        let with = |blocks, block_bytes_max| {
            KnownFunctions::of(&pipes::Question {
                block_bytes_max,
                component: b"",
                blocks,
            })
        };
        assert!(with(Vec::new(), 0).is_none());
        let known = with(vec![block.leak()], 40).unwrap();
        assert_eq!(known.get(b"known").as_deref(), Some(b"code".as_slice()));
        assert_eq!(known.get(b"other"), None);
        assert!(known.insert(b"other", b"more".to_vec()));
        let given = known.told();
        assert_eq!((given.reused, given.compiled), (1, 1));
        let new: Vec<_> = pipes::functions(&given.block).collect();
        assert_eq!(new, [(b"other".as_slice(), b"more".as_slice())]);

        let known = with(Vec::new(), 40).unwrap();
        assert!(!known.insert(b"large", vec![0; 41]));
        assert!(!known.insert(b"other", b"more".to_vec()));
        assert_eq!(known.told().block, Vec::<u8>::new());
    }
}
