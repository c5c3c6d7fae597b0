//! Standard output and standard error of an instance, as lines of the plugin's log.
//!
//! Language runtimes put their panics and tracebacks there, so what was written last in a call also becomes part of a
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
/// How Rust ends what it says of its first panic, which tells nothing of it.
const BACKTRACE_NOTE: &str = "note: run with `RUST_BACKTRACE";
/// Between a thread's name and a place in the code; the panic's message begins on the next line.
const PANICKED: &str = "panicked at ";
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
    /// Lines without an end yet.
    open_stdout: Vec<u8>,
    open_stderr: Vec<u8>,
    last_stdout: String,
    last_stderr: String,
    panic: String,
    /// Whether the panic's message goes on.
    is_in_panic: bool,
    written: usize,
}

/// What an instance wrote last in its present call.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct LastWords {
    /// A panic of Rust: its place and its message.
    pub(crate) panic: Option<String>,
    /// The last line of standard error that is not blank; of standard output, if there is none.
    pub(crate) line: Option<String>,
}

impl Lines {
    fn open(&mut self, level: Level) -> &mut Vec<u8> {
        match level {
            Level::Info => &mut self.open_stdout,
            _ => &mut self.open_stderr,
        }
    }

    /// Keeps what a trap's report wants of a line.
    fn note(&mut self, level: Level, text: &str) {
        let text = cut(text, LINE_BYTES_MAX);
        if level == Level::Info {
            text.clone_into(&mut self.last_stdout);
            return;
        }
        if text.starts_with(BACKTRACE_NOTE) {
            self.is_in_panic = false;
            return;
        }
        text.clone_into(&mut self.last_stderr);
        if let Some(place) = place_of_panic(text) {
            place.clone_into(&mut self.panic);
            self.is_in_panic = true;
        } else if self.is_in_panic && self.panic.len() + text.len() < LINE_BYTES_MAX {
            self.panic.push(' ');
            self.panic.push_str(text);
        }
    }
}

/// `panicked at src/lib.rs:1:2:`, if a panic begins so.
fn place_of_panic(line: &str) -> Option<&str> {
    let at = line.find(PANICKED).filter(|_| line.starts_with("thread '"));
    at.and_then(|at| line.get(at..))
        .filter(|place| place.ends_with(':'))
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

    /// Forgets what was written before: an earlier call that went well is no reason of a later trap.
    pub(crate) fn begin_call(&self) {
        let mut lines = self.shared.lock();
        // Most instances never write anything.
        if lines.written == 0 {
            return;
        }
        self.close_all(&mut lines);
        lines.last_stdout.clear();
        lines.last_stderr.clear();
        lines.panic.clear();
        lines.is_in_panic = false;
    }

    /// What was written last in this call.
    pub(crate) fn last_words(&self) -> LastWords {
        let mut lines = self.shared.lock();
        self.close_all(&mut lines);
        let said = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
        LastWords {
            panic: said(&lines.panic),
            line: said(&lines.last_stderr).or_else(|| said(&lines.last_stdout)),
        }
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
            let open = lines.open(level);
            open.extend_from_slice(part);
            if open.ends_with(b"\n") || open.len() >= LINE_BYTES_MAX {
                self.close(&mut lines, level);
            }
        }
    }

    fn close_all(&self, lines: &mut Lines) {
        for level in [Level::Info, Level::Warn] {
            self.close(lines, level);
        }
    }

    /// Ends the open line of a stream, if there is one.
    fn close(&self, lines: &mut Lines, level: Level) {
        let line = std::mem::take(lines.open(level));
        let text = String::from_utf8_lossy(&line);
        let text = text.trim_end();
        if !text.is_empty() {
            self.guest.log(level, text);
            lines.note(level, text);
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

    use super::{BYTES_MAX, CapturedOutput, LastWords};
    use crate::bindings::rulemill::rule::log::Level;
    use crate::guest_channel::{GuestChannel, LINE_BYTES_MAX};

    fn output() -> CapturedOutput {
        CapturedOutput::new(Arc::new(GuestChannel::new(String::new())))
    }

    fn last_line(output: &CapturedOutput) -> Option<String> {
        output.last_words().line
    }

    #[test]
    fn the_last_line_is_the_last_that_says_something() {
        let output = output();
        assert_eq!(output.last_words(), LastWords::default());
        output.write(b"first\nsec", Level::Warn);
        output.write(b"ond\n\n  \n", Level::Warn);
        assert_eq!(last_line(&output).as_deref(), Some("second"));
        output.write(b"open \xff", Level::Warn);
        assert_eq!(last_line(&output).as_deref(), Some("open \u{fffd}"));
        assert_eq!(output.last_words().panic, None);
    }

    #[test]
    fn standard_error_counts_before_standard_output() {
        let output = output();
        output.write(b"progress\nmore pro", Level::Info);
        assert_eq!(last_line(&output).as_deref(), Some("more pro"));
        output.write(b"gress", Level::Info);
        output.write(b"it ", Level::Warn);
        output.write(b"\nlater\n", Level::Info);
        output.write(b"broke\n", Level::Warn);
        output.write(b"bye\n", Level::Info);
        assert_eq!(last_line(&output).as_deref(), Some("it broke"));
    }

    #[test]
    fn a_later_call_does_not_quote_an_earlier_one() {
        let output = output();
        output.write(b"thread 'main' panicked at src/lib.rs:1:2:\n", Level::Warn);
        output.write(b"went well\nopen", Level::Warn);
        output.write(b"counted 1", Level::Info);
        output.begin_call();
        assert_eq!(output.last_words(), LastWords::default());
        output.write(b"end\n", Level::Warn);
        assert_eq!(last_line(&output).as_deref(), Some("end"));
        assert_eq!(output.last_words().panic, None);
    }

    #[test]
    fn a_panic_is_told_by_its_place_and_its_message() {
        let output = output();
        output.write(b"hello\n", Level::Warn);
        let said = "\nthread '<unnamed>' (1) panicked at src/lib.rs:67:5:\nassertion `left == right` failed\n  \
                    left: 1\n right: 2\nnote: run with `RUST_BACKTRACE=1` environment variable to display a backtrace\n";
        output.write(said.as_bytes(), Level::Warn);
        output.write(b"bye\n", Level::Info);
        let words = output.last_words();
        let panic =
            "panicked at src/lib.rs:67:5: assertion `left == right` failed   left: 1  right: 2";
        assert_eq!(words.panic.as_deref(), Some(panic));
        assert_eq!(words.line.as_deref(), Some(" right: 2"));
    }

    #[test]
    fn a_panic_of_many_lines_is_bounded() {
        let output = output();
        output.write(b"thread 'main' panicked at src/lib.rs:1:2:\n", Level::Warn);
        for _ in 0..100 {
            output.write("\u{e9}".repeat(50).as_bytes(), Level::Warn);
            output.write(b"\n", Level::Warn);
        }
        assert!(output.last_words().panic.unwrap().len() <= LINE_BYTES_MAX);
    }

    #[test]
    fn what_exceeds_the_limit_is_thrown_away() {
        let output = output();
        output.write(&vec![b'x'; BYTES_MAX - 2], Level::Info);
        output.write(b"\nabc\n", Level::Info);
        assert_eq!(last_line(&output).as_deref(), Some("a"));
        output.write(b"more\n", Level::Info);
        assert_eq!(last_line(&output).as_deref(), Some("a"));
    }
}
