//! The clients of a schedule: each plays its steps one after the other and writes down what it knows.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::connection::{self, Answer, Connection, Wanted};
use super::truth::{Diary, End};

/// How a step ends its connection.
#[derive(Clone, Copy, Debug)]
pub(super) enum Ending {
    Disconnect,
    /// By FIN, or by RST if it is rude.
    Lose {
        is_rude: bool,
    },
    /// By another connection, which is then lost.
    TakeOver(Wanted),
}

/// One connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    /// Before CONNECT.
    pub(super) pause: Duration,
    pub(super) wanted: Wanted,
    /// After CONNACK.
    pub(super) hold: Duration,
    pub(super) ending: Ending,
}

/// One client.
#[derive(Clone, Debug)]
pub(super) struct Part {
    pub(super) client_id: String,
    pub(super) steps: Vec<Step>,
    /// It is connected at the end.
    pub(super) stays: bool,
}

/// What the clients are asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Play,
    /// No further steps; who stays connects and holds.
    Settle,
    /// Everything is judged.
    Leave,
}

/// All clients of a schedule, on a thread of their own.
#[derive(Debug)]
pub(super) struct Players {
    phase: watch::Sender<Phase>,
    settled: Arc<AtomicUsize>,
    count: usize,
    thread: Option<JoinHandle<Result<()>>>,
}

impl Players {
    /// Starts them against the host at `address`.
    pub(super) fn start(address: SocketAddr, parts: Vec<Part>, diary: &Arc<Diary>) -> Self {
        let (phase, receiver) = watch::channel(Phase::Play);
        let settled = Arc::new(AtomicUsize::new(0));
        let count = parts.len();
        let (diary, counter) = (Arc::clone(diary), Arc::clone(&settled));
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            runtime.block_on(async {
                let mut players = JoinSet::new();
                for (number, part) in parts.into_iter().enumerate() {
                    let player = Player {
                        number,
                        address,
                        client_id: part.client_id.clone(),
                        attempts: 0,
                        diary: Arc::clone(&diary),
                        phase: receiver.clone(),
                    };
                    players.spawn(player.play(part, Arc::clone(&counter)));
                }
                while let Some(ended) = players.join_next().await {
                    ended.context("a client panicked")?;
                }
                Ok(())
            })
        });
        Self {
            phase,
            settled,
            count,
            thread: Some(thread),
        }
    }

    /// Ends the steps; waits until everybody who stays is connected and the others are gone.
    ///
    /// # Errors
    ///
    /// When one cannot connect before the deadline.
    pub(super) fn settle(&self, deadline: Duration) -> Result<()> {
        self.phase.send_replace(Phase::Settle);
        crate::eventually::eventually("clients to settle", deadline, || {
            let settled = self.settled.load(Ordering::Acquire);
            Ok((settled == self.count).then_some(()))
        })
    }

    /// Closes everything.
    ///
    /// # Errors
    ///
    /// When a client failed.
    pub(super) fn leave(mut self) -> Result<()> {
        self.phase.send_replace(Phase::Leave);
        let thread = self.thread.take().context("left before")?;
        thread
            .join()
            .map_err(|_| anyhow!("the clients' thread panicked"))?
    }
}

impl Drop for Players {
    fn drop(&mut self) {
        self.phase.send_replace(Phase::Leave);
        if let Some(thread) = self.thread.take() {
            // After a failure its own is of no interest.
            drop(thread.join());
        }
    }
}

struct Player {
    number: usize,
    address: SocketAddr,
    client_id: String,
    attempts: usize,
    diary: Arc<Diary>,
    phase: watch::Receiver<Phase>,
}

impl Player {
    async fn play(mut self, part: Part, settled: Arc<AtomicUsize>) {
        for step in part.steps {
            if self.is_interrupted(step.pause).await {
                break;
            }
            if let Some((attempt, connection)) = self.connect(step.wanted).await {
                self.hold(attempt, connection, step).await;
            }
        }
        let stays = if part.stays {
            self.come_to_stay().await
        } else {
            None
        };
        settled.fetch_add(1, Ordering::Release);
        let Some((attempt, mut connection)) = stays else {
            return;
        };
        tokio::select! {
            _ = connection.until_closed() => self.diary.ended(attempt, End::ByHost),
            () = self.until(Phase::Leave) => {}
        }
    }

    /// Waits for the phase or a later one.
    async fn until(&mut self, phase: Phase) {
        let is_there = |now: &Phase| match phase {
            Phase::Play => true,
            Phase::Settle => *now != Phase::Play,
            Phase::Leave => *now == Phase::Leave,
        };
        // A sender that is gone is the end of everything.
        drop(self.phase.wait_for(is_there).await);
    }

    /// Waits; whether the steps ended meanwhile.
    async fn is_interrupted(&mut self, pause: Duration) -> bool {
        timeout(pause, self.until(Phase::Settle)).await.is_ok()
    }

    async fn connect(&mut self, wanted: Wanted) -> Option<(usize, Connection)> {
        let own = connection::own_address(self.number, self.attempts);
        self.attempts += 1;
        let attempt = self.diary.asks(&self.client_id, own);
        match connection::connect(self.address, own, &self.client_id, wanted).await {
            Answer::Accepted(connection) => {
                self.diary.accepted(attempt);
                Some((attempt, connection))
            }
            Answer::Refused(code) => {
                self.diary.refused(attempt, code);
                None
            }
            Answer::Nothing => None,
        }
    }

    async fn hold(&mut self, attempt: usize, mut connection: Connection, step: Step) {
        if step.wanted.is_silent {
            let is_closed = connection.is_closed_soon().await;
            let end = if is_closed { End::Silent } else { End::ByHost };
            self.diary.ended(attempt, end);
            return;
        }
        let is_closed = tokio::select! {
            _ = connection.until_closed() => true,
            _ = self.is_interrupted(step.hold) => false,
        };
        if is_closed {
            self.diary.ended(attempt, End::ByHost);
            return;
        }
        match step.ending {
            Ending::Disconnect => {
                // From here on the host may know.
                self.diary.ended(attempt, End::Unsure);
                if connection.disconnect().await {
                    self.diary.ended(attempt, End::Disconnected);
                }
            }
            Ending::Lose { is_rude } => {
                self.diary.ended(attempt, End::Lost);
                connection.lose(is_rude);
            }
            Ending::TakeOver(wanted) => {
                let second = self.connect(wanted).await;
                let end = if second.is_some() {
                    End::TakenOver
                } else {
                    End::Lost
                };
                self.diary.ended(attempt, end);
                drop(connection);
                if let Some((second, connection)) = second {
                    // The take-over must not look like a loss before it.
                    sleep(step.hold.min(Duration::from_millis(50))).await;
                    self.diary.ended(second, End::Lost);
                    drop(connection);
                }
            }
        }
    }

    /// Connects until it is accepted.
    async fn come_to_stay(&mut self) -> Option<(usize, Connection)> {
        let wanted = Wanted {
            version: crate::bare_client::Version::V5,
            has_will: false,
            is_silent: false,
        };
        self.until(Phase::Settle).await;
        loop {
            if let Some(stays) = self.connect(wanted).await {
                return Some(stays);
            }
            if timeout(Duration::from_millis(50), self.until(Phase::Leave))
                .await
                .is_ok()
            {
                return None;
            }
        }
    }
}
