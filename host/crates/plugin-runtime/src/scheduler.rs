//! Which mapper's job a free mapper thread takes next.
//!
//! Mappers are served in turn, each first in, first out; a job that outlives its time slice goes
//! back to the front of its mapper's queue and its mapper to the end of the line. One mapper never
//! holds all threads, so a slow plugin delays its own rule and no other. Queues are bounded by
//! the permits that jobs carry.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use domain::{Mapping, StatusEvent};
use parking_lot::{Condvar, Mutex};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::fault::MapperFault;
use crate::mapper::Mapper;

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
}

/// What a thread does next.
pub(crate) enum Next {
    /// Works on this.
    Work(Job),
    /// Drops the instances of mappers that are gone.
    Tidy,
    /// Ends.
    Stop,
}

/// The line of the mappers.
pub(crate) struct Scheduler {
    state: Mutex<State>,
    work: Condvar,
    /// Threads that one mapper may hold.
    threads_per_mapper: usize,
}

#[derive(Default)]
struct State {
    line: VecDeque<u64>,
    queues: HashMap<u64, Queue>,
    /// Mappers that are gone, so far.
    retired: u64,
    is_stopped: bool,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    running: usize,
    is_in_line: bool,
}

impl Scheduler {
    /// For `threads` threads; one of them is kept free of any single mapper, if there are several.
    pub(crate) fn new(threads: usize) -> Self {
        let threads_per_mapper = threads.saturating_sub(1).max(1);
        Self {
            state: Mutex::default(),
            work: Condvar::new(),
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

    /// Waits for something to do. `seen` is what the thread knows of [`Scheduler::retire`].
    pub(crate) fn next(&self, seen: &mut u64) -> Next {
        let mut state = self.state.lock();
        loop {
            if state.is_stopped {
                return Next::Stop;
            }
            if state.retired != *seen {
                *seen = state.retired;
                return Next::Tidy;
            }
            if let Some(job) = self.take(&mut state) {
                return Next::Work(job);
            }
            self.work.wait(&mut state);
        }
    }

    /// Whether another mapper waits for a thread.
    pub(crate) fn has_waiting(&self) -> bool {
        !self.state.lock().line.is_empty()
    }

    /// A thread gives an unfinished job back.
    pub(crate) fn put_back(&self, job: Job) {
        let mut state = self.state.lock();
        let id = job.mapper.id;
        let queue = state.queues.entry(id).or_default();
        queue.jobs.push_front(job);
        queue.running = queue.running.saturating_sub(1);
        self.line_up(&mut state, id);
    }

    /// A thread is done with a job of the mapper `id`.
    pub(crate) fn finish(&self, id: u64) {
        let mut state = self.state.lock();
        if let Some(queue) = state.queues.get_mut(&id) {
            queue.running = queue.running.saturating_sub(1);
            self.line_up(&mut state, id);
        }
    }

    /// The mapper `id` is gone: no job of it exists, and its instances are of no use.
    pub(crate) fn retire(&self, id: u64) {
        let mut state = self.state.lock();
        state.queues.remove(&id);
        state.line.retain(|other| *other != id);
        state.retired += 1;
        self.work.notify_all();
    }

    /// Ends all threads, after the call that each is in.
    pub(crate) fn stop(&self) {
        let mut state = self.state.lock();
        state.is_stopped = true;
        let waiting: Vec<Queue> = state.queues.drain().map(|(_, queue)| queue).collect();
        drop(state);
        self.work.notify_all();
        // Outside the lock: the last job of a mapper may be its last owner.
        drop(waiting);
    }

    fn line_up(&self, state: &mut State, id: u64) {
        let Some(queue) = state.queues.get_mut(&id) else {
            return;
        };
        if !queue.is_in_line && !queue.jobs.is_empty() && queue.running < self.threads_per_mapper {
            queue.is_in_line = true;
            state.line.push_back(id);
            self.work.notify_one();
        }
    }

    fn take(&self, state: &mut State) -> Option<Job> {
        loop {
            let id = state.line.pop_front()?;
            let Some(queue) = state.queues.get_mut(&id) else {
                continue;
            };
            queue.is_in_line = false;
            if let Some(job) = queue.jobs.pop_front() {
                queue.running += 1;
                self.line_up(state, id);
                return Some(job);
            }
        }
    }
}

#[cfg(test)]
mod tests;
