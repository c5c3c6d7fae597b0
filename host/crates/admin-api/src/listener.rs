//! The listener of the API with a limit of connections: at the limit, further ones wait in the
//! kernel's queue until one ends. With a certificate it speaks TLS; a handshake holds up no other.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::server::TlsStream;

use crate::tls::Tls;

/// A console, a scraper and a few scripts need a tenth of it.
const CONNECTIONS_MAX: usize = 256;

type Handshake = Pin<Box<dyn Future<Output = Option<(Connection, SocketAddr)>> + Send>>;

/// See the module.
pub(crate) struct LimitedListener {
    inner: TcpListener,
    places: Arc<Semaphore>,
    tls: Option<Arc<Tls>>,
    /// Each has a place, so there are no more than connections.
    handshakes: FuturesUnordered<Handshake>,
}

impl LimitedListener {
    pub(crate) fn new(inner: TcpListener, tls: Option<Arc<Tls>>) -> Self {
        Self {
            inner,
            places: Arc::new(Semaphore::new(CONNECTIONS_MAX)),
            tls,
            handshakes: FuturesUnordered::new(),
        }
    }
}

/// A connection and its place.
pub(crate) struct Connection {
    stream: Stream,
    _place: Option<OwnedSemaphorePermit>,
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// The other end of the connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer(pub(crate) SocketAddr);

async fn next_stream(
    places: &Arc<Semaphore>,
    inner: &mut TcpListener,
) -> (TcpStream, SocketAddr, Option<OwnedSemaphorePermit>) {
    // The semaphore is never closed.
    let place = Arc::clone(places).acquire_owned().await.ok();
    // Axum's own listener retries failed accepts with a pause.
    let (stream, peer) = Listener::accept(inner).await;
    (stream, peer, place)
}

impl Listener for LimitedListener {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        loop {
            tokio::select! {
                (stream, peer, place) = next_stream(&self.places, &mut self.inner) => {
                    let Some(tls) = self.tls.clone() else {
                        let stream = Stream::Plain(stream);
                        return (Connection { stream, _place: place }, peer);
                    };
                    self.handshakes.push(Box::pin(async move {
                        let stream = Stream::Tls(Box::new(tls.accept(stream).await?));
                        Some((Connection { stream, _place: place }, peer))
                    }));
                }
                Some(done) = self.handshakes.next() => {
                    if let Some(connection) = done {
                        return connection;
                    }
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }
}

impl Connected<IncomingStream<'_, LimitedListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, LimitedListener>) -> Self {
        Self(*stream.remote_addr())
    }
}

macro_rules! on_stream {
    ($connection:expr, $stream:ident => $call:expr) => {
        match &mut $connection.stream {
            Stream::Plain($stream) => {
                let $stream = Pin::new($stream);
                $call
            }
            Stream::Tls($stream) => {
                let $stream = Pin::new($stream.as_mut());
                $call
            }
        }
    };
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        on_stream!(self, stream => stream.poll_read(cx, buf))
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        on_stream!(self, stream => stream.poll_write(cx, buf))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_stream!(self, stream => stream.poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_stream!(self, stream => stream.poll_shutdown(cx))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        on_stream!(self, stream => stream.poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        match &self.stream {
            Stream::Plain(stream) => stream.is_write_vectored(),
            Stream::Tls(stream) => stream.is_write_vectored(),
        }
    }
}
