//! A child process that is killed when its owner is dropped, and lines that it prints.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::eventually::eventually;

/// Lines kept of a child that nobody reads; then the child waits.
const LINES_MAX: usize = 65_536;

/// A running child.
#[derive(Debug)]
pub struct Process {
    child: Child,
    name: String,
}

impl Process {
    /// Starts `command`; `name` is for messages.
    ///
    /// # Errors
    ///
    /// When it cannot be started.
    pub fn start(name: &str, command: &mut Command) -> Result<Self> {
        let child = command
            .spawn()
            .with_context(|| format!("failed to start {name}: {command:?}"))?;
        Ok(Self {
            child,
            name: name.to_owned(),
        })
    }

    /// Sends a signal.
    ///
    /// # Errors
    ///
    /// When the process has been waited for.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        kill_process(Pid::from_child(&self.child), signal)
            .with_context(|| format!("failed to send {signal:?} to {}", self.name))
    }

    /// kill -9, and waits for the end.
    ///
    /// # Errors
    ///
    /// When the system refuses.
    pub fn kill(&mut self) -> Result<()> {
        self.child
            .kill()
            .with_context(|| format!("failed to kill {}", self.name))?;
        self.child.wait()?;
        Ok(())
    }

    /// The exit status if it ended.
    ///
    /// # Errors
    ///
    /// When the system refuses.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Waits for the end.
    ///
    /// # Errors
    ///
    /// When it does not end before the deadline.
    pub fn wait(&mut self, deadline: Duration) -> Result<ExitStatus> {
        let what = format!("end of {}", self.name);
        eventually(&what, deadline, || self.ended())
    }

    fn stdin(&mut self) -> Option<ChildStdin> {
        self.child.stdin.take()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only when the process is gone already, which is what is wanted.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A child that talks in lines.
#[derive(Debug)]
pub struct Talker {
    process: Process,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
}

impl Talker {
    /// Starts `command` with pipes to its stdin and from its stdout.
    ///
    /// # Errors
    ///
    /// When it cannot be started.
    pub fn start(name: &str, command: &mut Command) -> Result<Self> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = Process::start(name, command)?;
        let stdin = process.stdin();
        let stdout = process
            .child
            .stdout
            .take()
            .ok_or_else(|| anyhow!("no stdout"))?;
        let (sender, lines) = sync_channel(LINES_MAX);
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Ok(Self {
            process,
            stdin,
            lines,
        })
    }

    /// The process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Waits for a line that `wanted` accepts; others are skipped and do not prolong the wait.
    ///
    /// # Errors
    ///
    /// When the child ends or says something else until the deadline; with what it said.
    pub fn expect(&self, wanted: impl Fn(&str) -> bool, deadline: Duration) -> Result<String> {
        let start = Instant::now();
        let mut said = Vec::new();
        loop {
            let left = deadline.saturating_sub(start.elapsed());
            match self.lines.recv_timeout(left) {
                Ok(line) if wanted(&line) => return Ok(line),
                Ok(line) if !left.is_zero() => said.push(line),
                Ok(_) | Err(RecvTimeoutError::Timeout) => {
                    bail!("{}: no answer, only {said:?}", self.process.name)
                }
                Err(RecvTimeoutError::Disconnected) => {
                    bail!("{}: ended after {said:?}", self.process.name)
                }
            }
        }
    }

    /// Sends a line to its stdin.
    ///
    /// # Errors
    ///
    /// When the child no longer reads.
    pub fn say(&mut self, line: &str) -> Result<()> {
        let stdin = self
            .stdin
            .as_mut()
            .ok_or_else(|| anyhow!("stdin is closed"))?;
        writeln!(stdin, "{line}").with_context(|| format!("{} does not listen", self.process.name))
    }

    /// Closes its stdin.
    pub fn hang_up(&mut self) {
        self.stdin = None;
    }
}
