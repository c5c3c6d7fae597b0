//! A TCP proxy that can be cut and restored, and a pair of them before a RocketMQ.
//!
//! RocketMQ's name server tells clients where the broker is, past any proxy. So the proxy before the
//! name server rewrites the broker's address in its answers. Both addresses have the same length,
//! so no length field changes.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, ensure};

/// Frames of RocketMQ larger than this are a fault of the reader.
const FRAME_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Text to look for in the server's frames, and what to put there.
type Rewrite = Option<(Vec<u8>, Vec<u8>)>;

/// Everything open, so that a cut reaches it.
#[derive(Debug, Default)]
struct Links {
    open: Vec<TcpStream>,
    is_cut: bool,
}

/// One listening proxy.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    target: SocketAddr,
    rewrite: Rewrite,
    links: Arc<Mutex<Links>>,
}

impl Proxy {
    /// Listens on a free port and forwards to `target`.
    ///
    /// # Errors
    ///
    /// When it cannot listen.
    pub fn start(target: &str) -> Result<Self> {
        Self::start_rewriting(target, None)
    }

    fn start_rewriting(target: &str, rewrite: Rewrite) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let target = target
            .parse()
            .with_context(|| format!("no address: {target}"))?;
        let proxy = Self {
            address: listener.local_addr()?,
            target,
            rewrite,
            links: Arc::default(),
        };
        proxy.accept(listener);
        Ok(proxy)
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// Ends every connection and refuses new ones.
    pub fn cut(&self) {
        let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        links.is_cut = true;
        for stream in links.open.drain(..) {
            // One that is gone already need not be ended.
            drop(stream.shutdown(Shutdown::Both));
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
        let listener =
            crate::eventually::eventually(&what, std::time::Duration::from_secs(5), || {
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
        let (target, rewrite, links) = (self.target, self.rewrite.clone(), Arc::clone(&self.links));
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let mut open = links.lock().unwrap_or_else(PoisonError::into_inner);
                if open.is_cut {
                    return;
                }
                // A server that is not there looks like one that hangs up.
                let Ok(server) = TcpStream::connect(target) else {
                    continue;
                };
                let Ok(ends) = couple(client, server, rewrite.clone()) else {
                    continue;
                };
                open.open.extend(ends);
            }
        });
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.cut();
    }
}

fn couple(client: TcpStream, server: TcpStream, rewrite: Rewrite) -> io::Result<[TcpStream; 2]> {
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let ends = [client.try_clone()?, server.try_clone()?];
    let (client_out, server_out) = (client.try_clone()?, server.try_clone()?);
    std::thread::spawn(move || {
        until_end(client, server_out, |from, to| io::copy(from, to).map(drop));
    });
    std::thread::spawn(move || {
        until_end(server, client_out, |from, to| match &rewrite {
            None => io::copy(from, to).map(drop),
            Some((old, new)) => copy_frames(from, to, old, new),
        });
    });
    Ok(ends)
}

fn until_end(
    mut from: TcpStream,
    mut to: TcpStream,
    copy: impl Fn(&mut TcpStream, &mut TcpStream) -> io::Result<()>,
) {
    // Any end of one side is the end of both; a fault is one as well.
    drop(copy(&mut from, &mut to));
    drop(from.shutdown(Shutdown::Both));
    drop(to.shutdown(Shutdown::Both));
}

fn copy_frames(from: &mut TcpStream, to: &mut TcpStream, old: &[u8], new: &[u8]) -> io::Result<()> {
    loop {
        let mut length = [0; 4];
        from.read_exact(&mut length)?;
        let size = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        if size > FRAME_BYTES_MAX {
            return Err(io::Error::other("a frame beyond all reason"));
        }
        let mut frame = vec![0; size];
        from.read_exact(&mut frame)?;
        replace(&mut frame, old, new);
        to.write_all(&length)?;
        to.write_all(&frame)?;
    }
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
        let broker_proxy = Proxy::start(broker)?;
        let (old, new) = (
            broker.as_bytes().to_vec(),
            broker_proxy.address().into_bytes(),
        );
        ensure!(
            old.len() == new.len(),
            "{broker} and {} differ in length",
            broker_proxy.address()
        );
        let name_server = Proxy::start_rewriting(name_server, Some((old, new)))?;
        Ok(Self {
            name_server,
            broker: broker_proxy,
        })
    }

    /// The address that the host is given.
    #[must_use]
    pub fn name_server(&self) -> String {
        self.name_server.address()
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
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};

    use super::Proxy;

    fn answers(proxy: &Proxy) -> bool {
        let Ok(mut stream) = TcpStream::connect(proxy.address()) else {
            return false;
        };
        let mut byte = [0];
        stream
            .write_all(b"x")
            .and_then(|()| stream.read_exact(&mut byte))
            .is_ok()
    }

    #[test]
    fn a_cut_proxy_refuses_until_it_is_restored() {
        let echo = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let target = echo.local_addr().unwrap().to_string();
        std::thread::spawn(move || {
            for mut stream in echo.incoming().map_while(Result::ok) {
                let mut byte = [0];
                if stream.read_exact(&mut byte).is_ok() {
                    drop(stream.write_all(&byte));
                }
            }
        });
        let proxy = Proxy::start(&target).unwrap();
        assert!(answers(&proxy));
        proxy.cut();
        assert!(!answers(&proxy));
        proxy.restore().unwrap();
        assert!(answers(&proxy));
    }
}
