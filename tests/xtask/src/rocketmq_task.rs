//! `cargo xtask rocketmq start|stop|status`: a Java RocketMQ for playing, in `<target>/rocketmq`.
//!
//! It outlives the task. Process ids are kept in files; a process is stopped only when its command
//! line still names the home folder, since the kernel reuses ids.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::java_rocketmq::{self, Ports, Role};
use crate::places;
use crate::requirements::{Requirement, succeeds};

/// The usual ports, beside those of the embedded one.
const PORTS: Ports = Ports {
    name_server: 19_876,
    broker: 20_911,
};
const STOP_DEADLINE: Duration = Duration::from_secs(20);

pub(crate) fn run(verb: &str) -> Result<ExitCode> {
    match verb {
        "start" => start().map(|()| ExitCode::SUCCESS),
        "stop" => stop().map(|()| ExitCode::SUCCESS),
        "status" => Ok(status()),
        other => bail!("rocketmq does not know {other}; it knows start, stop and status"),
    }
}

fn home() -> PathBuf {
    places::target().join("rocketmq")
}

fn pid_path(role: Role) -> PathBuf {
    home().join(match role {
        Role::NameServer => "namesrv.pid",
        Role::Broker => "broker.pid",
    })
}

/// The process id, if the process is still ours.
fn running(role: Role) -> Option<u32> {
    let pid = fs::read_to_string(pid_path(role))
        .ok()?
        .trim()
        .parse::<u32>()
        .ok()?;
    let output = Command::new("ps")
        .args(["-o", "args=", "-p", &pid.to_string()])
        .output()
        .ok()?;
    let args = String::from_utf8_lossy(&output.stdout).into_owned();
    args.contains(&home().display().to_string()).then_some(pid)
}

fn start() -> Result<()> {
    ensure!(
        Requirement::JavaRocketmq.probe(),
        "{}",
        Requirement::JavaRocketmq.remedy()
    );
    java_rocketmq::write_home(&home(), PORTS)?;
    for role in [Role::NameServer, Role::Broker] {
        if running(role).is_some() {
            continue;
        }
        eprintln!("xtask: starting the {}", name(role));
        let mut command = java_rocketmq::command(role, &home())?;
        command.stdin(Stdio::null()).process_group(0);
        let child = java_rocketmq::start(&mut command, &java_rocketmq::log_path(role, &home()))?;
        fs::write(pid_path(role), child.id().to_string())?;
    }
    status();
    Ok(())
}

fn stop() -> Result<()> {
    for role in [Role::Broker, Role::NameServer] {
        let Some(pid) = running(role) else { continue };
        ensure!(
            succeeds(Command::new("kill").arg(pid.to_string())),
            "failed to stop process {pid}"
        );
        let start = Instant::now();
        while running(role).is_some() {
            ensure!(
                start.elapsed() < STOP_DEADLINE,
                "process {pid} did not stop in time"
            );
            std::thread::sleep(Duration::from_millis(100));
        }
        fs::remove_file(pid_path(role))
            .with_context(|| format!("failed to remove the {}'s pid file", name(role)))?;
        eprintln!("xtask: stopped the {}", name(role));
    }
    Ok(())
}

fn status() -> ExitCode {
    let mut all = true;
    for role in [Role::NameServer, Role::Broker] {
        match running(role) {
            Some(pid) => println!("{}: running, process {pid}", name(role)),
            None => {
                all = false;
                println!("{}: stopped", name(role));
            }
        }
    }
    if !all {
        return ExitCode::FAILURE;
    }
    println!(
        "name server 127.0.0.1:{}, cluster DefaultCluster; files in {}",
        PORTS.name_server,
        home().display()
    );
    ExitCode::SUCCESS
}

fn name(role: Role) -> &'static str {
    match role {
        Role::NameServer => "name server",
        Role::Broker => "broker",
    }
}
