//! Which mapper's job a free mapper thread takes next, and with which instance.
//!
//! There are two lanes with threads of their own. In the quick lane are mappers that have a warm instance and whose calls
//! were short so far, in their canary or after it. Everything else is in the slow lane: starts of instances for a job, new
//! mappers, mappers that were slow or faulty, and events that need the memory of others. So whatever a plugin does in `init` or in its calls, the threads of
//! the quick lane soon are free again.
//!
//! In each lane the mapper is served first that used the least CPU time lately. Its jobs are first in, first out; a job
//! that outlives its time slice goes back to the front. One mapper never holds all threads. Queues are bounded by the
//! permits that jobs carry.

mod conduct;
mod queue;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use domain::{Mapping, StatusEvent};
use parking_lot::{Condvar, Mutex};
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::time::Instant;

use crate::fault::{MapperFault, MemoryScope};
use crate::instance::Instance;
use crate::mapper::Mapper;
use queue::Queue;

/// The verdicts of a job, one per event.
pub(crate) type Verdicts = Vec<Result<Mapping, MapperFault>>;

/// Events to be mapped one after the other, and who waits for it.
pub(crate) struct Job {
    pub(crate) mapper: Arc<Mapper>,
    pub(crate) events: Vec<Arc<StatusEvent>>,
    /// The verdicts on the first events.
    pub(crate) verdicts: Verdicts,
    pub(crate) reply: oneshot::Sender<Verdicts>,
    /// A place in the mapper's queue.
    pub(crate) permit: OwnedSemaphorePermit,
    /// The event, by its index, for which the host had too little memory: it has one more try, with that of idle instances.
    pub(crate) lacked_memory_at: Option<usize>,
}

impl Job {
    /// Whether its next event was tried, and the host had too little memory for it.
    pub(crate) fn is_short_of_memory(&self) -> bool {
        self.lacked_memory_at == Some(self.verdicts.len())
    }
}

/// Whether there would have been memory if the other instances held none.
pub(crate) fn lacks_host_memory(fault: &MapperFault) -> bool {
    matches!(
        fault,
        MapperFault::NoPlace { .. }
            | MapperFault::Memory {
                scope: MemoryScope::Host,
                ..
            }
    )
}

/// Where a mapper waits for a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lane {
    /// For warm instances whose calls are short.
    Quick,
    /// For everything that may hold its thread for long.
    Slow,
}

/// What a thread does next.
pub(crate) enum Next {
    /// Works on this, with the mapper's warm instance if it has one to spare.
    Work(Job, Option<Instance>),
    /// Drops these: their mappers are gone.
    Discard(Vec<Instance>),
    /// Ends.
    Stop,
}

/// What a thread did for a mapper.
#[derive(Default)]
pub(crate) struct Turn {
    /// What is left of the job.
    pub(crate) unfinished: Option<Job>,
    /// The instance, if it is still good.
    pub(crate) instance: Option<Instance>,
    /// CPU time of all, starts of instances included.
    pub(crate) cpu: Duration,
    /// The part of it that starts of instances took.
    pub(crate) starts_cpu: Duration,
    pub(crate) calls: u32,
    /// CPU time of the longest call, as far as ticks saw it; see [`crate::deadline`].
    pub(crate) longest_call: Duration,
    /// Whether an instance broke or did not start.
    pub(crate) is_faulty: bool,
}

/// The lines of the mappers.
pub(crate) struct Scheduler {
    state: Mutex<State>,
    quick_work: Condvar,
    slow_work: Condvar,
    /// Threads that one mapper may hold.
    threads_per_mapper: usize,
}

#[derive(Default)]
struct State {
    /// Mappers that wait, in the order in which they began to.
    quick: Vec<u64>,
    slow: Vec<u64>,
    queues: HashMap<u64, Queue>,
    /// Instances of mappers that are gone. Whoever dropped the mapper should not pay for it.
    discarded: Vec<Instance>,
    is_stopped: bool,
}

impl State {
    fn line(&mut self, lane: Lane) -> &mut Vec<u64> {
        match lane {
            Lane::Quick => &mut self.quick,
            Lane::Slow => &mut self.slow,
        }
    }
}

impl Scheduler {
    /// For `threads` threads in each lane; one of them is kept free of any single mapper, if there are several.
    pub(crate) fn new(threads: usize) -> Self {
        let threads_per_mapper = threads.saturating_sub(1).max(1);
        Self {
            state: Mutex::default(),
            quick_work: Condvar::new(),
            slow_work: Condvar::new(),
            threads_per_mapper,
        }
    }

    /// Takes a new job in.
    pub(crate) fn push(&self, job: Job) {
        let mut state = self.state.lock();
        let id = job.mapper.id;
        state.queues.entry(id).or_default().jobs.push_back(job);
        self.line_up(&mut state, id);
    }

    /// Waits for something to do in `lane`.
    pub(crate) fn next(&self, lane: Lane) -> Next {
        let mut state = self.state.lock();
        loop {
            if state.is_stopped {
                return Next::Stop;
            }
            if lane == Lane::Slow && !state.discarded.is_empty() {
                return Next::Discard(std::mem::take(&mut state.discarded));
            }
            if let Some((job, instance)) = self.take(&mut state, lane) {
                return Next::Work(job, instance);
            }
            self.work(lane).wait(&mut state);
        }
    }

    /// Whether another mapper waits for a thread of `lane`.
    pub(crate) fn has_waiting(&self, lane: Lane) -> bool {
        !self.state.lock().line(lane).is_empty()
    }

    /// A thread did what it could for the mapper `id`.
    pub(crate) fn give_back(&self, id: u64, turn: Turn) {
        let mut state = self.state.lock();
        let Some(queue) = state.queues.get_mut(&id) else {
            // The scheduler was stopped; or a panic dropped the job, and with it the mapper.
            drop(state);
            drop(turn);
            return;
        };
        queue.end_turn(turn, Instant::now());
        self.line_up(&mut state, id);
    }

    /// What the calls of the mapper `id` were like when it was tried.
    pub(crate) fn note_trial(&self, id: u64, turn: &Turn) {
        let mut state = self.state.lock();
        state.queues.entry(id).or_default().note_trial(turn);
    }

    /// Whether the mapper `id` has a warm instance that no thread works with.
    pub(crate) fn has_idle(&self, id: u64) -> bool {
        let state = self.state.lock();
        state
            .queues
            .get(&id)
            .is_some_and(|queue| !queue.idle.is_empty())
    }

    /// One more warm instance for the mapper `id`, unless it has as many as threads may work for it.
    pub(crate) fn add_idle(&self, id: u64, instance: Instance) {
        let mut state = self.state.lock();
        let queue = state.queues.entry(id).or_default();
        if queue.running + queue.idle.len() >= self.threads_per_mapper {
            drop(state);
            drop(instance);
            return;
        }
        queue.idle.push(instance);
        self.line_up(&mut state, id);
    }

    /// All instances that nobody works with: a cache, when memory is needed for one that somebody waits for.
    pub(crate) fn take_idle(&self) -> Vec<Instance> {
        let mut state = self.state.lock();
        let mut idle = std::mem::take(&mut state.discarded);
        let ids: Vec<u64> = state.queues.keys().copied().collect();
        for id in ids {
            if let Some(queue) = state.queues.get_mut(&id) {
                idle.append(&mut queue.idle);
            }
            self.line_up(&mut state, id);
        }
        idle
    }

    /// The mapper `id` is gone: no job of it exists, and its instances are of no use.
    pub(crate) fn retire(&self, id: u64) {
        let mut state = self.state.lock();
        let queue = state.queues.remove(&id).unwrap_or_default();
        state.quick.retain(|other| *other != id);
        state.slow.retain(|other| *other != id);
        if !state.is_stopped && !queue.idle.is_empty() {
            state.discarded.extend(queue.idle);
            self.slow_work.notify_one();
        }
    }

    /// Ends all threads, after the call that each is in.
    pub(crate) fn stop(&self) {
        let mut state = self.state.lock();
        state.is_stopped = true;
        let waiting: Vec<Queue> = state.queues.drain().map(|(_, queue)| queue).collect();
        let discarded = std::mem::take(&mut state.discarded);
        drop(state);
        self.quick_work.notify_all();
        self.slow_work.notify_all();
        // Outside the lock: the last job of a mapper may be its last owner.
        drop((waiting, discarded));
    }

    fn work(&self, lane: Lane) -> &Condvar {
        match lane {
            Lane::Quick => &self.quick_work,
            Lane::Slow => &self.slow_work,
        }
    }

    /// Puts the mapper `id` where it belongs now.
    fn line_up(&self, state: &mut State, id: u64) {
        let Some(queue) = state.queues.get_mut(&id) else {
            return;
        };
        let is_due = !queue.jobs.is_empty() && queue.running < self.threads_per_mapper;
        let wanted = is_due.then(|| queue.lane());
        let was = std::mem::replace(&mut queue.waits_in, wanted);
        if was == wanted {
            return;
        }
        if let Some(lane) = was {
            state.line(lane).retain(|other| *other != id);
        }
        if let Some(lane) = wanted {
            state.line(lane).push(id);
            self.work(lane).notify_one();
        }
    }

    fn take(&self, state: &mut State, lane: Lane) -> Option<(Job, Option<Instance>)> {
        let now = Instant::now();
        let line = match lane {
            Lane::Quick => &state.quick,
            Lane::Slow => &state.slow,
        };
        // Only those that wait, so there are few. Of equals the first one.
        let id = *line
            .iter()
            .min_by_key(|id| state.queues.get(id).map(|queue| queue.used_lately(now)))?;
        let queue = state.queues.get_mut(&id)?;
        let job = queue.jobs.pop_front()?;
        let instance = queue.idle.pop();
        queue.running += 1;
        // It begins to wait anew, behind its equals.
        queue.waits_in = None;
        state.line(lane).retain(|other| *other != id);
        self.line_up(state, id);
        Some((job, instance))
    }
}

#[cfg(test)]
mod tests;
