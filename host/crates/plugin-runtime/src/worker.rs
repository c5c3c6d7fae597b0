//! A mapper thread: takes jobs and maps their events; in the slow lane it starts the instances, too.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use domain::{Mapping, StatusEvent};
use tokio::time::Instant;

use crate::deadline::thread_cpu_time;
use crate::engine::Core;
use crate::fault::{MapperFault, MemoryScope};
use crate::instance::{Instance, StartInstanceError};
use crate::mapper::Mapper;
use crate::scheduler::{Job, Lane, Next, Scheduler, Turn};

/// How long a job may keep other mappers waiting. One call may exceed it, up to its deadline.
const SLICE: Duration = Duration::from_millis(2);

/// One mapper thread.
pub(crate) struct Worker {
    core: Arc<Core>,
    scheduler: Arc<Scheduler>,
    lane: Lane,
}

impl Worker {
    pub(crate) fn new(core: Arc<Core>, scheduler: Arc<Scheduler>, lane: Lane) -> Self {
        Self {
            core,
            scheduler,
            lane,
        }
    }

    /// Works until the scheduler stops.
    pub(crate) fn run(self) {
        loop {
            match self.scheduler.next(self.lane) {
                Next::Stop => return,
                Next::Discard(instances) => drop(instances),
                Next::Work(job, instance) => self.work(job, instance),
            }
        }
    }

    fn work(&self, job: Job, instance: Option<Instance>) {
        let id = job.mapper.id;
        // A panic is a bug of the host; the job's caller is told, and the thread goes on.
        let turn =
            catch_unwind(AssertUnwindSafe(|| self.serve(job, instance))).unwrap_or_else(|_| {
                tracing::error!("mapper thread panicked, the instance is dropped");
                Turn {
                    is_faulty: true,
                    ..Turn::default()
                }
            });
        self.scheduler.give_back(id, turn);
    }

    fn serve(&self, mut job: Job, instance: Option<Instance>) -> Turn {
        let _ticking = self.core.ticker.begin();
        let (started, cpu_before) = (Instant::now(), thread_cpu_time());
        let mut turn = Turn {
            instance,
            ..Turn::default()
        };
        let is_finished = self.map_events(&mut job, &mut turn, started);
        turn.cpu = thread_cpu_time().saturating_sub(cpu_before);
        let nanos = u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX);
        job.mapper.usage.busy_ns.fetch_add(nanos, Ordering::Relaxed);
        if is_finished {
            answer(job);
        } else {
            turn.unfinished = Some(job);
        }
        turn
    }

    /// Maps the job's events; `false` when its time is over while others wait, or when the quick lane has no instance
    /// for it any more.
    fn map_events(&self, job: &mut Job, turn: &mut Turn, started: Instant) -> bool {
        while let Some(event) = job.events.get(job.verdicts.len()).cloned() {
            if job.reply.is_closed() {
                return true;
            }
            turn.instance = turn.instance.take().filter(|it| !it.is_worn(&job.mapper));
            let mut instance = match turn.instance.take() {
                Some(instance) => instance,
                None if self.lane == Lane::Quick => return false,
                None => match self.start(&job.mapper, turn) {
                    Ok(instance) => instance,
                    Err(fault) => {
                        fail_rest(job, &fault);
                        turn.is_faulty = true;
                        return true;
                    }
                },
            };
            let mapping = map(&mut instance, &job.mapper, &event);
            turn.calls += 1;
            if is_broken(&mapping) {
                turn.is_faulty = true;
            } else {
                turn.instance = Some(instance);
            }
            job.verdicts.push(mapping);
            let is_unfinished = job.verdicts.len() < job.events.len();
            if is_unfinished && started.elapsed() >= SLICE && self.scheduler.has_waiting(self.lane)
            {
                return false;
            }
        }
        true
    }

    fn start(&self, mapper: &Mapper, turn: &mut Turn) -> Result<Instance, MapperFault> {
        let cpu_before = thread_cpu_time();
        let started = self.start_with_memory(mapper);
        turn.starts_cpu += thread_cpu_time().saturating_sub(cpu_before);
        started.map_err(StartInstanceError::into_fault)
    }

    /// Warm instances are only a cache: the one that is needed now takes their memory.
    fn start_with_memory(&self, mapper: &Mapper) -> Result<Instance, StartInstanceError> {
        // Relaxed, here as elsewhere: the counters are only read for reporting.
        mapper.usage.instances.fetch_add(1, Ordering::Relaxed);
        let started = Instance::start(mapper);
        let is_host_full = matches!(
            started,
            Err(StartInstanceError::Fault(MapperFault::Memory {
                scope: MemoryScope::Host,
                ..
            }))
        );
        if !is_host_full {
            return started;
        }
        let idle = self.scheduler.take_idle();
        if idle.is_empty() {
            return started;
        }
        drop(idle);
        Instance::start(mapper)
    }
}

fn map(
    instance: &mut Instance,
    mapper: &Mapper,
    event: &StatusEvent,
) -> Result<Mapping, MapperFault> {
    mapper.usage.calls.fetch_add(1, Ordering::Relaxed);
    let mapping = instance.map(mapper, event);
    if mapping.is_err() {
        mapper.usage.faults.fetch_add(1, Ordering::Relaxed);
    }
    mapping
}

/// Whether the instance that said this is good for nothing any more.
fn is_broken(mapping: &Result<Mapping, MapperFault>) -> bool {
    !matches!(mapping, Ok(_) | Err(MapperFault::IllegalMessage(_)))
}

/// A plugin that does not start now would not start for the next event, and each try may take as
/// long as the deadline of `init`.
fn fail_rest(job: &mut Job, fault: &MapperFault) {
    job.mapper.usage.calls.fetch_add(1, Ordering::Relaxed);
    job.mapper.usage.faults.fetch_add(1, Ordering::Relaxed);
    job.verdicts.resize(job.events.len(), Err(fault.clone()));
}

/// Tells the caller, who may have given up meanwhile: its events are still in the outbox.
fn answer(job: Job) {
    drop(job.permit);
    drop(job.reply.send(job.verdicts));
}
