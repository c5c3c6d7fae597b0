//! The six rules of who may depend on whom (README, Architecture).
//!
//! Each rule has a positive twin that holds only if the names in it are spelt right: a renamed
//! package makes the check fail instead of passing for ever. What cargo cannot see of the last two
//! rules, that owned values cross threads and that workers only await, is the design of
//! `mqtt-server`; seen here is that it has nothing in reach to wait for.

use std::collections::BTreeSet;

use anyhow::{Result, bail, ensure};

use crate::{build, cargo};

/// Crates of the host, by package name.
const HOST: [&str; 10] = [
    "domain",
    "broker",
    "mqtt-server",
    "plugin-runtime",
    "store",
    "pipeline",
    "rocketmq",
    "embedded-rocketmq",
    "admin-api",
    "rulemill",
];

/// Which package alone may name an engine.
const ENGINES: [(&str, &str); 9] = [
    ("ntex", "mqtt-server"),
    ("ntex-mqtt", "mqtt-server"),
    ("wasmtime", "plugin-runtime"),
    ("wasmtime-wasi", "plugin-runtime"),
    ("redb", "store"),
    ("rocketmq-client-rust", "rocketmq"),
    ("rocketmq-broker", "embedded-rocketmq"),
    ("rocketmq-namesrv", "embedded-rocketmq"),
    ("axum", "admin-api"),
];

pub(super) fn run() -> Result<()> {
    domain_is_pure()?;
    each_engine_has_one_owner()?;
    mqtt_and_rocketmq_never_meet()?;
    guests_know_no_host()?;
    ntex_stays_at_the_edge()?;
    mqtt_has_nothing_to_wait_for()
}

/// Names of the packages that `package` is built from, itself included.
fn tree(package: &str) -> Result<BTreeSet<String>> {
    listed(&["tree", "--package", package, "--edges", "normal"])
}

fn listed(args: &[&str]) -> Result<BTreeSet<String>> {
    let mut command = cargo::cargo(args);
    let text = cargo::output(command.args(["--prefix", "none", "--format", "{p}", "--locked"]))?;
    Ok(text
        .lines()
        .filter_map(|line| line.split(' ').next())
        .map(str::to_owned)
        .collect())
}

fn lacks(package: &str, names: &[&str]) -> Result<()> {
    let tree = tree(package)?;
    match names.iter().find(|name| tree.contains(**name)) {
        Some(name) => bail!("{package} must not depend on {name}"),
        None => Ok(()),
    }
}

fn has(package: &str, names: &[&str]) -> Result<()> {
    let tree = tree(package)?;
    match names.iter().find(|name| !tree.contains(**name)) {
        Some(name) => bail!("{package} should depend on {name}: does this check spell it right?"),
        None => Ok(()),
    }
}

fn domain_is_pure() -> Result<()> {
    let foreign = [
        "tokio",
        "serde",
        "serde_json",
        "ntex",
        "wasmtime",
        "redb",
        "rocketmq-client-rust",
        "axum",
    ];
    lacks("domain", &foreign)?;
    has("rulemill", &foreign)?;
    has("rulemill", &["domain"])
}

fn each_engine_has_one_owner() -> Result<()> {
    for (engine, owner) in ENGINES {
        let mut owners = Vec::new();
        for package in HOST {
            let direct = listed(&[
                "tree",
                "--package",
                package,
                "--edges",
                "normal,build,dev",
                "--depth",
                "1",
            ])?;
            if direct.contains(engine) {
                owners.push(package);
            }
        }
        ensure!(
            owners == [owner],
            "{engine} belongs to {owner} alone, but is named by {owners:?}"
        );
    }
    Ok(())
}

fn mqtt_and_rocketmq_never_meet() -> Result<()> {
    lacks(
        "mqtt-server",
        &["rocketmq", "rocketmq-client-rust", "embedded-rocketmq"],
    )?;
    lacks("rocketmq", &["mqtt-server", "ntex", "broker"])?;
    has(
        "rulemill",
        &[
            "mqtt-server",
            "rocketmq",
            "rocketmq-client-rust",
            "embedded-rocketmq",
            "ntex",
            "broker",
        ],
    )
}

fn guests_know_no_host() -> Result<()> {
    lacks("rulemill-sdk", &HOST)?;
    for plugin in build::plugin_names()? {
        lacks(&plugin, &HOST)?;
        has(&plugin, &["rulemill-sdk"])?;
    }
    has("rulemill", &HOST)
}

fn ntex_stays_at_the_edge() -> Result<()> {
    for package in [
        "domain",
        "broker",
        "pipeline",
        "store",
        "plugin-runtime",
        "rocketmq",
        "admin-api",
    ] {
        lacks(package, &["ntex", "ntex-mqtt", "ntex-io"])?;
    }
    has("mqtt-server", &["ntex", "ntex-mqtt", "ntex-io"])
}

fn mqtt_has_nothing_to_wait_for() -> Result<()> {
    let slow = [
        "plugin-runtime",
        "wasmtime",
        "store",
        "redb",
        "pipeline",
        "rocketmq",
        "admin-api",
    ];
    lacks("mqtt-server", &slow)?;
    lacks("broker", &slow)?;
    has("rulemill", &slow)
}
