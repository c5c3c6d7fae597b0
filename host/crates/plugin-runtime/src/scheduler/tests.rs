//! The order in which threads get jobs, without threads.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use super::{Job, Lane, Scheduler, Turn, Verdicts};
use crate::instance::Instance;
use crate::tests::fixture::{ACCEPT, component, config, magic, mapper, plain, runtime, spec};
use crate::{Mapper, MapperSpec, RuntimeConfig};

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
        lacked_memory_at: None,
    };
    (job, answer)
}

/// The next job of a lane; its instance comes back by [`end`].
fn take(scheduler: &Scheduler, lane: Lane) -> Option<(Job, Option<Instance>)> {
    scheduler.take(&mut scheduler.state.lock(), lane)
}

/// How many events the next job of the slow lane has; 0 for none.
fn next_events(scheduler: &Scheduler) -> usize {
    take(scheduler, Lane::Slow).map_or(0, |(job, _)| job.events.len())
}

/// A turn that took `cpu` for `calls` calls.
fn turn(cpu: Duration, calls: u32) -> Turn {
    Turn {
        cpu,
        calls,
        ..Turn::default()
    }
}

/// A turn that leaves a warm instance.
fn warm_turn(mapper: &Mapper, cpu: Duration, calls: u32) -> Turn {
    let Ok(instance) = Instance::start(mapper) else {
        panic!("it does not start");
    };
    Turn {
        instance: Some(instance),
        ..turn(cpu, calls)
    }
}

fn two_mappers() -> [Arc<Mapper>; 2] {
    let runtime = runtime(config());
    [
        mapper(&runtime, "unreachable"),
        mapper(&runtime, "unreachable"),
    ]
}

#[test]
fn equals_are_served_in_turn_and_each_in_order() {
    let [a, b] = two_mappers();
    let scheduler = Scheduler::new(4);
    for (mapper, events) in [(&a, 1), (&a, 2), (&a, 3), (&b, 10), (&b, 11)] {
        scheduler.push(job(mapper, events).0);
    }
    let order: Vec<usize> = (0..6).map(|_| next_events(&scheduler)).collect();
    assert_eq!(order, [1, 10, 2, 11, 3, 0]);
}

#[test]
fn the_mapper_that_used_less_cpu_time_lately_goes_first() {
    let [a, b] = two_mappers();
    let scheduler = Scheduler::new(1);
    for (mapper, events) in [(&a, 1), (&b, 10), (&a, 2), (&a, 3), (&b, 11)] {
        scheduler.push(job(mapper, events).0);
    }
    let mut order = Vec::new();
    for (mapper, milliseconds) in [(&a, 1), (&b, 100), (&a, 1), (&a, 1), (&b, 1)] {
        order.push(next_events(&scheduler));
        scheduler.give_back(mapper.id, turn(Duration::from_millis(milliseconds), 1));
    }
    assert_eq!(order, [1, 10, 2, 3, 11]);
}

#[test]
fn one_mapper_never_holds_all_threads() {
    let [a, b] = two_mappers();
    let scheduler = Scheduler::new(3);
    for events in 1..=3 {
        scheduler.push(job(&a, events).0);
    }
    let running = [take(&scheduler, Lane::Slow), take(&scheduler, Lane::Slow)];
    assert!(running.iter().all(Option::is_some));
    assert!(!scheduler.has_waiting(Lane::Slow));
    scheduler.push(job(&b, 10).0);
    assert_eq!(next_events(&scheduler), 10);
    scheduler.give_back(a.id, Turn::default());
    assert_eq!(next_events(&scheduler), 3);
}

#[test]
fn a_single_thread_serves_every_mapper() {
    let [a, _] = two_mappers();
    let scheduler = Scheduler::new(1);
    scheduler.push(job(&a, 1).0);
    scheduler.push(job(&a, 2).0);
    assert_eq!(next_events(&scheduler), 1);
    assert_eq!(next_events(&scheduler), 0);
    scheduler.give_back(a.id, Turn::default());
    assert_eq!(next_events(&scheduler), 2);
}

#[test]
fn an_unfinished_job_goes_on_before_its_mappers_later_ones() {
    let [a, b] = two_mappers();
    let scheduler = Scheduler::new(1);
    for (mapper, events) in [(&a, 1), (&a, 2), (&b, 10)] {
        scheduler.push(job(mapper, events).0);
    }
    let (unfinished, _) = take(&scheduler, Lane::Slow).unwrap();
    assert!(scheduler.has_waiting(Lane::Slow));
    let half = Turn {
        unfinished: Some(unfinished),
        ..turn(Duration::from_millis(2), 1)
    };
    scheduler.give_back(a.id, half);
    let mut order = Vec::new();
    for mapper in [&b, &a, &a] {
        order.push(next_events(&scheduler));
        scheduler.give_back(mapper.id, Turn::default());
    }
    assert_eq!(order, [10, 1, 2]);
}

#[test]
fn the_quick_lane_is_for_warm_mappers_with_short_calls() {
    let [a, _] = two_mappers();
    let scheduler = Scheduler::new(1);
    for events in 1..=6 {
        scheduler.push(job(&a, events).0);
    }
    let lane = || scheduler.state.lock().queues.get(&a.id).unwrap().waits_in;
    let slow = || drop(take(&scheduler, Lane::Slow).unwrap());
    let short = Duration::from_micros(100);
    slow();
    // A start takes long and is no call.
    let start = Turn {
        cpu: Duration::from_millis(200),
        starts_cpu: Duration::from_millis(199),
        ..warm_turn(&a, short, 7)
    };
    scheduler.give_back(a.id, start);
    assert_eq!(lane(), Some(Lane::Slow), "seven quick calls");
    slow();
    scheduler.give_back(a.id, warm_turn(&a, short, 1));
    assert_eq!(lane(), Some(Lane::Quick), "eight quick calls");
    let (_, instance) = take(&scheduler, Lane::Quick).unwrap();
    assert!(instance.is_some());
    scheduler.give_back(a.id, turn(short, 1));
    assert_eq!(lane(), Some(Lane::Slow), "its instance is worn");
    slow();
    scheduler.give_back(a.id, warm_turn(&a, short, 1));
    assert_eq!(lane(), Some(Lane::Quick), "it has another one");
    drop(take(&scheduler, Lane::Quick).unwrap());
    scheduler.give_back(a.id, warm_turn(&a, Duration::from_millis(20), 1));
    assert_eq!(lane(), Some(Lane::Slow), "a slow call");
}

/// A mapper that is in the quick lane and has three jobs left.
fn quick_mapper() -> (Arc<Mapper>, Scheduler) {
    let [a, _] = two_mappers();
    let scheduler = Scheduler::new(1);
    for events in 1..=4 {
        scheduler.push(job(&a, events).0);
    }
    drop(take(&scheduler, Lane::Slow).unwrap());
    scheduler.give_back(a.id, warm_turn(&a, Duration::ZERO, 100));
    (a, scheduler)
}

/// What the mapper has left is in the slow lane.
fn assert_slow(scheduler: &Scheduler) {
    assert!(take(scheduler, Lane::Quick).is_none());
    assert!(take(scheduler, Lane::Slow).is_some());
}

#[test]
fn a_long_call_among_short_ones_leaves_the_quick_lane() {
    let (a, scheduler) = quick_mapper();
    drop(take(&scheduler, Lane::Quick).unwrap());
    // Less than a millisecond in the mean.
    let one_long = Turn {
        longest_call: Duration::from_millis(9),
        ..warm_turn(&a, Duration::from_millis(9), 10)
    };
    scheduler.give_back(a.id, one_long);
    assert_slow(&scheduler);
}

#[test]
fn a_mapper_that_is_quick_between_its_faults_needs_ever_longer_rows() {
    let [a, _] = two_mappers();
    let scheduler = Scheduler::new(1);
    // Eight quick calls, then a loop: the old way back.
    for _ in 0..10 {
        scheduler.push(job(&a, 1).0);
        let lane = scheduler.state.lock().queues[&a.id].waits_in.unwrap();
        drop(take(&scheduler, lane).unwrap());
        scheduler.give_back(a.id, warm_turn(&a, Duration::ZERO, 8));
        scheduler.push(job(&a, 1).0);
        let lane = scheduler.state.lock().queues[&a.id].waits_in.unwrap();
        drop(take(&scheduler, lane).unwrap());
        let fault = Turn {
            is_faulty: true,
            ..turn(Duration::from_millis(10), 1)
        };
        scheduler.give_back(a.id, fault);
    }
    scheduler.push(job(&a, 1).0);
    drop(take(&scheduler, Lane::Slow).unwrap());
    scheduler.give_back(a.id, warm_turn(&a, Duration::ZERO, 100));
    scheduler.push(job(&a, 1).0);
    assert!(take(&scheduler, Lane::Quick).is_none(), "a hundred calls");
    drop(take(&scheduler, Lane::Slow).unwrap());
    scheduler.give_back(a.id, warm_turn(&a, Duration::ZERO, 4000));
    scheduler.push(job(&a, 1).0);
    assert!(take(&scheduler, Lane::Quick).is_some(), "four thousand");
}

#[tokio::test]
async fn the_threads_tell_of_a_long_call_among_many_short_ones() {
    let runtime = runtime(RuntimeConfig {
        call_deadline: Duration::from_secs(20),
        ..config()
    });
    // A counter in memory; it takes hundreds of milliseconds.
    let map = "(i32.store (i32.const 8192) (i32.const 100000000))
        (loop $again
          (i32.store (i32.const 8192) (i32.sub (i32.load (i32.const 8192)) (i32.const 1)))
          (br_if $again (i32.load (i32.const 8192))))
        (i32.const 1024)";
    let mapper = mapper(&runtime, map);
    let scheduler = mapper.scheduler.upgrade().unwrap();
    let lane = || scheduler.state.lock().queues[&mapper.id].lane();
    runtime.map(&mapper, vec![plain(); 100]).await;
    assert_eq!(lane(), Lane::Quick);
    // So many that the mean is short.
    let mut events = vec![plain(); 5000];
    events.push(magic());
    let verdicts = runtime.map(&mapper, events).await;
    assert!(verdicts.iter().all(Result::is_ok));
    assert_eq!(lane(), Lane::Slow);
}

#[test]
fn an_event_that_needs_the_memory_of_others_waits_in_the_slow_lane() {
    let (a, scheduler) = quick_mapper();
    let (mut unfinished, instance) = take(&scheduler, Lane::Quick).unwrap();
    unfinished.lacked_memory_at = Some(0);
    let half = Turn {
        unfinished: Some(unfinished),
        instance,
        ..turn(Duration::ZERO, 1)
    };
    scheduler.give_back(a.id, half);
    assert!(take(&scheduler, Lane::Quick).is_none());
    assert_eq!(next_events(&scheduler), 2);
}

#[test]
fn a_fault_leaves_the_quick_lane() {
    let (a, scheduler) = quick_mapper();
    drop(take(&scheduler, Lane::Quick).unwrap());
    let fault = Turn {
        is_faulty: true,
        ..warm_turn(&a, Duration::ZERO, 100)
    };
    scheduler.give_back(a.id, fault);
    assert_slow(&scheduler);
}

#[test]
fn a_mapper_that_was_quick_when_it_was_tried_begins_in_the_quick_lane() {
    let [tried, slow] = two_mappers();
    let scheduler = Scheduler::new(2);
    for (mapper, cpu) in [(&tried, 1), (&slow, 100)] {
        scheduler.note_trial(mapper.id, &turn(Duration::from_millis(cpu), 19));
        scheduler.push(job(mapper, 1).0);
    }
    assert!(take(&scheduler, Lane::Quick).is_none(), "none is warm");
    for mapper in [&tried, &slow] {
        // The second is more than one thread can work with.
        for _ in 0..2 {
            let Some(instance) = warm_turn(mapper, Duration::ZERO, 0).instance else {
                panic!("no instance");
            };
            scheduler.add_idle(mapper.id, instance);
        }
    }
    let (job, instance) = take(&scheduler, Lane::Quick).unwrap();
    assert!(job.mapper.id == tried.id && instance.is_some());
    assert!(scheduler.state.lock().queues[&tried.id].idle.is_empty());
    assert!(take(&scheduler, Lane::Quick).is_none());
    let (job, instance) = take(&scheduler, Lane::Slow).unwrap();
    assert!(job.mapper.id == slow.id && instance.is_some());
}

#[test]
fn the_calls_of_a_canary_are_the_first_of_a_row() {
    let runtime = runtime(config());
    let plugin = runtime
        .compile(&component(ACCEPT, "(i32.const 1024)"))
        .unwrap();
    // Beside one event of each type.
    for (samples, lane) in [(4, Lane::Slow), (5, Lane::Quick)] {
        let spec = MapperSpec {
            samples: vec![plain(); samples],
            ..spec()
        };
        let mapper = runtime.prepare(&plugin, spec).unwrap();
        let scheduler = mapper.scheduler.upgrade().unwrap();
        let now = || scheduler.state.lock().queues[&mapper.id].lane();
        assert_eq!(now(), Lane::Slow, "none is warm");
        runtime.warm_up(&mapper);
        assert_eq!(now(), lane, "{samples} samples");
    }
}
