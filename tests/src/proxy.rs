//! A TCP proxy that can be cut, restored and told to do harm, and a pair of them before a RocketMQ.
//!
//! RocketMQ's name server tells clients where the broker is, past any proxy. So the proxy before the
//! name server rewrites the broker's address in its answers. Both addresses have the same length,
//! so no length field changes.

mod link;

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use link::{Framing, Link, Orders};

/// One way of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// What the client says.
    ToServer,
    /// What the server answers.
    ToClient,
}

/// What happens to everything that goes one way, on old and new connections alike.
///
/// A frame is one of RocketMQ; a proxy for something else takes what one read gave for a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It comes so much later, in order.
    Delay(Duration),
    /// At most so many bytes a second, one at least.
    Throttle(u64),
    /// It is accepted and kept until the fault ends; then it goes on, if the connection is still there.
    Stall,
    /// Whole frames vanish.
    Drop,
    /// Of the next frame only so many bytes pass, never all; then its connection ends. This happens once.
    CutFrame(usize),
}

/// Everything open, so that a cut reaches it.
#[derive(Debug, Default)]
struct Links {
    open: Vec<Link>,
    is_cut: bool,
}

/// One listening proxy.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    target: SocketAddr,
    framing: Framing,
    links: Arc<Mutex<Links>>,
    orders: Arc<Orders>,
}

impl Proxy {
    /// Listens on a free port and forwards to `target`.
    ///
    /// # Errors
    ///
    /// When it cannot listen.
    pub fn start(target: &str) -> Result<Self> {
        Self::start_framed(target, Framing::None)
    }

    fn start_framed(target: &str, framing: Framing) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let target = target
            .parse()
            .with_context(|| format!("no address: {target}"))?;
        let proxy = Self {
            address: listener.local_addr()?,
            target,
            framing,
            links: Arc::default(),
            orders: Arc::default(),
        };
        proxy.accept(listener);
        Ok(proxy)
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// Does harm to one direction until [`Proxy::heal`], instead of what it did to it before.
    pub fn harm(&self, direction: Direction, fault: Fault) {
        self.orders.give(direction, Some(fault));
    }

    /// Does no harm any more. A cut stays.
    pub fn heal(&self) {
        self.orders.give(Direction::ToServer, None);
        self.orders.give(Direction::ToClient, None);
    }

    /// How many frames it dropped or cut since its start.
    #[must_use]
    pub fn harmed(&self) -> u64 {
        self.orders.harmed()
    }

    /// Ends every connection and refuses new ones.
    pub fn cut(&self) {
        let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        links.is_cut = true;
        for link in links.open.drain(..) {
            link.end();
        }
        drop(links);
        // Wakes the accepting thread, which then stops listening.
        drop(TcpStream::connect(self.address));
    }

    /// Listens again on the same port.
    ///
    /// # Errors
    ///
    /// When the port was taken meanwhile.
    pub fn restore(&self) -> Result<()> {
        let what = format!("port {} to listen again", self.address.port());
        let listener = crate::eventually::eventually(&what, Duration::from_secs(5), || {
            Ok(TcpListener::bind(self.address).ok())
        })?;
        self.links
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .is_cut = false;
        self.accept(listener);
        Ok(())
    }

    fn accept(&self, listener: TcpListener) {
        let (target, framing) = (self.target, self.framing.clone());
        let (links, orders) = (Arc::clone(&self.links), Arc::clone(&self.orders));
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let mut links = links.lock().unwrap_or_else(PoisonError::into_inner);
                if links.is_cut {
                    return;
                }
                // A server that is not there looks like one that hangs up.
                let Ok(server) = TcpStream::connect(target) else {
                    continue;
                };
                let Ok(link) = Link::start([client, server], framing.clone(), &orders) else {
                    continue;
                };
                links.open.retain(|link| !link.is_over());
                links.open.push(link);
            }
        });
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.cut();
    }
}

/// A RocketMQ behind proxies: name server and broker are cut together.
#[derive(Debug)]
pub struct RocketmqProxy {
    name_server: Proxy,
    broker: Proxy,
}

impl RocketmqProxy {
    /// Before a name server and the broker that it tells of.
    ///
    /// # Errors
    ///
    /// When they cannot listen.
    pub fn start(name_server: &str, broker: &str) -> Result<Self> {
        let broker_proxy = Proxy::start_framed(broker, Framing::Rocketmq(None))?;
        let (old, new) = (
            broker.as_bytes().to_vec(),
            broker_proxy.address().into_bytes(),
        );
        ensure!(
            old.len() == new.len(),
            "{broker} and {} differ in length",
            broker_proxy.address()
        );
        let framing = Framing::Rocketmq(Some((old, new)));
        Ok(Self {
            name_server: Proxy::start_framed(name_server, framing)?,
            broker: broker_proxy,
        })
    }

    /// The address that the host is given.
    #[must_use]
    pub fn name_server(&self) -> String {
        self.name_server.address()
    }

    /// The proxy before the name server.
    #[must_use]
    pub fn name_server_link(&self) -> &Proxy {
        &self.name_server
    }

    /// The proxy before the broker.
    #[must_use]
    pub fn broker_link(&self) -> &Proxy {
        &self.broker
    }

    /// Both do no harm any more. A cut stays.
    pub fn heal(&self) {
        self.name_server.heal();
        self.broker.heal();
    }

    /// Cuts both off.
    pub fn cut(&self) {
        self.name_server.cut();
        self.broker.cut();
    }

    /// Brings both back.
    ///
    /// # Errors
    ///
    /// When a port was taken meanwhile.
    pub fn restore(&self) -> Result<()> {
        self.broker.restore()?;
        self.name_server.restore()
    }
}

#[cfg(test)]
mod tests;
