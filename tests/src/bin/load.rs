//! The load tool: many raw MQTT 3.1.1 connections from one process.
//!
//! usage: load hold ADDRESS PREFIX COUNT | load storm ADDRESS PREFIX RATE SECONDS CLIENTS
//! | load churn ADDRESS PREFIX VISITS CLIENTS PARALLEL
//!
//! `hold` connects all and says "connected"; the line "close-half" on stdin closes every second one;
//! it ends when it is killed or stdin ends. `storm` opens connections at a fixed rate whether or not the host
//! keeps up, so that waiting counts as latency, and prints one JSON line. `churn` makes clean visits as fast as the
//! host takes them, a fixed number at a time, and prints the same line.

#![expect(clippy::print_stdout, reason = "this is the command's output")]

use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

/// Connections that open at the same time in `hold`.
const OPENING_MAX: usize = 64;
/// Connections that a storm has open at most; then it counts errors.
const STORM_OPEN_MAX: usize = 8192;
const PATIENCE: Duration = Duration::from_secs(30);
const DISCONNECT: [u8; 2] = [0xe0, 0];
/// Latencies that a churn keeps for its percentiles: one of so many visits.
const CHURN_SAMPLE_EVERY: u64 = 16;

fn main() -> Result<ExitCode> {
    raise_file_limit()?;
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    match words.as_slice() {
        ["hold", address, prefix, count] => {
            runtime.block_on(hold(address.parse()?, prefix, count.parse()?))?;
        }
        ["storm", address, prefix, rate, seconds, clients] => {
            let plan = Plan {
                rate: rate.parse()?,
                seconds: seconds.parse()?,
                clients: clients.parse()?,
            };
            runtime.block_on(storm(address.parse()?, prefix, plan))?;
        }
        ["churn", address, prefix, visits, clients, parallel] => {
            let plan = ChurnPlan {
                visits: visits.parse()?,
                clients: clients.parse()?,
                parallel: parallel.parse()?,
            };
            runtime.block_on(churn(address.parse()?, prefix, plan))?;
        }
        _ => bail!(
            "usage: load hold ADDRESS PREFIX COUNT | load storm ADDRESS PREFIX RATE SECONDS CLIENTS \
             | load churn ADDRESS PREFIX VISITS CLIENTS PARALLEL"
        ),
    }
    Ok(ExitCode::SUCCESS)
}

/// Every connection is an open file.
fn raise_file_limit() -> Result<()> {
    let maximum = getrlimit(Resource::Nofile).maximum;
    let wanted = Rlimit {
        current: maximum,
        maximum,
    };
    setrlimit(Resource::Nofile, wanted).context("failed to raise the limit of open files")
}

/// How a CONNECT ended.
#[derive(Debug)]
enum Connected {
    Yes(TcpStream),
    Refused(u8),
}

async fn connect(address: SocketAddr, client_id: &str, number: u64) -> Result<Connected> {
    let socket = TcpSocket::new_v4()?;
    // Many source addresses: the ports of one would be used up by connections that just ended.
    let spread = u8::try_from(number % 50).unwrap_or(0) + 1;
    socket.bind((Ipv4Addr::new(127, 0, spread, 1), 0).into())?;
    let mut stream = socket.connect(address).await?;
    stream.set_nodelay(true)?;
    let id_length = u16::try_from(client_id.len())?;
    let mut packet = vec![
        0x10,
        u8::try_from(client_id.len() + 12).context("a client id too long")?,
    ];
    packet.extend_from_slice(b"\0\x04MQTT\x04\x02\x02\x58");
    packet.extend_from_slice(&id_length.to_be_bytes());
    packet.extend_from_slice(client_id.as_bytes());
    stream.write_all(&packet).await?;
    let mut answer = [0; 4];
    stream.read_exact(&mut answer).await?;
    match answer {
        [0x20, 2, _, 0] => Ok(Connected::Yes(stream)),
        [0x20, 2, _, code] => Ok(Connected::Refused(code)),
        other => bail!("no CONNACK but {other:?}"),
    }
}

/// Sends DISCONNECT and waits for the host to close.
async fn close(mut stream: TcpStream) -> Result<()> {
    stream.write_all(&DISCONNECT).await?;
    let mut rest = [0; 16];
    while stream.read(&mut rest).await? > 0 {}
    Ok(())
}

async fn hold(address: SocketAddr, prefix: &str, count: u64) -> Result<()> {
    let opening = Arc::new(Semaphore::new(OPENING_MAX));
    let mut tasks = JoinSet::new();
    for number in 0..count {
        let permit = Arc::clone(&opening).acquire_owned().await?;
        let client_id = format!("{prefix}{number}");
        tasks.spawn(async move {
            let connected = timeout(PATIENCE, connect(address, &client_id, number)).await;
            drop(permit);
            (number, connected)
        });
    }
    let mut open = Vec::new();
    while let Some(task) = tasks.join_next().await {
        let (number, connected) = task?;
        match connected.context("no CONNACK in time")?? {
            Connected::Yes(stream) => open.push((number, stream)),
            Connected::Refused(code) => bail!("client {number} was refused with {code}"),
        }
    }
    println!("connected");
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        ensure!(line == "close-half", "does not know {line:?}");
        let (closing, staying): (Vec<_>, Vec<_>) = open
            .into_iter()
            .partition(|(number, _)| number.is_multiple_of(2));
        open = staying;
        for (_, stream) in closing {
            timeout(PATIENCE, close(stream))
                .await
                .context("the host does not close")??;
        }
        println!("closed");
    }
    Ok(())
}

#[derive(Clone, Copy)]
struct Plan {
    rate: u64,
    seconds: u64,
    clients: u64,
}

#[derive(Default)]
struct Tally {
    refused: AtomicU64,
    errors: AtomicU64,
}

async fn storm(address: SocketAddr, prefix: &str, plan: Plan) -> Result<()> {
    let tally = Arc::new(Tally::default());
    let mut tasks = JoinSet::new();
    let mut ticks = interval(Duration::from_secs(1) / u32::try_from(plan.rate)?.max(1));
    // A late tick is made up for: the rate holds.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let start = Instant::now();
    let mut latencies = Vec::new();
    for number in 0..plan.rate * plan.seconds {
        let due = ticks.tick().await;
        while let Some(task) = tasks.try_join_next() {
            latencies.extend(task?);
        }
        if tasks.len() >= STORM_OPEN_MAX {
            tally.errors.fetch_add(1, Ordering::Relaxed);
            continue;
        }
        let client_id = format!("{prefix}{}", number % plan.clients);
        let tally = Arc::clone(&tally);
        tasks.spawn(async move { one_visit(address, &client_id, number, due, &tally).await });
    }
    while let Some(task) = tasks.join_next().await {
        latencies.extend(task?);
    }
    print_report(latencies.len(), latencies, &tally, start);
    Ok(())
}

fn print_report(connects: usize, mut latencies: Vec<u64>, tally: &Tally, start: Instant) {
    latencies.sort_unstable();
    let percentile = |hundredths: usize| {
        latencies
            .get(latencies.len() * hundredths / 100)
            .copied()
            .unwrap_or(0)
    };
    let report = serde_json::json!({
        "connects": connects,
        "refused": tally.refused.load(Ordering::Relaxed),
        "errors": tally.errors.load(Ordering::Relaxed),
        "p50Us": percentile(50),
        "p99Us": percentile(99),
        "elapsedMs": start.elapsed().as_millis(),
    });
    println!("{report}");
}

#[derive(Clone, Copy)]
struct ChurnPlan {
    visits: u64,
    clients: u64,
    parallel: u64,
}

async fn churn(address: SocketAddr, prefix: &str, plan: ChurnPlan) -> Result<()> {
    ensure!(
        plan.clients >= plan.parallel * 2,
        "clients would take each other over"
    );
    let tally = Arc::new(Tally::default());
    let next = Arc::new(AtomicU64::new(0));
    let start = Instant::now();
    let mut tasks = JoinSet::new();
    for _ in 0..plan.parallel {
        let (tally, next, prefix) = (Arc::clone(&tally), Arc::clone(&next), prefix.to_owned());
        tasks.spawn(async move {
            let (mut connects, mut latencies) = (0_usize, Vec::new());
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= plan.visits {
                    return (connects, latencies);
                }
                let client_id = format!("{prefix}{}", number % plan.clients);
                if let Some(latency) = clean_visit(address, &client_id, number, &tally).await {
                    connects += 1;
                    if number.is_multiple_of(CHURN_SAMPLE_EVERY) {
                        latencies.push(latency);
                    }
                }
            }
        });
    }
    let (mut connects, mut latencies) = (0, Vec::new());
    while let Some(task) = tasks.join_next().await {
        let (more, sampled) = task?;
        connects += more;
        latencies.extend(sampled);
    }
    print_report(connects, latencies, &tally, start);
    Ok(())
}

/// CONNECT, CONNACK, DISCONNECT, and the host's end of the connection; microseconds until CONNACK
/// if it was accepted.
async fn clean_visit(
    address: SocketAddr,
    client_id: &str,
    number: u64,
    tally: &Tally,
) -> Option<u64> {
    let start = Instant::now();
    let visit = async {
        let connected = connect(address, client_id, number).await?;
        let latency = start.elapsed();
        if let Connected::Yes(stream) = connected {
            close(stream).await?;
            return Ok::<_, anyhow::Error>(Some(latency));
        }
        Ok(None)
    };
    match timeout(PATIENCE, visit).await {
        Ok(Ok(Some(latency))) => Some(u64::try_from(latency.as_micros()).unwrap_or(u64::MAX)),
        Ok(Ok(None)) => {
            tally.refused.fetch_add(1, Ordering::Relaxed);
            None
        }
        Ok(Err(_)) | Err(_) => {
            tally.errors.fetch_add(1, Ordering::Relaxed);
            None
        }
    }
}

/// One connection, from CONNECT to its end; the latency in microseconds if it was accepted.
async fn one_visit(
    address: SocketAddr,
    client_id: &str,
    number: u64,
    due: Instant,
    tally: &Tally,
) -> Option<u64> {
    let connected = timeout(PATIENCE, connect(address, client_id, number)).await;
    let latency = u64::try_from(due.elapsed().as_micros()).unwrap_or(u64::MAX);
    match connected {
        Ok(Ok(Connected::Yes(stream))) => {
            if number.is_multiple_of(2) {
                // Whether the host closes in time is not what is measured here.
                drop(timeout(PATIENCE, close(stream)).await);
            }
            Some(latency)
        }
        Ok(Ok(Connected::Refused(_))) => {
            tally.refused.fetch_add(1, Ordering::Relaxed);
            None
        }
        Ok(Err(_)) | Err(_) => {
            tally.errors.fetch_add(1, Ordering::Relaxed);
            None
        }
    }
}
