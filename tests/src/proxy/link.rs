//! One connection through a proxy: two ways, each with a thread that reads and one that writes.
//!
//! Between both threads of a way is a queue with a time for each piece, so that a delay does not slow
//! what comes behind it. What is accepted and not yet passed on is bounded; then reading waits.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::{Direction, Fault};

/// Frames of RocketMQ larger than this are a fault of the reader.
const FRAME_BYTES_MAX: usize = 64 * 1024 * 1024;
const READ_BYTES: usize = 64 * 1024;
/// Pieces that one way holds.
const PIECES_MAX: usize = 1024;
/// How often a way that stands still looks whether it may go on.
const LOOK_EVERY: Duration = Duration::from_millis(2);
const THROTTLE_EVERY: Duration = Duration::from_millis(20);

/// How the bytes of a connection are read.
#[derive(Clone, Debug)]
pub(super) enum Framing {
    /// As they come.
    None,
    /// Frame by frame; in what the server says, the first text becomes the second.
    Rocketmq(Option<(Vec<u8>, Vec<u8>)>),
}

/// What is asked of all connections of a proxy.
#[derive(Debug, Default)]
pub(super) struct Orders {
    to_server: Mutex<Option<Fault>>,
    to_client: Mutex<Option<Fault>>,
    harmed: AtomicU64,
}

impl Orders {
    fn of(&self, direction: Direction) -> &Mutex<Option<Fault>> {
        match direction {
            Direction::ToServer => &self.to_server,
            Direction::ToClient => &self.to_client,
        }
    }

    pub(super) fn give(&self, direction: Direction, fault: Option<Fault>) {
        *self
            .of(direction)
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = fault;
    }

    pub(super) fn harmed(&self) -> u64 {
        self.harmed.load(Ordering::Relaxed)
    }

    fn now(&self, direction: Direction) -> Option<Fault> {
        *self
            .of(direction)
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the order to cut a frame, which is for one frame only.
    fn take_cut(&self, direction: Direction) -> Option<usize> {
        let mut order = self
            .of(direction)
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let Some(Fault::CutFrame(bytes)) = *order else {
            return None;
        };
        *order = None;
        Some(bytes)
    }
}

/// A pair of connections, coupled.
#[derive(Debug)]
pub(super) struct Link {
    ends: [TcpStream; 2],
    is_over: Arc<AtomicBool>,
}

impl Link {
    /// Couples client and server.
    pub(super) fn start(
        [client, server]: [TcpStream; 2],
        framing: Framing,
        orders: &Arc<Orders>,
    ) -> io::Result<Self> {
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        let is_over = Arc::new(AtomicBool::new(false));
        let way = |direction| Way {
            direction,
            orders: Arc::clone(orders),
            is_over: Arc::clone(&is_over),
        };
        let request_framing = match framing {
            Framing::None => Framing::None,
            Framing::Rocketmq(_) => Framing::Rocketmq(None),
        };
        let to_server = [client.try_clone()?, server.try_clone()?];
        let to_client = [server.try_clone()?, client.try_clone()?];
        way(Direction::ToServer).start(to_server, request_framing);
        way(Direction::ToClient).start(to_client, framing);
        Ok(Self {
            ends: [client, server],
            is_over,
        })
    }

    pub(super) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    pub(super) fn end(&self) {
        self.is_over.store(true, Ordering::Relaxed);
        for end in &self.ends {
            // One that is gone already need not be ended.
            drop(end.shutdown(Shutdown::Both));
        }
    }
}

/// A part of the way's bytes.
struct Piece {
    due: Instant,
    bytes: Vec<u8>,
    is_last: bool,
}

struct Way {
    direction: Direction,
    orders: Arc<Orders>,
    is_over: Arc<AtomicBool>,
}

impl Way {
    fn start(self, [from, mut to]: [TcpStream; 2], framing: Framing) {
        let (sender, pieces) = sync_channel(PIECES_MAX);
        let (direction, orders) = (self.direction, Arc::clone(&self.orders));
        let both = from.try_clone();
        std::thread::spawn(move || {
            // A fault of the connection is an end of it.
            drop(read_all(from, &framing, direction, &orders, &sender));
        });
        std::thread::spawn(move || {
            drop(self.write_all(&pieces, &mut to));
            // Any end of one side is the end of both.
            self.is_over.store(true, Ordering::Relaxed);
            drop(to.shutdown(Shutdown::Both));
            if let Ok(from) = both {
                drop(from.shutdown(Shutdown::Both));
            }
        });
    }

    fn write_all(&self, pieces: &Receiver<Piece>, to: &mut TcpStream) -> io::Result<()> {
        while let Ok(piece) = pieces.recv() {
            self.wait_while(|| Instant::now() < piece.due)?;
            self.wait_while(|| self.orders.now(self.direction) == Some(Fault::Stall))?;
            let mut left = piece.bytes.as_slice();
            // Asked for each part: a fault that ends lets the rest pass at once.
            while let Some(Fault::Throttle(rate)) = self.orders.now(self.direction) {
                let step = rate * u64::try_from(THROTTLE_EVERY.as_millis()).unwrap_or(1) / 1000;
                let step = usize::try_from(step.max(1)).unwrap_or(usize::MAX);
                let Some((slice, rest)) = left.split_at_checked(step.min(left.len())) else {
                    break;
                };
                if slice.is_empty() {
                    break;
                }
                let next = Instant::now() + THROTTLE_EVERY;
                to.write_all(slice)?;
                left = rest;
                self.wait_while(|| Instant::now() < next)?;
            }
            to.write_all(left)?;
            if piece.is_last {
                break;
            }
        }
        Ok(())
    }

    fn wait_while(&self, condition: impl Fn() -> bool) -> io::Result<()> {
        while condition() {
            if self.is_over.load(Ordering::Relaxed) {
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
            std::thread::sleep(LOOK_EVERY);
        }
        Ok(())
    }
}

fn read_all(
    mut from: TcpStream,
    framing: &Framing,
    direction: Direction,
    orders: &Orders,
    sender: &SyncSender<Piece>,
) -> io::Result<()> {
    while let Some(mut bytes) = read_piece(&mut from, framing)? {
        let delay = match orders.now(direction) {
            Some(Fault::Drop) => {
                orders.harmed.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            Some(Fault::Delay(delay)) => delay,
            _ => Duration::ZERO,
        };
        let cut = orders.take_cut(direction);
        if let Some(kept) = cut {
            orders.harmed.fetch_add(1, Ordering::Relaxed);
            bytes.truncate(kept.min(bytes.len().saturating_sub(1)));
        }
        let piece = Piece {
            due: Instant::now() + delay,
            bytes,
            is_last: cut.is_some(),
        };
        if sender.send(piece).is_err() || cut.is_some() {
            break;
        }
    }
    Ok(())
}

/// The next frame with its length, or what one read gives; `None` at the end.
fn read_piece(from: &mut TcpStream, framing: &Framing) -> io::Result<Option<Vec<u8>>> {
    let Framing::Rocketmq(rewrite) = framing else {
        let mut bytes = vec![0; READ_BYTES];
        let read = from.read(&mut bytes)?;
        bytes.truncate(read);
        return Ok(Some(bytes).filter(|bytes| !bytes.is_empty()));
    };
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let size = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    if size > FRAME_BYTES_MAX {
        return Err(io::Error::other("a frame beyond all reason"));
    }
    let mut frame = vec![0; size + length.len()];
    let (head, rest) = frame.split_at_mut(length.len());
    head.copy_from_slice(&length);
    from.read_exact(rest)?;
    if let Some((old, new)) = rewrite {
        replace(rest, old, new);
    }
    Ok(Some(frame))
}

/// Replaces `old` by `new` everywhere; both have the same length.
fn replace(frame: &mut [u8], old: &[u8], new: &[u8]) {
    let places: Vec<usize> = frame
        .windows(old.len())
        .enumerate()
        .filter(|(_, window)| *window == old)
        .map(|(place, _)| place)
        .collect();
    for place in places {
        if let Some(target) = frame.get_mut(place..place + new.len()) {
            target.copy_from_slice(new);
        }
    }
}
