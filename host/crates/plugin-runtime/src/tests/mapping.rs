//! Verdicts and faults of events that come over the mapper threads.

use std::sync::Arc;

use domain::{CheckMessageError, Mapping, OutboundMessage, RejectEvent};

use super::fixture::{ACCEPT, PAGE, config, magic, mapper, plain, runtime, spec, text};
use crate::{Mapper, MapperFault, MapperInstance, MemoryScope, RuntimeConfig};

type Verdict = Result<Mapping, MapperFault>;

/// What becomes of a magic event; the plain events around it must not suffer.
async fn verdict(map: &str) -> Verdict {
    let runtime = runtime(config());
    let mapper = mapper(&runtime, map);
    let mut verdicts = runtime.map(&mapper, vec![plain(), magic(), plain()]).await;
    assert_eq!(verdicts.len(), 3);
    assert_eq!(verdicts[0], delivered());
    assert_eq!(verdicts[2], delivered());
    verdicts.remove(1)
}

fn delivered() -> Verdict {
    let message = OutboundMessage {
        tag: None,
        keys: Vec::new(),
        properties: Vec::new(),
        body: b"x".to_vec(),
    };
    Ok(Mapping::Deliver(vec![message]))
}

#[tokio::test]
async fn no_messages_skip_the_event() {
    assert_eq!(
        verdict("(i32.const 1200)").await,
        Ok(Mapping::Deliver(Vec::new()))
    );
}

#[tokio::test]
async fn a_rejection_is_a_verdict_and_no_fault() {
    let rejected = Mapping::Reject(RejectEvent::Rejected("x".to_owned()));
    assert_eq!(verdict("(i32.const 1100)").await, Ok(rejected));
    let retry = Mapping::Reject(RejectEvent::Retry("x".to_owned()));
    assert_eq!(verdict("(i32.const 1120)").await, Ok(retry));
}

#[tokio::test]
async fn a_trap_is_reported_with_its_reason() {
    let fault = verdict("unreachable").await.unwrap_err();
    assert_eq!(fault.kind(), "trap");
    assert!(!fault.may_be_load());
    assert!(fault.to_string().contains("unreachable"), "{fault}");
}

#[tokio::test]
async fn an_endless_loop_is_stopped_at_its_deadline() {
    let started = tokio::time::Instant::now();
    let fault = verdict("(loop (br 0)) unreachable").await.unwrap_err();
    // The wall-clock cap is 100 ms; the rest is the compiler's time on a busy machine.
    assert!(started.elapsed().as_secs() < 20);
    assert!(
        matches!(
            fault,
            MapperFault::Deadline {
                deadline_ms: 10,
                ..
            }
        ),
        "{fault}"
    );
}

#[tokio::test]
async fn memory_over_the_cap_stops_the_call() {
    let fault = verdict("(drop (memory.grow (i32.const 16))) (i32.const 1024)")
        .await
        .unwrap_err();
    let scope = MemoryScope::Instance;
    assert_eq!(
        fault,
        MapperFault::Memory {
            bytes: 17 * PAGE,
            bytes_max: 16 * PAGE,
            scope
        }
    );
}

#[tokio::test]
async fn too_many_messages_are_too_much_output() {
    let fault = verdict("(i32.const 1140)").await.unwrap_err();
    assert_eq!(fault.kind(), "output_too_large");
    assert!(fault.to_string().contains("17 messages"), "{fault}");
}

#[tokio::test]
async fn a_body_over_the_limit_is_too_much_output() {
    // 4096 holds a message of zeros; its body's length is at 4096 + 32.
    let fault = verdict("(i32.store (i32.const 4128) (i32.const 1001)) (i32.const 1160)").await;
    assert!(fault.unwrap_err().to_string().contains("1001 bytes"));
}

#[tokio::test]
async fn a_body_far_over_the_limit_is_not_even_copied() {
    let map = "(drop (memory.grow (i32.const 8)))
               (i32.store (i32.const 4128) (i32.const 300000)) (i32.const 1160)";
    assert_eq!(verdict(map).await.unwrap_err().kind(), "output_too_large");
}

#[tokio::test]
async fn an_empty_body_is_an_illegal_message() {
    let fault = verdict("(i32.const 1160)").await.unwrap_err();
    assert_eq!(
        fault,
        MapperFault::IllegalMessage(CheckMessageError::EmptyBody)
    );
}

#[tokio::test]
async fn an_instance_whose_memory_grows_is_renewed_in_time() {
    let runtime = runtime(config());
    let mapper = mapper(
        &runtime,
        "(drop (memory.grow (i32.const 1))) (i32.const 1024)",
    );
    let verdicts = runtime.map(&mapper, vec![magic(); 100]).await;
    assert!(verdicts.iter().all(|verdict| *verdict == delivered()));
    let instances = mapper.usage().instances;
    assert!((5..=50).contains(&instances), "{instances}");
}

#[tokio::test]
async fn waiting_takes_no_time() {
    assert_eq!(
        verdict("(call $sleep-an-hour) (i32.const 1024)").await,
        delivered()
    );
}

#[tokio::test]
async fn clock_and_random_are_a_function_of_the_event() {
    // 666 ms: no second, 666,000,000 ns.
    let map = "(call $now (i32.const 8192))
        (if (i64.ne (i64.load (i32.const 8192)) (i64.const 0)) (then unreachable))
        (if (i32.ne (i32.load (i32.const 8200)) (i32.const 666000000)) (then unreachable))
        (if (i64.ne (call $random) (i64.const 0x5a5a5a5a5a5a5a5a)) (then unreachable))
        (i32.const 1024)";
    assert_eq!(verdict(map).await, delivered());
}

#[tokio::test]
async fn usage_and_counters_are_kept_per_mapper() {
    let runtime = runtime(config());
    let counting = mapper(&runtime, "(call $add) (i32.const 1024)");
    let other = mapper(&runtime, "unreachable");
    let verdicts = runtime.map(&counting, vec![magic(); 3]).await;
    assert_eq!(verdicts, vec![delivered(); 3]);
    runtime.map(&other, vec![magic(), plain()]).await;
    let usage = counting.usage();
    assert_eq!((usage.calls, usage.faults, usage.instances), (3, 0, 1));
    assert_eq!(usage.counters, [("x".to_owned(), 3)]);
    let usage = other.usage();
    assert_eq!((usage.calls, usage.faults, usage.instances), (2, 1, 2));
    assert!(usage.counters.is_empty());
}

#[tokio::test]
async fn the_first_events_of_a_warm_mapper_start_no_instance() {
    let runtime = runtime(config());
    let mapper = mapper(&runtime, "(call $add) (i32.const 1024)");
    for _ in 0..2 {
        runtime.warm_up(&mapper);
        let usage = mapper.usage();
        assert_eq!((usage.calls, usage.instances), (0, 1));
        assert!(usage.counters.is_empty());
    }
    let verdicts = runtime.map(&mapper, vec![magic(); 3]).await;
    assert_eq!(verdicts, vec![delivered(); 3]);
    let usage = mapper.usage();
    assert_eq!((usage.calls, usage.instances), (3, 1));
}

#[tokio::test]
async fn no_events_need_no_thread() {
    let runtime = runtime(config());
    let mapper = mapper(&runtime, "unreachable");
    assert_eq!(runtime.map(&mapper, Vec::new()).await, Vec::new());
    assert_eq!(mapper.usage().instances, 0);
}

#[tokio::test]
async fn a_full_host_takes_the_memory_of_warm_instances() {
    // Room for two instances of one page: the canary of a mapper and one warm instance.
    let runtime = runtime(RuntimeConfig {
        memory_total_bytes_max: 2 * PAGE,
        ..config()
    });
    let mappers = [
        mapper(&runtime, "unreachable"),
        mapper(&runtime, "unreachable"),
    ];
    let third = mapper(&runtime, "unreachable");
    for mapper in mappers.iter().chain([&third]) {
        assert_eq!(runtime.map(mapper, vec![plain()]).await, [delivered()]);
    }
}

/// As few as there can be: memory for a thousand instances of one page, and places for these.
const PLACES: usize = 128;

#[tokio::test]
async fn idle_instances_make_room_when_no_place_is_left() {
    let runtime = runtime(config());
    let more = PLACES + 10;
    let mappers: Vec<_> = (0..more).map(|_| mapper(&runtime, "unreachable")).collect();
    for mapper in mappers.iter().chain(&mappers) {
        assert_eq!(runtime.map(mapper, vec![plain()]).await, [delivered()]);
    }
    let started: u64 = mappers.iter().map(|it| it.usage().instances).sum();
    // Some had to make room, and nobody failed for it.
    assert!(usize::try_from(started).unwrap() > more, "{started}");
}

/// Instances of `mapper`, until there is no place for one; and what is said then.
fn fill(mapper: &Arc<Mapper>) -> (Vec<MapperInstance>, MapperFault) {
    let mut instances = Vec::new();
    loop {
        match MapperInstance::new(mapper) {
            Ok(instance) => instances.push(instance),
            Err(fault) => return (instances, fault),
        }
    }
}

#[tokio::test]
async fn more_instances_than_places_lack_one() {
    let runtime = runtime(config());
    let mapper = mapper(&runtime, "unreachable");
    let (mut instances, fault) = fill(&mapper);
    let places = u32::try_from(PLACES).unwrap();
    assert_eq!(
        (instances.len(), &fault),
        (PLACES, &MapperFault::NoPlace { places })
    );
    assert!(fault.may_be_load() && fault.kind() == "memory");
    let said = fault.to_string();
    assert!(
        said.contains("128 memories at once") && said.contains("up to 8192"),
        "{said}"
    );
    drop(instances.pop());
    assert_eq!(
        MapperInstance::new(&mapper).unwrap().map(&plain()),
        delivered()
    );
}

#[tokio::test]
async fn tables_have_places_as_well() {
    let runtime = runtime(config());
    let tables = "(table 0 funcref) ".repeat(20);
    let many = text(ACCEPT, "unreachable").replace(
        "(core module $libc",
        &format!("(core module $libc {tables}"),
    );
    let plugin = runtime.compile(&wat::parse_str(many).unwrap()).unwrap();
    let (instances, fault) = fill(&runtime.prepare(&plugin, spec()).unwrap());
    assert_eq!(instances.len(), 3 * PLACES / 20);
    assert!(matches!(fault, MapperFault::NoPlace { .. }), "{fault}");
}

/// Another mapper's idle instance holds most of the host's memory when one that was called for `warmed` events grows.
async fn growing_beside_an_idle_giant(warmed: usize) {
    let runtime = runtime(RuntimeConfig {
        memory_total_bytes_max: 8 * PAGE,
        ..config()
    });
    let growing = |pages| format!("(drop (memory.grow (i32.const {pages}))) (i32.const 1024)");
    let idle = mapper(&runtime, &growing(4));
    let growing = mapper(&runtime, &growing(3));
    let mut verdicts = runtime.map(&idle, vec![magic()]).await;
    verdicts.append(&mut runtime.map(&growing, vec![plain(); warmed]).await);
    verdicts.append(&mut runtime.map(&growing, vec![magic(), plain()]).await);
    verdicts.append(&mut runtime.map(&idle, vec![plain()]).await);
    assert_eq!(verdicts, vec![delivered(); warmed + 4]);
    // The event of which nobody saw that it failed counts once.
    let usage = growing.usage();
    assert_eq!(
        (usage.calls, usage.faults, usage.instances),
        (u64::try_from(warmed).unwrap() + 2, 0, 2)
    );
}

#[tokio::test]
async fn a_call_that_grows_gets_the_memory_of_idle_instances() {
    growing_beside_an_idle_giant(0).await;
}

#[tokio::test]
async fn a_call_that_grows_in_the_quick_lane_gets_the_memory_of_idle_instances() {
    growing_beside_an_idle_giant(20).await;
}

#[tokio::test]
async fn a_growth_that_no_idle_instance_makes_possible_is_tried_twice_in_each_lane() {
    let runtime = runtime(RuntimeConfig {
        memory_total_bytes_max: 2 * PAGE,
        ..config()
    });
    let mapper = mapper(
        &runtime,
        "(call $add) (drop (memory.grow (i32.const 2))) (i32.const 1024)",
    );
    for tries in [2, 4] {
        let verdicts = runtime.map(&mapper, vec![magic(), plain()]).await;
        assert!(verdicts[0].as_ref().unwrap_err().may_be_load());
        assert_eq!(verdicts[1], delivered());
        assert_eq!(mapper.usage().counters, [("x".to_owned(), tries)]);
        // Back into the quick lane.
        runtime.map(&mapper, vec![plain(); 100]).await;
    }
    assert_eq!(mapper.usage().faults, 2);
}

#[tokio::test]
async fn a_growth_that_the_host_cannot_give_may_be_load() {
    let runtime = runtime(RuntimeConfig {
        memory_total_bytes_max: 2 * PAGE,
        ..config()
    });
    let mapper = mapper(
        &runtime,
        "(drop (memory.grow (i32.const 2))) (i32.const 1024)",
    );
    let fault = runtime
        .map(&mapper, vec![magic()])
        .await
        .remove(0)
        .unwrap_err();
    assert!(
        matches!(
            fault,
            MapperFault::Memory {
                scope: MemoryScope::Host,
                ..
            }
        ),
        "{fault}"
    );
    assert!(fault.may_be_load());
}
