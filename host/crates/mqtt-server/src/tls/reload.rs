//! Takes a new certificate when its files change.
//!
//! The two files are rarely replaced in one moment, so a change is looked at only when the next look
//! finds the same: half a change is no failure. A pair that cannot be used is told once, and the one in
//! use stays. Files are read and compared instead of watched: this sees links that move, too.

use std::io;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use domain::{Clock, ErrorChain};

use super::handshake::add;
use super::identity::Identity;
use super::pem::Texts;
use super::{CertificateFiles, LoadCertificateError, Tls};

/// A change takes effect after one to two of them.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The thread that looks. Ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Reloader {
    /// Its end is the sign to stop.
    stop: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Reloader {
    /// # Errors
    ///
    /// When there is no thread to be had.
    pub(super) fn start(mut watch: Watch) -> io::Result<Self> {
        let (stop, stopped) = mpsc::channel::<()>();
        let thread = std::thread::Builder::new()
            .name("mqtt-tls".to_owned())
            .spawn(move || {
                while stopped.recv_timeout(LOOK_EVERY) == Err(mpsc::RecvTimeoutError::Timeout) {
                    watch.look();
                }
            })?;
        Ok(Self {
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl Drop for Reloader {
    fn drop(&mut self) {
        self.stop = None;
        if self
            .thread
            .take()
            .is_some_and(|thread| thread.join().is_err())
        {
            tracing::error!("the thread that looks for certificates panicked");
        }
    }
}

/// What the last look found.
enum Seen {
    /// This was tried, with whatever result.
    Same(Texts),
    /// This is new; the next look decides whether it is whole.
    Changed(Texts),
    /// A file could not be read. Told after a second look.
    Unreadable { is_told: bool },
}

pub(super) struct Watch {
    seen: Option<Seen>,
    tls: Arc<Tls>,
    files: CertificateFiles,
    clock: Arc<dyn Clock>,
}

impl Watch {
    /// `texts` are those that `tls` began with.
    pub(super) fn new(
        tls: Arc<Tls>,
        files: CertificateFiles,
        texts: Texts,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            seen: Some(Seen::Same(texts)),
            tls,
            files,
            clock,
        }
    }

    fn look(&mut self) {
        let now = Texts::read(&self.files);
        self.seen = Some(match (now, self.seen.take()) {
            (Ok(now), Some(Seen::Same(last))) if now == last => Seen::Same(last),
            (Ok(now), Some(Seen::Changed(last))) if now == last => {
                self.take(&now);
                Seen::Same(now)
            }
            (Ok(now), _) => Seen::Changed(now),
            (Err(_), Some(Seen::Unreadable { is_told: true })) => {
                Seen::Unreadable { is_told: true }
            }
            (Err(error), Some(Seen::Unreadable { is_told: false })) => {
                self.tell(&error);
                Seen::Unreadable { is_told: true }
            }
            (Err(_), _) => Seen::Unreadable { is_told: false },
        });
    }

    fn take(&self, texts: &Texts) {
        match Identity::parse(texts, &self.files, &*self.clock) {
            // Touched, or written back after a fault: nothing is new for clients.
            Ok(new) if new.shows_the_same_as(&self.tls.identity.load()) => {}
            Ok(new) => {
                tracing::info!(
                    certificate = %self.files.certificate.display(),
                    sha256 = new.fingerprint(),
                    expires_s = new.expires_s(),
                    "a new certificate is in use"
                );
                self.tls.identity.store(Arc::new(new));
                add(&self.tls.handshakes.reloads);
            }
            Err(error) => self.tell(&error),
        }
    }

    fn tell(&self, error: &LoadCertificateError) {
        add(&self.tls.handshakes.reloads_failed);
        tracing::warn!(
            error = %ErrorChain(error),
            "the changed certificate cannot be used; the one before stays in use"
        );
    }
}
