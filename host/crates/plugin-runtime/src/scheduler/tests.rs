//! The order in which threads get jobs, without threads.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::{Job, Scheduler, Verdicts};
use crate::Mapper;
use crate::tests::fixture::{config, mapper, plain, runtime};

/// A job with `events` events; the number tells jobs apart.
fn job(mapper: &Arc<Mapper>, events: usize) -> (Job, oneshot::Receiver<Verdicts>) {
    let (reply, answer) = oneshot::channel();
    let permit = Arc::clone(&mapper.room).try_acquire_owned().unwrap();
    let job = Job {
        mapper: Arc::clone(mapper),
        events: vec![plain(); events],
        verdicts: Vec::new(),
        reply,
        permit,
    };
    (job, answer)
}

fn take(scheduler: &Scheduler) -> Option<Job> {
    scheduler.take(&mut scheduler.state.lock())
}

fn events(job: Option<&Job>) -> usize {
    job.map_or(0, |job| job.events.len())
}

fn two_mappers() -> [Arc<Mapper>; 2] {
    let runtime = runtime(config());
    [
        mapper(&runtime, "unreachable"),
        mapper(&runtime, "unreachable"),
    ]
}

#[test]
fn mappers_are_served_in_turn_and_each_in_order() {
    let [a, b] = two_mappers();
    let scheduler = Scheduler::new(4);
    for (mapper, events) in [(&a, 1), (&a, 2), (&a, 3), (&b, 10), (&b, 11)] {
        scheduler.push(job(mapper, events).0);
    }
    let first: Vec<Option<Job>> = (0..5).map(|_| take(&scheduler)).collect();
    let order: Vec<usize> = first.iter().map(|job| events(job.as_ref())).collect();
    assert_eq!(order, [1, 10, 2, 11, 3]);
    assert!(take(&scheduler).is_none());
}

#[test]
fn one_mapper_never_holds_all_threads() {
    let [a, b] = two_mappers();
    let scheduler = Scheduler::new(3);
    for events in 1..=3 {
        scheduler.push(job(&a, events).0);
    }
    let running = [take(&scheduler), take(&scheduler)];
    assert_eq!(running.each_ref().map(|job| events(job.as_ref())), [1, 2]);
    assert!(take(&scheduler).is_none());
    assert!(!scheduler.has_waiting());
    scheduler.push(job(&b, 10).0);
    assert_eq!(events(take(&scheduler).as_ref()), 10);
    scheduler.finish(a.id);
    assert_eq!(events(take(&scheduler).as_ref()), 3);
}

#[test]
fn a_single_thread_serves_every_mapper() {
    let [a, _] = two_mappers();
    let scheduler = Scheduler::new(1);
    scheduler.push(job(&a, 1).0);
    scheduler.push(job(&a, 2).0);
    assert_eq!(events(take(&scheduler).as_ref()), 1);
    assert!(take(&scheduler).is_none());
    scheduler.finish(a.id);
    assert_eq!(events(take(&scheduler).as_ref()), 2);
}

#[test]
fn an_unfinished_job_goes_on_before_its_mappers_later_ones() {
    let [a, b] = two_mappers();
    let scheduler = Scheduler::new(1);
    for (mapper, events) in [(&a, 1), (&a, 2), (&b, 10)] {
        scheduler.push(job(mapper, events).0);
    }
    let unfinished = take(&scheduler).unwrap();
    assert!(scheduler.has_waiting());
    scheduler.put_back(unfinished);
    let mut order = Vec::new();
    for mapper in [&b, &a, &a] {
        order.push(events(take(&scheduler).as_ref()));
        scheduler.finish(mapper.id);
    }
    assert_eq!(order, [10, 1, 2]);
}
