//! A mapper thread: takes jobs, keeps one warm instance per mapper, renews what is worn or broken.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use domain::{Mapping, StatusEvent};
use tokio::time::Instant;

use crate::engine::Core;
use crate::fault::{MapperFault, MemoryScope};
use crate::instance::{Instance, StartInstanceError};
use crate::mapper::Mapper;
use crate::scheduler::{Job, Next, Scheduler};

/// How long a job may keep other mappers waiting. One call may exceed it, up to its deadline.
const SLICE: Duration = Duration::from_millis(2);

struct Slot {
    mapper: Weak<Mapper>,
    instance: Instance,
}

/// There is no instance to map with; whatever kept it from starting.
struct NotStarted(MapperFault);

/// What one mapper thread owns.
pub(crate) struct Worker {
    core: Arc<Core>,
    scheduler: Arc<Scheduler>,
    slots: HashMap<u64, Slot>,
}

impl Worker {
    pub(crate) fn new(core: Arc<Core>, scheduler: Arc<Scheduler>) -> Self {
        Self {
            core,
            scheduler,
            slots: HashMap::new(),
        }
    }

    /// Works until the scheduler stops.
    pub(crate) fn run(mut self) {
        let mut seen = 0;
        loop {
            match self.scheduler.next(&mut seen) {
                Next::Stop => return,
                Next::Tidy => self.slots.retain(|_, slot| slot.mapper.strong_count() > 0),
                Next::Work(job) => self.work(job),
            }
        }
    }

    fn work(&mut self, job: Job) {
        let id = job.mapper.id;
        // A panic is a bug of the host; the job's caller is told, and the thread goes on.
        match catch_unwind(AssertUnwindSafe(|| self.serve(job))) {
            Ok(Some(unfinished)) => self.scheduler.put_back(unfinished),
            Ok(None) => self.scheduler.finish(id),
            Err(_) => {
                tracing::error!("mapper thread panicked, its instances are dropped");
                self.slots.clear();
                self.scheduler.finish(id);
            }
        }
    }

    /// Maps the job's events; gives the job back if it ran out of time while others wait.
    fn serve(&mut self, mut job: Job) -> Option<Job> {
        let _ticking = self.core.ticker.begin();
        let started = Instant::now();
        while let Some(event) = job.events.get(job.verdicts.len()).cloned() {
            if job.reply.is_closed() {
                return None;
            }
            let (verdict, is_broken) = match self.map(&job.mapper, &event) {
                Ok(verdict) => (verdict, false),
                Err(NotStarted(fault)) => (Err(fault), true),
            };
            job.verdicts.push(verdict);
            if is_broken {
                fail_rest(&mut job);
            }
            let is_unfinished = job.verdicts.len() < job.events.len();
            if is_unfinished && started.elapsed() >= SLICE && self.scheduler.has_waiting() {
                count_busy(&job.mapper, started);
                return Some(job);
            }
        }
        count_busy(&job.mapper, started);
        let Job {
            mapper,
            verdicts,
            reply,
            permit,
            ..
        } = job;
        drop(permit);
        // The caller may have given up meanwhile: its events are still in the outbox.
        drop(reply.send(verdicts));
        drop(mapper);
        None
    }

    fn map(
        &mut self,
        mapper: &Arc<Mapper>,
        event: &StatusEvent,
    ) -> Result<Result<Mapping, MapperFault>, NotStarted> {
        mapper.usage.calls.fetch_add(1, Ordering::Relaxed);
        let instance = match self.instance(mapper) {
            Ok(instance) => instance,
            Err(fault) => {
                count_fault(mapper);
                return Err(NotStarted(fault));
            }
        };
        let mapping = instance.map(mapper, event);
        match &mapping {
            Ok(_) => {}
            // The instance is sound: only its message was not.
            Err(MapperFault::IllegalMessage(_)) => count_fault(mapper),
            Err(_) => {
                count_fault(mapper);
                self.slots.remove(&mapper.id);
            }
        }
        Ok(mapping)
    }

    fn instance(&mut self, mapper: &Arc<Mapper>) -> Result<&mut Instance, MapperFault> {
        if self
            .slots
            .get(&mapper.id)
            .is_some_and(|slot| slot.instance.is_worn(mapper))
        {
            self.slots.remove(&mapper.id);
        }
        if !self.slots.contains_key(&mapper.id) {
            let instance = self.start(mapper)?;
            self.slots.insert(
                mapper.id,
                Slot {
                    mapper: Arc::downgrade(mapper),
                    instance,
                },
            );
        }
        match self.slots.get_mut(&mapper.id) {
            Some(slot) => Ok(&mut slot.instance),
            None => Err(MapperFault::Init {
                detail: "the instance is gone".to_owned(),
            }),
        }
    }

    fn start(&mut self, mapper: &Mapper) -> Result<Instance, MapperFault> {
        mapper.usage.instances.fetch_add(1, Ordering::Relaxed);
        let started = Instance::start(mapper);
        let is_host_full = matches!(
            started,
            Err(StartInstanceError::Fault(MapperFault::Memory {
                scope: MemoryScope::Host,
                ..
            }))
        );
        if is_host_full && !self.slots.is_empty() {
            // Warm instances are only a cache: the one that is needed now takes their memory.
            self.slots.clear();
            return Instance::start(mapper).map_err(StartInstanceError::into_fault);
        }
        started.map_err(StartInstanceError::into_fault)
    }
}

/// A plugin that does not start now would not start for the next event, and each try may take as
/// long as the deadline of `init`.
fn fail_rest(job: &mut Job) {
    if let Some(last) = job.verdicts.last().cloned() {
        job.verdicts.resize(job.events.len(), last);
    }
}

fn count_fault(mapper: &Mapper) {
    mapper.usage.faults.fetch_add(1, Ordering::Relaxed);
}

fn count_busy(mapper: &Mapper, started: Instant) {
    let nanos = u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX);
    add(&mapper.usage.busy_ns, nanos);
}

fn add(counter: &AtomicU64, value: u64) {
    counter.fetch_add(value, Ordering::Relaxed);
}
