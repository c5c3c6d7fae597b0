//! Wrong configuration: exit code, the key that is wrong, what would be right.

use std::net::TcpListener;

use acceptance::cli;
use anyhow::{Result, ensure};

use crate::serve::DEFAULT_PORTS;

const EX_CONFIG: i32 = 64;

pub(crate) fn bad_file() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("rulemill.toml");
    let file = path.to_string_lossy();
    // Content, and what the line must hold.
    let cases: [(&str, &[&str]); 4] = [
        (
            "[mqtt]\nmax-conections = 7\n",
            &["max-conections", "max-connections"],
        ),
        (
            "[mqtt]\nconnect-timeout = \"soon\"\n",
            &["connect-timeout", "soon"],
        ),
        ("[mqtt]\ntcp = [\"nowhere\"]\n", &["tcp", "nowhere"]),
        ("[delivery]\nconnack = \"maybe\"\n", &["connack", "maybe"]),
    ];
    for (content, words) in cases {
        std::fs::write(&path, content)?;
        cli::run(&["config", "check", "--config", &file])?
            .expect(EX_CONFIG)?
            .expect_one_line(words)?;
        cli::run(&["serve", "--config", &file])?
            .expect(EX_CONFIG)?
            .expect_one_line(words)?;
    }
    let all =
        "[mqtt]\nmax-conections = 7\nconnect-timeout = \"soon\"\n[delivery]\nconnack = \"maybe\"\n";
    std::fs::write(&path, all)?;
    let ran = cli::run(&["config", "check", "--config", &file])?.expect(EX_CONFIG)?;
    for word in ["max-conections", "connect-timeout", "connack"] {
        ensure!(
            ran.stderr.contains(word),
            "not all problems at once, {word} is missing: {}",
            ran.stderr
        );
    }
    cli::run(&["config", "check", "--set", "mqtt.max-conections=7"])?
        .expect(EX_CONFIG)?
        .expect_one_line(&["max-conections", "max-connections"])?;
    cli::run(&["no-such-command"])?.expect(2)?;
    Ok(())
}

pub(crate) fn port_in_use() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let taken = TcpListener::bind(("127.0.0.1", 0))?;
    let port = taken.local_addr()?.port().to_string();
    for (key, name) in [
        ("mqtt.tcp", "mqtt tcp listener"),
        ("mqtt.ws", "mqtt ws listener"),
        ("admin.listen", "admin listener"),
    ] {
        let data_dir = folder.path().join(key);
        let mut args = vec!["serve".to_owned(), "--set".to_owned()];
        args.push(format!("node.data-dir={}", data_dir.display()));
        for (other, _) in DEFAULT_PORTS {
            let port = if other == key { port.as_str() } else { "0" };
            args.extend(["--set".to_owned(), format!("{other}=127.0.0.1:{port}")]);
        }
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let ran = cli::run(&args)?.expect(1)?;
        let last = ran
            .stderr
            .lines()
            .rfind(|line| !line.trim().is_empty())
            .unwrap_or_default();
        ensure!(
            last.contains(&port) && last.contains(name),
            "the listener {name} is not named: {}",
            ran.stderr
        );
    }
    Ok(())
}
