//! What happens in a schedule, and when: all of it determined by the seed.

use std::fmt::{self, Write as _};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::connection::Wanted;
use super::player::{Ending, Part, Step};
use super::random::Random;
use crate::bare_client::Version;
use crate::proxy::{Direction, Fault};

/// Rules of a schedule, each with a group of its own.
pub(super) const RULES: usize = 2;
const CLIENTS_PER_RULE: usize = 20;
const STEPS_MAX: u64 = 12;
/// Connections of a client of a steady load, more than it lasts for.
const STEADY_STEPS: usize = 1000;
/// The longest pause and the longest connection of a steady load.
const STEADY_MS: u64 = 60;
/// From the first to the last action.
const LENGTH_MS: (u64, u64) = (3000, 4500);
const PLUGINS: [&str; 2] = ["apsaramq-status", "cloudevents"];
/// Points at which the host kills itself while it serves.
const FAIL_POINTS: [&str; 4] = [
    "before-append",
    "before-commit",
    "after-commit",
    "after-send",
];

static MADE: AtomicU64 = AtomicU64::new(0);

/// A server of RocketMQ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Server {
    NameServer,
    Broker,
}

/// One action of the operator or of the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// kill -9 and start.
    Kill,
    /// SIGTERM and start.
    Terminate,
    /// kill -9, and start a host that kills itself when it passes the point for the so-manieth time; then start again.
    KillAt {
        point: &'static str,
        pass: u64,
    },
    /// RocketMQ is not to be reached.
    Cut,
    Restore,
    /// kill -9 of the broker, and start.
    KillBroker,
    /// The network to a server of RocketMQ.
    Harm(Server, Direction, Fault),
    Heal,
    /// Another mapping.
    Swap {
        rule: usize,
        plugin: &'static str,
    },
    /// A new version of the default plugin, which rules follow.
    Push {
        number: u64,
    },
    Describe {
        rule: usize,
    },
    /// Another destination topic: a new incarnation.
    Move {
        rule: usize,
        topic: usize,
    },
    Disable {
        rule: usize,
    },
    Enable {
        rule: usize,
    },
    /// What is queued is delivered.
    Delete {
        rule: usize,
    },
    Create {
        rule: usize,
    },
}

impl Action {
    /// Whether a message may reach RocketMQ and the answer not the host.
    pub(super) fn is_network(&self) -> bool {
        match self {
            Self::Cut | Self::KillBroker => true,
            // A delay is far below the time that a send may take.
            Self::Harm(_, _, fault) => !matches!(fault, Fault::Delay(_)),
            _ => false,
        }
    }
}

/// What kind of trouble a schedule has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    /// Clients, rules, plugins, orderly restarts.
    None,
    Network,
    Kills,
    Both,
}

/// A whole schedule.
#[derive(Clone, Debug)]
pub(super) struct Schedule {
    pub(super) seed: u64,
    /// Different for each one of the process: a seed that is played again finds its topics empty.
    number: u64,
    /// CONNACK means that the event is durable.
    pub(super) is_after_commit: bool,
    pub(super) parts: Vec<Part>,
    /// Milliseconds from the start, ascending.
    pub(super) actions: Vec<(u64, Action)>,
    pub(super) length: Duration,
}

impl Schedule {
    pub(super) fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let length_ms = random.between(LENGTH_MS.0, LENGTH_MS.1);
        let mut for_clients = random.fork();
        let parts = (0..RULES * CLIENTS_PER_RULE)
            .map(|client| part(client, length_ms, &mut for_clients))
            .collect();
        Self {
            seed,
            number: MADE.fetch_add(1, Ordering::Relaxed),
            is_after_commit: seed.is_multiple_of(2),
            parts,
            actions: actions(length_ms, &mut random),
            length: Duration::from_millis(length_ms),
        }
    }

    /// Clients that come and go all the time, and nothing else.
    pub(super) fn of_steady_load(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let mut short = || Duration::from_millis(random.between(0, STEADY_MS));
        let mut draws = Random::new(seed).fork();
        let parts = (0..RULES * CLIENTS_PER_RULE).map(|client| Part {
            client_id: client_id(client),
            steps: (0..STEADY_STEPS)
                .map(|_| Step {
                    pause: short(),
                    wanted: wanted(&mut draws, 0),
                    hold: short(),
                    ending: ending(&mut draws),
                })
                .collect(),
            stays: client.is_multiple_of(3),
        });
        Self {
            seed,
            number: MADE.fetch_add(1, Ordering::Relaxed),
            is_after_commit: seed.is_multiple_of(2),
            parts: parts.collect(),
            actions: Vec::new(),
            length: Duration::ZERO,
        }
    }

    /// Topics that the rule has one after the other.
    pub(super) fn topics(&self, rule: usize) -> Vec<String> {
        let moves = self.actions.iter().filter(
            |(_, action)| matches!(action, Action::Move { rule: moved, .. } if *moved == rule),
        );
        (0..=moves.count())
            .map(|topic| self.topic(rule, topic))
            .collect()
    }

    pub(super) fn topic(&self, rule: usize, number: usize) -> String {
        format!("Chaos-{}-{}-{rule}-{number}", self.seed, self.number)
    }

    /// Whether a rule ends and begins again with the same topic.
    pub(super) fn recreates(&self, rule: usize) -> bool {
        let create = Action::Create { rule };
        self.actions.iter().any(|(_, action)| *action == create)
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let connack = if self.is_after_commit {
            "after-commit"
        } else {
            "before-commit"
        };
        write!(
            f,
            "seed {}: {} clients, connack {connack}",
            self.seed,
            self.parts.len()
        )?;
        for (at, action) in &self.actions {
            write!(f, "; {at} ms {action:?}")?;
        }
        f.write_char('.')
    }
}

/// The group of a rule.
pub(super) fn group(rule: usize) -> String {
    format!("GID_Chaos{rule}")
}

/// The id of a rule.
pub(super) fn rule_id(rule: usize) -> String {
    format!("chaos-{rule}")
}

fn client_id(client: usize) -> String {
    format!("{}@@@{client}", group(client % RULES))
}

fn part(client: usize, length_ms: u64, random: &mut Random) -> Part {
    let mut random = random.fork();
    let steps = random.between(3, STEPS_MAX);
    let mut part = Part {
        client_id: client_id(client),
        steps: Vec::new(),
        stays: random.in_hundred(30),
    };
    for _ in 0..steps {
        // A step takes its share of the time on average, so that everybody plays to the end.
        let share = length_ms / steps;
        let pause = random.between(0, share);
        part.steps.push(Step {
            pause: Duration::from_millis(pause),
            wanted: wanted(&mut random, 2),
            hold: Duration::from_millis(random.between(0, share)),
            ending: ending(&mut random),
        });
    }
    part
}

fn wanted(random: &mut Random, silent_in_hundred: u64) -> Wanted {
    Wanted {
        version: if random.in_hundred(50) {
            Version::V3
        } else {
            Version::V5
        },
        has_will: random.in_hundred(25),
        is_silent: random.in_hundred(silent_in_hundred),
    }
}

fn ending(random: &mut Random) -> Ending {
    match random.between(0, 9) {
        0..=3 => Ending::Disconnect,
        4..=6 => Ending::Lose {
            is_rude: random.in_hundred(30),
        },
        _ => Ending::TakeOver(wanted(random, 0)),
    }
}

fn actions(length_ms: u64, random: &mut Random) -> Vec<(u64, Action)> {
    let trouble = match random.between(0, 9) {
        0 | 1 => Trouble::None,
        2 | 3 => Trouble::Network,
        4 | 5 => Trouble::Kills,
        _ => Trouble::Both,
    };
    let mut actions = Vec::new();
    for rule in 0..RULES {
        of_rule(rule, length_ms, &mut random.fork(), &mut actions);
    }
    let mut for_pushes = random.fork();
    if for_pushes.in_hundred(40) {
        let number = for_pushes.next();
        actions.push((for_pushes.between(0, length_ms), Action::Push { number }));
    }
    let mut for_network = random.fork();
    if matches!(trouble, Trouble::Network | Trouble::Both) {
        of_network(length_ms, &mut for_network, &mut actions);
    }
    let mut for_host = random.fork();
    if matches!(trouble, Trouble::Kills | Trouble::Both) {
        for _ in 0..for_host.between(1, 2) {
            let action = kill(&mut for_host);
            actions.push((for_host.between(300, length_ms), action));
        }
    } else if for_host.in_hundred(40) {
        actions.push((for_host.between(300, length_ms), Action::Terminate));
    }
    // Stable: actions of the same time keep the order in which they were drawn.
    actions.sort_by_key(|(at, _)| *at);
    actions
}

/// Changes of one rule, one after the other.
fn of_rule(rule: usize, length_ms: u64, random: &mut Random, actions: &mut Vec<(u64, Action)>) {
    let (mut at, mut topic) = (random.between(200, 1500), 0);
    while at < length_ms {
        let mut then = at;
        match random.between(0, 9) {
            0..=2 => {
                let [default, other] = PLUGINS;
                let plugin = if random.in_hundred(50) {
                    default
                } else {
                    other
                };
                actions.push((at, Action::Swap { rule, plugin }));
            }
            3 | 4 => actions.push((at, Action::Describe { rule })),
            5 | 6 => {
                topic += 1;
                actions.push((at, Action::Move { rule, topic }));
            }
            7 | 8 => {
                then = at + random.between(50, 800);
                actions.push((at, Action::Disable { rule }));
                actions.push((then, Action::Enable { rule }));
            }
            _ => {
                then = at + random.between(0, 500);
                actions.push((at, Action::Delete { rule }));
                actions.push((then, Action::Create { rule }));
            }
        }
        at = then + random.between(400, 2500);
    }
}

/// Troubles of the network and of RocketMQ, one after the other.
fn of_network(length_ms: u64, random: &mut Random, actions: &mut Vec<(u64, Action)>) {
    let mut at = random.between(100, 1000);
    // A broker takes seconds to come back.
    let mut is_killed = false;
    while at < length_ms {
        let end = at + random.between(200, 1800);
        match random.between(0, 9) {
            0 => actions.extend([(at, Action::Cut), (end, Action::Restore)]),
            1 | 2 if !is_killed => {
                is_killed = true;
                actions.push((at, Action::KillBroker));
            }
            choice => actions.extend([(at, harm(choice, random)), (end, Action::Heal)]),
        }
        at = end + random.between(100, 1500);
    }
}

fn harm(choice: u64, random: &mut Random) -> Action {
    let direction = if random.in_hundred(50) {
        Direction::ToServer
    } else {
        Direction::ToClient
    };
    let server = if random.in_hundred(20) {
        Server::NameServer
    } else {
        Server::Broker
    };
    let fault = match choice {
        1..=3 => Fault::Stall,
        4 => Fault::Delay(Duration::from_millis(random.between(20, 300))),
        5 | 6 => Fault::Throttle(random.between(500, 20_000)),
        7 => Fault::CutFrame(usize::try_from(random.between(0, 300)).unwrap_or(0)),
        // The broker stores, the host never hears of it.
        _ => return Action::Harm(Server::Broker, Direction::ToClient, Fault::Drop),
    };
    Action::Harm(server, direction, fault)
}

fn kill(random: &mut Random) -> Action {
    match random.between(0, 9) {
        0..=4 => Action::Kill,
        5 => Action::Terminate,
        choice => {
            let index = usize::try_from(choice).unwrap_or(0) % FAIL_POINTS.len();
            Action::KillAt {
                point: FAIL_POINTS.get(index).copied().unwrap_or("after-commit"),
                pass: random.between(1, 40),
            }
        }
    }
}

#[cfg(test)]
mod tests;
