//! Who does the actions of a schedule: to the host, its rules and its network.
//!
//! A host that was told to kill itself dies at any moment, also in the middle of a request. So the operator looks after it
//! all the time, starts it again, and repeats what it was asked for.

use std::os::unix::process::ExitStatusExt;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::Signal;
use serde_json::{Value, json};

use super::backend::Backend;
use super::schedule::{Action, RULES, Schedule, Server, group, rule_id};
use super::truth::{Matching, Span};
use crate::admin::{Admin, Reply, status_rule};
use crate::eventually::now_ms;
use crate::host::{HostSpec, TestHost};
use crate::proxy::RocketmqProxy;

/// The instance of the rules, as the harness names one outside the host.
pub(super) const INSTANCE: &str = "java";
/// Environment variable of the host that names a fail point and a pass.
pub(super) const FAIL_POINT: &str = "RULEMILL_FAIL_POINT";

/// What a start says whose host killed itself.
const ENDED_BY_KILL: &str = "the host ended: signal: 9";
const STOP: Duration = Duration::from_secs(20);
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// Tries of one request while hosts die.
const TRIES: usize = 5;
const QUEUES: u32 = 4;

/// The host under test with everything around it.
#[derive(Debug)]
pub(super) struct Operator {
    pub(super) host: TestHost,
    pub(super) proxy: RocketmqProxy,
    pub(super) matching: Vec<Matching>,
    /// When the host may have died.
    pub(super) kills: Vec<Span>,
    /// When the host was stopped in order: its own closing may be faster than it reads a DISCONNECT.
    pub(super) stops: Vec<Span>,
    /// When something began that may repeat messages.
    pub(super) trouble_since: Option<u64>,
    topics: Vec<String>,
    /// The default plugin.
    component: Vec<u8>,
    is_cut: bool,
    /// Since when a host runs that will kill itself.
    armed_since: Option<u64>,
}

impl Operator {
    /// A host behind a proxy to `backend`, with all rules and topics of the schedule.
    pub(super) fn start(schedule: &Schedule, backend: &Backend) -> Result<Self> {
        let proxy = RocketmqProxy::start(&backend.name_server, &backend.broker)?;
        let connack = if schedule.is_after_commit {
            "after-commit"
        } else {
            "before-commit"
        };
        let host = TestHost::start(HostSpec {
            java_name_server: Some(proxy.name_server()),
            embedded: false,
            extra: format!(
                "send-timeout = \"1s\"\n[delivery]\nshutdown-grace = \"1s\"\nconnack = \"{connack}\"\n"
            ),
            ..HostSpec::default()
        })?;
        let mut operator = Self {
            host,
            proxy,
            matching: Vec::new(),
            kills: Vec::new(),
            stops: Vec::new(),
            trouble_since: None,
            topics: (0..RULES).map(|rule| schedule.topic(rule, 0)).collect(),
            component: backend.component.clone(),
            is_cut: false,
            armed_since: None,
        };
        let admin = operator.host.admin()?;
        for rule in 0..RULES {
            for topic in schedule.topics(rule) {
                let path = format!("/v1/rocketmq-instances/{INSTANCE}/topics");
                let made = admin.post(&path, &json!({ "topic": topic, "queues": QUEUES }))?;
                ensure!(matches!(made.status, 200 | 201), "no topic: {}", made.text);
            }
            admin.create_rule(&operator.rule(rule))?;
            let mut matching = Matching::default();
            matching.known(true);
            operator.matching.push(matching);
        }
        Ok(operator)
    }

    /// Odd rules would rather go on than keep order.
    pub(super) fn is_strict(rule: usize) -> bool {
        rule.is_multiple_of(2)
    }

    fn rule(&self, rule: usize) -> Value {
        let topic = self.topics.get(rule).map_or("", String::as_str);
        let mut asked = status_rule(&rule_id(rule), &group(rule), INSTANCE, topic);
        let ordering = if Self::is_strict(rule) {
            "strict"
        } else {
            "available"
        };
        set(&mut asked, "/destination", "ordering", ordering.into());
        asked
    }

    /// Does all actions, each at its time or as soon as the ones before it are done.
    pub(super) fn perform(&mut self, schedule: &Schedule, backend: &mut Backend) -> Result<()> {
        let start = Instant::now();
        for (at, action) in &schedule.actions {
            self.watch_until(start + Duration::from_millis(*at))?;
            self.act(schedule, action, backend)
                .with_context(|| format!("action {action:?}"))?;
        }
        self.watch_until(start + schedule.length)
    }

    /// Everything works again, and the host runs without an order to kill itself.
    pub(super) fn restore(&mut self) -> Result<()> {
        self.proxy.heal();
        if self.is_cut {
            self.proxy.restore()?;
            self.is_cut = false;
        }
        if self.armed_since.is_some() && self.host.is_running()? {
            self.kill()?;
            return self.host.restart();
        }
        self.revive()
    }

    /// kill -9, and starts a host that kills itself when it passes `point` for the so-manieth time.
    pub(super) fn kill_at(&mut self, point: &str, pass: u64) -> Result<()> {
        self.kill()?;
        let order = (FAIL_POINT.to_owned(), format!("{point}:{pass}"));
        self.host.spec_mut().environment = vec![order];
        self.armed_since = Some(now_ms());
        match self.host.restart() {
            // Already on its way up it passed the point often enough.
            Err(error) if format!("{error:#}").contains(ENDED_BY_KILL) => self.revive(),
            other => other,
        }
    }

    /// Waits until the host killed itself as it was told, and has a new one.
    pub(super) fn await_death(&mut self, deadline: Duration) -> Result<()> {
        let end = Instant::now() + deadline;
        while self.armed_since.is_some() {
            ensure!(
                Instant::now() < end,
                "the host lives: it was built without the fail points (feature fail-points, in builds without debug \
                 assertions), or it does not pass this one"
            );
            self.watch_until(Instant::now() + LOOK_EVERY)?;
        }
        Ok(())
    }

    pub(super) fn watch_until(&mut self, end: Instant) -> Result<()> {
        loop {
            self.revive()?;
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            std::thread::sleep(left.min(LOOK_EVERY));
        }
    }

    /// Starts a host again that killed itself as it was told.
    fn revive(&mut self) -> Result<()> {
        if self.host.is_running()? {
            return Ok(());
        }
        let Some(from) = self.armed_since.take() else {
            bail!("the host ended by itself");
        };
        if let Some(status) = self.host.exit_status()? {
            ensure!(
                status.signal() == Some(Signal::KILL.as_raw()),
                "the host did not kill itself, it ended with {status}"
            );
        }
        self.kills.push(Span { from, to: now_ms() });
        self.host.spec_mut().environment.clear();
        self.host.restart()
    }

    fn kill(&mut self) -> Result<()> {
        let from = self.armed_since.take().unwrap_or_else(now_ms);
        self.trouble();
        self.host.kill()?;
        self.kills.push(Span { from, to: now_ms() });
        self.host.spec_mut().environment.clear();
        Ok(())
    }

    fn trouble(&mut self) {
        self.trouble_since.get_or_insert_with(now_ms);
    }

    fn act(&mut self, schedule: &Schedule, action: &Action, backend: &mut Backend) -> Result<()> {
        if action.is_network() {
            self.trouble();
        }
        match action {
            Action::Kill => {
                self.kill()?;
                self.host.restart()
            }
            Action::Terminate => {
                if self.armed_since.is_some() {
                    // It may die before it ends in order.
                    return Ok(());
                }
                let from = now_ms();
                self.host.terminate(STOP)?;
                self.stops.push(Span { from, to: now_ms() });
                self.host.restart()
            }
            Action::KillAt { point, pass } => self.kill_at(point, *pass),
            Action::Cut => {
                self.proxy.cut();
                self.is_cut = true;
                Ok(())
            }
            Action::Restore => {
                self.is_cut = false;
                self.proxy.restore()
            }
            Action::KillBroker => backend.kill_broker(),
            Action::Harm(server, direction, fault) => {
                let link = match server {
                    Server::NameServer => self.proxy.name_server_link(),
                    Server::Broker => self.proxy.broker_link(),
                };
                link.harm(*direction, *fault);
                Ok(())
            }
            Action::Heal => {
                self.proxy.heal();
                Ok(())
            }
            Action::Push { number } => self.push(*number),
            Action::Swap { rule, plugin } => self.edit(*rule, |it| {
                set(it, "", "mapping", json!({ "plugin": plugin }));
            }),
            Action::Describe { rule } => self.edit(*rule, |it| {
                set(it, "", "description", format!("at {}", now_ms()).into());
            }),
            Action::Move { rule, topic } => {
                let topic = schedule.topic(*rule, *topic);
                if let Some(current) = self.topics.get_mut(*rule) {
                    current.clone_from(&topic);
                }
                self.edit(*rule, |it| {
                    set(it, "/destination", "topic", topic.as_str().into());
                })
            }
            Action::Disable { rule } | Action::Delete { rule } => self.switch(*rule, action, false),
            Action::Enable { rule } | Action::Create { rule } => self.switch(*rule, action, true),
        }
    }

    /// A request that ends or begins the rule's matching.
    fn switch(&mut self, rule: usize, action: &Action, is_on: bool) -> Result<()> {
        if let Some(matching) = self.matching.get_mut(rule) {
            matching.unknown();
        }
        let (path, asked) = (format!("/v1/rules/{}", rule_id(rule)), self.rule(rule));
        // What a host did before it died need not be done again.
        let (done, done_before) = match action {
            Action::Delete { .. } => (204, 404),
            Action::Create { .. } => (201, 409),
            _ => (200, 200),
        };
        let mut tries = 0;
        self.ask(|admin| {
            tries += 1;
            let reply = match action {
                Action::Delete { .. } => admin.delete(&format!("{path}?pending=deliver"))?,
                Action::Create { .. } => admin.post("/v1/rules?force=true", &asked)?,
                Action::Disable { .. } => admin.post(&format!("{path}/disable"), &Value::Null)?,
                _ => admin.post(&format!("{path}/enable"), &Value::Null)?,
            };
            let is_done = reply.status == done || (tries > 1 && reply.status == done_before);
            Ok((is_done, reply))
        })?;
        if let Some(matching) = self.matching.get_mut(rule) {
            matching.known(is_on);
        }
        Ok(())
    }

    fn edit(&mut self, rule: usize, change: impl Fn(&mut Value)) -> Result<()> {
        let path = format!("/v1/rules/{}", rule_id(rule));
        self.ask(|admin| {
            let mut current = admin.get(&path)?;
            if current.status != 200 {
                return Ok((false, current));
            }
            change(&mut current.json);
            let forced = format!("{path}?force=true");
            let reply = admin.put(&forced, current.etag.as_deref(), &current.json)?;
            Ok((reply.status == 200, reply))
        })
    }

    fn push(&mut self, number: u64) -> Result<()> {
        let mut component = self.component.clone();
        // A custom section with an empty name makes it another component of the same meaning.
        component.extend([0, 9, 0]);
        component.extend(number.to_le_bytes());
        self.ask(|admin| {
            let reply = admin.upload("apsaramq-status", &component)?;
            Ok((matches!(reply.status, 200 | 201), reply))
        })
    }

    /// Asks until it is done; a host that dies meanwhile as it was told is started again.
    fn ask(&mut self, mut request: impl FnMut(&Admin) -> Result<(bool, Reply)>) -> Result<()> {
        for _ in 0..TRIES {
            let admin = self.host.admin()?;
            match request(&admin) {
                Ok((true, _)) => return Ok(()),
                Ok((false, reply)) => bail!("refused with {}: {}", reply.status, reply.text),
                Err(error) => {
                    // The answer is missing because the host dies, which may take a moment.
                    ensure!(self.armed_since.is_some(), "{error:#}");
                    let death = crate::eventually::eventually("death of the host", STOP, || {
                        Ok((!self.host.is_running()?).then_some(()))
                    });
                    death.with_context(|| format!("{error:#}"))?;
                    self.revive()?;
                }
            }
        }
        bail!("no answer in {TRIES} tries")
    }
}

fn set(value: &mut Value, pointer: &str, name: &str, to: Value) {
    if let Some(fields) = value.pointer_mut(pointer).and_then(Value::as_object_mut) {
        fields.insert(name.to_owned(), to);
    }
}
