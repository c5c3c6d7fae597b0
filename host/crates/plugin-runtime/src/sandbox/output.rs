//! Standard output and standard error of an instance, as lines of the plugin's log.
//!
//! Language runtimes put their panics and tracebacks there, so the last line also becomes part of a
//! trap's report. What exceeds the limit is thrown away: failing the write would turn a chatty plugin
//! into a broken one.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::io::AsyncWrite;
use wasmtime_wasi::async_trait;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};

use crate::bindings::rulemill::rule::log::Level;
use crate::guest_channel::{GuestChannel, LINE_BYTES_MAX, cut};

/// What an instance may write in its life.
const BYTES_MAX: usize = 64 * 1024;
/// What a plugin may write at once.
const WRITE_BYTES_MAX: usize = 4096;

/// Both streams of one instance.
#[derive(Clone)]
pub(crate) struct CapturedOutput {
    shared: Arc<Mutex<Lines>>,
    guest: Arc<GuestChannel>,
}

#[derive(Default)]
struct Lines {
    open: Vec<u8>,
    last: String,
    written: usize,
}

#[derive(Clone)]
struct CapturedStream {
    output: CapturedOutput,
    level: Level,
}

impl CapturedOutput {
    pub(crate) fn new(guest: Arc<GuestChannel>) -> Self {
        Self {
            shared: Arc::default(),
            guest,
        }
    }

    pub(crate) fn stdout(&self) -> impl StdoutStream + 'static {
        CapturedStream {
            output: self.clone(),
            level: Level::Info,
        }
    }

    pub(crate) fn stderr(&self) -> impl StdoutStream + 'static {
        CapturedStream {
            output: self.clone(),
            level: Level::Warn,
        }
    }

    /// The last line that is not blank.
    pub(crate) fn last_line(&self) -> Option<String> {
        let mut lines = self.shared.lock();
        if !lines.open.is_empty() {
            let rest = std::mem::take(&mut lines.open);
            self.close(&mut lines, &rest, Level::Warn);
        }
        (!lines.last.is_empty()).then(|| lines.last.clone())
    }

    fn write(&self, bytes: &[u8], level: Level) {
        let mut lines = self.shared.lock();
        let room = BYTES_MAX.saturating_sub(lines.written);
        let (kept, _thrown_away) = bytes.split_at(room.min(bytes.len()));
        lines.written += kept.len();
        if kept.len() < bytes.len() && room > 0 {
            self.guest.log(
                Level::Warn,
                "the instance wrote all that it may; the rest is thrown away",
            );
        }
        for part in kept.split_inclusive(|byte| *byte == b'\n') {
            lines.open.extend_from_slice(part);
            if lines.open.ends_with(b"\n") || lines.open.len() >= LINE_BYTES_MAX {
                let line = std::mem::take(&mut lines.open);
                self.close(&mut lines, &line, level);
            }
        }
    }

    fn close(&self, lines: &mut Lines, line: &[u8], level: Level) {
        let text = String::from_utf8_lossy(line);
        let text = text.trim_end();
        if !text.is_empty() {
            self.guest.log(level, text);
            cut(text, LINE_BYTES_MAX).clone_into(&mut lines.last);
        }
    }
}

impl IsTerminal for CapturedStream {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for CapturedStream {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        // Only WASI 0.3 asks for this form, and no plugin has that.
        Box::new(tokio::io::sink())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

#[async_trait]
impl Pollable for CapturedStream {
    async fn ready(&mut self) {}
}

#[async_trait]
impl OutputStream for CapturedStream {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.output.write(&bytes, self.level);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(WRITE_BYTES_MAX)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{BYTES_MAX, CapturedOutput};
    use crate::bindings::rulemill::rule::log::Level;
    use crate::guest_channel::GuestChannel;

    fn output() -> CapturedOutput {
        CapturedOutput::new(Arc::new(GuestChannel::new(String::new())))
    }

    #[test]
    fn the_last_line_is_the_last_that_says_something() {
        let output = output();
        assert_eq!(output.last_line(), None);
        output.write(b"first\nsec", Level::Info);
        output.write(b"ond\n\n  \n", Level::Warn);
        assert_eq!(output.last_line().as_deref(), Some("second"));
        output.write(b"open \xff", Level::Warn);
        assert_eq!(output.last_line().as_deref(), Some("open \u{fffd}"));
    }

    #[test]
    fn what_exceeds_the_limit_is_thrown_away() {
        let output = output();
        output.write(&vec![b'x'; BYTES_MAX - 2], Level::Info);
        output.write(b"\nabc\n", Level::Info);
        assert_eq!(output.last_line().as_deref(), Some("a"));
        output.write(b"more\n", Level::Info);
        assert_eq!(output.last_line().as_deref(), Some("a"));
    }
}
