//! Somebody who guesses: CONNECTs with wrong credentials at a fixed rate, whatever the host answers.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::bare_client::{Credentials, Version, connect_packet};

const PATIENCE: Duration = Duration::from_secs(30);

/// One try.
#[derive(Clone, Debug)]
pub struct Guess {
    /// The client id.
    pub client_id: String,
    /// The user name.
    pub username: String,
    /// The password.
    pub password: String,
}

/// How it went.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Answers of MQTT 5 by reason code; 0 got in.
    pub codes: BTreeMap<u8, u64>,
    /// Tries without an answer.
    pub errors: u64,
}

impl Tally {
    /// Answers with `code`.
    #[must_use]
    pub fn of(&self, code: u8) -> u64 {
        self.codes.get(&code).copied().unwrap_or(0)
    }

    /// All answers.
    #[must_use]
    pub fn answers(&self) -> u64 {
        self.codes.values().sum()
    }
}

/// Guessing under way, in a thread of its own.
#[derive(Debug)]
pub struct Guessing(JoinHandle<Result<Tally>>);

impl Guessing {
    /// Starts `rate` tries a second for so many seconds, all from one address.
    #[must_use]
    pub fn start(
        address: SocketAddr,
        rate: u32,
        seconds: u32,
        guess: impl Fn(u32) -> Guess + Send + 'static,
    ) -> Self {
        Self(std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            runtime.block_on(all(address, rate, rate * seconds, guess))
        }))
    }

    /// Whether it still goes on.
    #[must_use]
    pub fn goes_on(&self) -> bool {
        !self.0.is_finished()
    }

    /// Waits for the last answer.
    ///
    /// # Errors
    ///
    /// When a packet could not be made.
    pub fn tally(self) -> Result<Tally> {
        self.0.join().map_err(|_| anyhow!("the guesser panicked"))?
    }
}

async fn all(
    address: SocketAddr,
    rate: u32,
    count: u32,
    guess: impl Fn(u32) -> Guess,
) -> Result<Tally> {
    let mut ticks = interval(Duration::from_secs(1) / rate.max(1));
    // A late tick is made up for: the rate holds.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut tries = JoinSet::new();
    for number in 0..count {
        ticks.tick().await;
        let Guess {
            client_id,
            username,
            password,
        } = guess(number);
        let credentials = Credentials {
            username: username.as_bytes(),
            password: password.as_bytes(),
        };
        let packet: Arc<[u8]> = connect_packet(Version::V5, &client_id, Some(credentials))?.into();
        tries.spawn(async move { timeout(PATIENCE, ask(address, &packet)).await });
    }
    let mut tally = Tally::default();
    while let Some(one) = tries.join_next().await {
        match one? {
            Ok(Ok(code)) => *tally.codes.entry(code).or_default() += 1,
            Ok(Err(_)) | Err(_) => tally.errors += 1,
        }
    }
    Ok(tally)
}

async fn ask(address: SocketAddr, packet: &[u8]) -> Result<u8> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(packet).await?;
    let mut head = [0; 4];
    stream.read_exact(&mut head).await?;
    match head {
        [0x20, _, _, code] => Ok(code),
        other => bail!("no CONNACK but {other:?}"),
    }
}
