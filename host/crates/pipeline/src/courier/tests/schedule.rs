//! Random changes of queues, random answers: nothing is lost, and the first occurrences of each
//! client are in order as long as the rule asks for it.

use domain::Ordering;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::courier::rig::instance::{Answer, queue};
use crate::courier::rig::{Rig, Setting, client};

#[derive(Clone, Debug)]
enum Step {
    Connect {
        client: usize,
        times: usize,
    },
    /// Which of six queues are in the route; the first always is.
    List(u8),
    Answers(Vec<Answer>),
    Commit,
    Wait,
}

fn step() -> impl Strategy<Value = Step> {
    let answer = prop_oneof![
        4 => Just(Answer::Store),
        2 => Just(Answer::Fail),
        2 => Just(Answer::StoreUnseen),
        1 => Just(Answer::Busy),
        1 => Just(Answer::Never),
    ];
    prop_oneof![
        6 => (0..30_usize, 1..6_usize).prop_map(|(client, times)| Step::Connect { client, times }),
        2 => any::<u8>().prop_map(Step::List),
        2 => proptest::collection::vec(answer, 1..8).prop_map(Step::Answers),
        1 => Just(Step::Commit),
        1 => Just(Step::Wait),
    ]
}

async fn run(steps: Vec<Step>, ordering: Ordering) {
    let all: Vec<_> = (0..6)
        .map(|number| queue(if number % 2 == 0 { "a" } else { "b" }, number / 2))
        .collect();
    let setting = Setting {
        ordering,
        ..Setting::default()
    };
    let rig = Rig::new(setting, &all[..2]);
    rig.start(1, &[]);
    for step in steps {
        match step {
            Step::Connect {
                client: number,
                times,
            } => {
                for _ in 0..times {
                    rig.connect(1, &client(number));
                }
            }
            Step::List(bits) => {
                let is_in = |number: usize| number == 0 || bits & (1 << number) != 0;
                let listed: Vec<_> = all
                    .iter()
                    .enumerate()
                    .filter(|(number, _)| is_in(*number))
                    .map(|(_, queue)| queue.clone())
                    .collect();
                rig.fake.list(&listed);
            }
            Step::Answers(answers) => rig.fake.answer(&answers),
            Step::Commit => rig.committed().await,
            Step::Wait => tokio::time::sleep(std::time::Duration::from_millis(15)).await,
        }
    }
    rig.fake.list(&all);
    rig.drained(1).await;
    if ordering == Ordering::Strict {
        rig.assert_in_order();
    }
    let sent: usize = rig.sent.lock().values().map(Vec::len).sum();
    assert_eq!(rig.fake.firsts().len(), sent, "nothing is lost");
    assert_eq!(rig.fake.overlaps(), 0, "one batch in flight per queue");
    rig.end().await;
}

fn check(ordering: Ordering) {
    let config = Config {
        cases: 24,
        failure_persistence: None,
        max_shrink_iters: 20,
        ..Config::default()
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let steps = proptest::collection::vec(step(), 10..60);
    TestRunner::new(config)
        .run(&steps, |steps| {
            runtime.block_on(run(steps, ordering));
            Ok(())
        })
        .unwrap();
}

#[test]
fn strict_keeps_the_order_whatever_happens_to_the_queues() {
    check(Ordering::Strict);
}

#[test]
fn available_loses_nothing_whatever_happens_to_the_queues() {
    check(Ordering::Available);
}
