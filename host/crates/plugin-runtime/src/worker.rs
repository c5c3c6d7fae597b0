//! A mapper thread: takes jobs and maps their events; in the slow lane it starts the instances, too.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use domain::Mapping;
use tokio::time::Instant;

use crate::deadline::thread_cpu_time;
use crate::engine::Core;
use crate::fault::MapperFault;
use crate::instance::{Instance, StartInstanceError};
use crate::mapper::Mapper;
use crate::room::with_room;
use crate::scheduler::{Job, Lane, Next, Scheduler, Turn, lacks_host_memory};

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
        let served = catch_unwind(AssertUnwindSafe(|| self.serve(job, instance)));
        let (turn, finished) = served.unwrap_or_else(|_| {
            tracing::error!("mapper thread panicked, the instance is dropped");
            let turn = Turn {
                is_faulty: true,
                ..Turn::default()
            };
            (turn, None)
        });
        // Before the answer: what its caller asks for next finds the instance idle.
        self.scheduler.give_back(id, turn);
        if let Some(job) = finished {
            answer(job);
        }
    }

    /// What was done for the job; and the job, if that was all.
    fn serve(&self, mut job: Job, instance: Option<Instance>) -> (Turn, Option<Job>) {
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
            return (turn, Some(job));
        }
        turn.unfinished = Some(job);
        (turn, None)
    }

    /// Maps the job's events; `false` when its time is over while others wait, or when the quick lane cannot do more
    /// for it.
    fn map_events(&self, job: &mut Job, turn: &mut Turn, started: Instant) -> bool {
        while let Some(event) = job.events.get(job.verdicts.len()).cloned() {
            if job.reply.is_closed() {
                return true;
            }
            let mut instance = match self.instance(job, turn) {
                Ok(Some(instance)) => instance,
                Ok(None) => return false,
                Err(fault) => {
                    fail_rest(job, &fault);
                    turn.is_faulty = true;
                    return true;
                }
            };
            let mapping = instance.map(&job.mapper, &event);
            turn.calls += 1;
            turn.longest_call = turn.longest_call.max(instance.call_cpu());
            if is_broken(&mapping) {
                turn.is_faulty = true;
                drop(instance);
            } else {
                turn.instance = Some(instance);
            }
            if mapping.as_ref().is_err_and(lacks_host_memory) && !job.is_short_of_memory() {
                // Idle instances may have what it lacks. One more try, so that it ends if they do not.
                job.lacked_memory_at = Some(job.verdicts.len());
                continue;
            }
            count(&job.mapper, mapping.is_err());
            job.verdicts.push(mapping);
            let is_unfinished = job.verdicts.len() < job.events.len();
            if is_unfinished && started.elapsed() >= SLICE && self.scheduler.has_waiting(self.lane)
            {
                return false;
            }
        }
        true
    }

    /// The instance for the job's next event; `None` if the slow lane must see to it.
    fn instance(&self, job: &Job, turn: &mut Turn) -> Result<Option<Instance>, MapperFault> {
        let is_short_of_memory = job.is_short_of_memory();
        if self.lane == Lane::Quick && is_short_of_memory {
            return Ok(None);
        }
        if is_short_of_memory {
            drop((turn.instance.take(), self.scheduler.take_idle()));
        }
        let warm = turn.instance.take().filter(|it| !it.is_worn(&job.mapper));
        match (warm, self.lane) {
            (Some(instance), _) => Ok(Some(instance)),
            (None, Lane::Quick) => Ok(None),
            (None, Lane::Slow) => self.start(&job.mapper, turn).map(Some),
        }
    }

    fn start(&self, mapper: &Mapper, turn: &mut Turn) -> Result<Instance, MapperFault> {
        let cpu_before = thread_cpu_time();
        let started = with_room(
            &self.scheduler,
            || start_instance(mapper),
            |started| match started {
                Err(StartInstanceError::Fault(fault)) => Some(fault),
                Ok(_) | Err(StartInstanceError::Refused(_)) => None,
            },
        );
        turn.starts_cpu += thread_cpu_time().saturating_sub(cpu_before);
        started.map_err(StartInstanceError::into_fault)
    }
}

/// Starts an instance and counts it.
pub(crate) fn start_instance(mapper: &Mapper) -> Result<Instance, StartInstanceError> {
    // Relaxed, here as elsewhere: the counters are only read for reporting.
    mapper.usage.instances.fetch_add(1, Ordering::Relaxed);
    Instance::start(mapper)
}

/// Counts an event that the mapper was called for.
fn count(mapper: &Mapper, is_fault: bool) {
    mapper.usage.calls.fetch_add(1, Ordering::Relaxed);
    if is_fault {
        mapper.usage.faults.fetch_add(1, Ordering::Relaxed);
    }
}

/// Whether the instance that said this is good for nothing any more.
fn is_broken(mapping: &Result<Mapping, MapperFault>) -> bool {
    !matches!(mapping, Ok(_) | Err(MapperFault::IllegalMessage(_)))
}

/// A plugin that does not start now would not start for the next event, and each try may take as
/// long as the deadline of `init`.
fn fail_rest(job: &mut Job, fault: &MapperFault) {
    count(&job.mapper, true);
    job.verdicts.resize(job.events.len(), Err(fault.clone()));
}

/// Tells the caller, who may have given up meanwhile: its events are still in the outbox.
fn answer(job: Job) {
    drop(job.permit);
    drop(job.reply.send(job.verdicts));
}
