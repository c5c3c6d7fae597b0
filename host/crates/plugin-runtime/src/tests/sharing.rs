//! How mappers share the threads.

use std::num::NonZeroUsize;
use std::sync::Arc;

use domain::StatusEvent;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::fixture::{PAGE, config, magic, mapper, plain, runtime};
use crate::{Mapper, PluginRuntime, RuntimeConfig};

const LOOP: &str = "(loop (br 0)) unreachable";

#[tokio::test]
async fn a_slow_mapper_lets_others_in_between() {
    let runtime = runtime(config());
    let slow = mapper(&runtime, LOOP);
    let quick = mapper(&runtime, LOOP);
    let mut calls = JoinSet::new();
    // Tasks begin in the order in which they are spawned, so the slow mapper is in line first.
    calls.spawn(call(&runtime, &slow, vec![magic(); 20]));
    calls.spawn(call(&runtime, &quick, vec![plain()]));
    let mut done = Vec::new();
    while let Some(events) = calls.join_next().await {
        done.push(events.unwrap());
    }
    assert_eq!(done, [1, 20]);
}

#[tokio::test]
async fn plugins_that_loop_do_not_hold_up_a_quick_one() {
    let runtime = runtime(config());
    let quick = mapper(&runtime, "unreachable");
    // Warm, and known to be quick.
    runtime.map(&quick, vec![plain(); 20]).await;
    let mut calls = JoinSet::new();
    for _ in 0..20 {
        let looping = mapper(&runtime, LOOP);
        calls.spawn(call(&runtime, &looping, vec![magic(); 20]));
    }
    for _ in 0..50 {
        assert_eq!(runtime.map(&quick, vec![plain()]).await.len(), 1);
    }
    // Any of the others needs twenty deadlines of a call, and they share few threads.
    assert!(calls.try_join_next().is_none());
}

/// Maps and tells how many events there were.
fn call(
    runtime: &Arc<PluginRuntime>,
    mapper: &Arc<Mapper>,
    events: Vec<Arc<StatusEvent>>,
) -> impl Future<Output = usize> + Send + 'static {
    let (runtime, mapper) = (Arc::clone(runtime), Arc::clone(mapper));
    async move { runtime.map(&mapper, events).await.len() }
}

#[tokio::test]
async fn slow_threads_give_way_to_quick_ones() {
    let _runtime = runtime(config());
    let own = rustix::process::getpriority_process(None).unwrap();
    let started = Instant::now();
    loop {
        let nice = thread_nice();
        let of = |kind: &str| -> Vec<i32> {
            let named = nice.iter().filter(|(name, _)| name.starts_with(kind));
            named.map(|(_, nice)| *nice).collect()
        };
        // Other tests have such threads, too. One that has just begun may not have got to it.
        let quick: Vec<i32> = (0..10)
            .flat_map(|digit| of(&format!("mapper-{digit}")))
            .collect();
        let is_so = of("mapper-slow-").iter().any(|it| *it > own)
            && !quick.is_empty()
            && quick.iter().all(|it| *it == own);
        if is_so {
            return;
        }
        assert!(started.elapsed().as_secs() < 20, "{nice:?}");
        tokio::task::yield_now().await;
    }
}

/// The threads of this process by name, and how nice each is.
fn thread_nice() -> Vec<(String, i32)> {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let read = |task: std::fs::DirEntry| {
        let stat = std::fs::read_to_string(task.path().join("stat")).ok()?;
        let (head, fields) = stat.rsplit_once(") ")?;
        let (_, name) = head.split_once('(')?;
        // The third field of all is the first here, the nineteenth is wanted.
        let nice = fields.split(' ').nth(16)?.parse().ok()?;
        Some((name.to_owned(), nice))
    };
    tasks.filter_map(|task| read(task.ok()?)).collect()
}

#[tokio::test]
async fn many_callers_of_one_mapper_are_all_served() {
    let mapper_threads = NonZeroUsize::new(3).unwrap();
    let runtime = runtime(RuntimeConfig {
        mapper_threads,
        ..config()
    });
    let mapper = mapper(&runtime, "unreachable");
    let mut calls = JoinSet::new();
    for _ in 0..200 {
        calls.spawn(call(&runtime, &mapper, vec![plain(); 10]));
    }
    let mut served = 0;
    while let Some(events) = calls.join_next().await {
        served += events.unwrap();
    }
    assert_eq!(served, 2000);
    let usage = mapper.usage();
    assert_eq!((usage.calls, usage.faults), (2000, 0));
}

#[tokio::test]
async fn a_caller_that_gives_up_frees_its_place() {
    let runtime = runtime(config());
    let slow = mapper(&runtime, LOOP);
    for _ in 0..100 {
        // Dropped after one poll: the job is in the queue by then.
        let mut call = Box::pin(runtime.map(&slow, vec![magic(); 1000]));
        assert!(poll_once(call.as_mut()).is_none());
    }
    assert_eq!(runtime.map(&slow, vec![plain()]).await.len(), 1);
    assert!(slow.usage().calls < 1000);
}

/// Polls once.
fn poll_once<T>(future: std::pin::Pin<&mut impl Future<Output = T>>) -> Option<T> {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match future.poll(&mut context) {
        std::task::Poll::Ready(value) => Some(value),
        std::task::Poll::Pending => None,
    }
}

#[tokio::test]
async fn the_instances_of_a_dropped_mapper_give_their_memory_back() {
    let runtime = runtime(config());
    let mapper = mapper(&runtime, "unreachable");
    let core = Arc::clone(&mapper.core);
    runtime.map(&mapper, vec![plain()]).await;
    assert_eq!(core.budget.used(), PAGE);
    drop(mapper);
    // No other job comes that would wake the thread.
    let started = Instant::now();
    while core.budget.used() > 0 {
        assert!(started.elapsed().as_secs() < 20, "the instance still lives");
        tokio::task::yield_now().await;
    }
}

#[test]
fn a_runtime_ends_with_jobs_in_its_queues() {
    let runtime = runtime(config());
    let slow = mapper(&runtime, LOOP);
    let mut call = Box::pin(runtime.map(&slow, vec![magic(); 1000]));
    assert!(poll_once(call.as_mut()).is_none());
    drop(call);
    drop(runtime);
    assert!(slow.usage().calls < 1000);
}
