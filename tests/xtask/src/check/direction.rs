//! The six rules of who may depend on whom (README, Architecture).
//!
//! Each rule has a positive twin that holds only if the names in it are spelt right: a renamed
//! package makes the check fail instead of passing for ever. What cargo cannot see of the last two
//! rules, that owned values cross threads and that workers only await, is the design of
//! `mqtt-server`; seen here is that it has nothing in reach to wait for.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, bail, ensure};

use crate::{build, cargo};

/// Crates of the host, by package name.
const HOST: [&str; 11] = [
    "domain",
    "access",
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
const ENGINES: [(&str, &str); 11] = [
    ("argon2", "access"),
    ("ntex", "mqtt-server"),
    ("ntex-mqtt", "mqtt-server"),
    ("ntex-tls", "mqtt-server"),
    ("wasmtime", "plugin-runtime"),
    ("wasmtime-wasi", "plugin-runtime"),
    ("redb", "store"),
    ("rocketmq-client-rust", "rocketmq"),
    ("rocketmq-broker", "embedded-rocketmq"),
    ("rocketmq-namesrv", "embedded-rocketmq"),
    ("axum", "admin-api"),
];

pub(super) fn run() -> Result<()> {
    let mut trees = Trees::default();
    domain_is_pure(&mut trees)?;
    each_engine_has_one_owner()?;
    mqtt_and_rocketmq_never_meet(&mut trees)?;
    guests_know_no_host(&mut trees)?;
    ntex_stays_at_the_edge(&mut trees)?;
    mqtt_has_nothing_to_wait_for(&mut trees)
}

/// By package, the names of those that it is built from, itself included; each asked of cargo once.
#[derive(Default)]
struct Trees(BTreeMap<String, BTreeSet<String>>);

impl Trees {
    fn of(&mut self, package: &str) -> Result<&BTreeSet<String>> {
        match self.0.entry(package.to_owned()) {
            Entry::Occupied(known) => Ok(known.into_mut()),
            Entry::Vacant(new) => Ok(new.insert(listed(&[
                "tree",
                "--package",
                package,
                "--edges",
                "normal",
            ])?)),
        }
    }

    fn lacks(&mut self, package: &str, names: &[&str]) -> Result<()> {
        let tree = self.of(package)?;
        match names.iter().find(|name| tree.contains(**name)) {
            Some(name) => bail!("{package} must not depend on {name}"),
            None => Ok(()),
        }
    }

    fn has(&mut self, package: &str, names: &[&str]) -> Result<()> {
        let tree = self.of(package)?;
        match names.iter().find(|name| !tree.contains(**name)) {
            Some(name) => {
                bail!("{package} should depend on {name}: does this check spell it right?")
            }
            None => Ok(()),
        }
    }
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

fn domain_is_pure(trees: &mut Trees) -> Result<()> {
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
    trees.lacks("domain", &foreign)?;
    trees.has("rulemill", &foreign)?;
    trees.has("rulemill", &["domain"])
}

fn each_engine_has_one_owner() -> Result<()> {
    let mut direct = Vec::new();
    for package in HOST {
        let args = [
            "tree",
            "--package",
            package,
            "--edges",
            "normal,build,dev",
            "--depth",
            "1",
        ];
        direct.push((package, listed(&args)?));
    }
    for (engine, owner) in ENGINES {
        let owners: Vec<&str> = direct
            .iter()
            .filter(|(_, names)| names.contains(engine))
            .map(|(package, _)| *package)
            .collect();
        ensure!(
            owners == [owner],
            "{engine} belongs to {owner} alone, but is named by {owners:?}"
        );
    }
    Ok(())
}

fn mqtt_and_rocketmq_never_meet(trees: &mut Trees) -> Result<()> {
    trees.lacks(
        "mqtt-server",
        &["rocketmq", "rocketmq-client-rust", "embedded-rocketmq"],
    )?;
    trees.lacks("rocketmq", &["mqtt-server", "ntex", "broker"])?;
    trees.has(
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

fn guests_know_no_host(trees: &mut Trees) -> Result<()> {
    trees.lacks("rulemill-sdk", &HOST)?;
    for plugin in build::plugin_names()? {
        trees.lacks(&plugin, &HOST)?;
        trees.has(&plugin, &["rulemill-sdk"])?;
    }
    trees.has("rulemill", &HOST)
}

fn ntex_stays_at_the_edge(trees: &mut Trees) -> Result<()> {
    for package in [
        "domain",
        "access",
        "broker",
        "pipeline",
        "store",
        "plugin-runtime",
        "rocketmq",
        "admin-api",
    ] {
        trees.lacks(package, &["ntex", "ntex-mqtt", "ntex-io"])?;
    }
    trees.has("mqtt-server", &["ntex", "ntex-mqtt", "ntex-io"])
}

fn mqtt_has_nothing_to_wait_for(trees: &mut Trees) -> Result<()> {
    let slow = [
        "access",
        "argon2",
        "plugin-runtime",
        "wasmtime",
        "store",
        "redb",
        "pipeline",
        "rocketmq",
        "admin-api",
    ];
    trees.lacks("mqtt-server", &slow)?;
    trees.lacks("broker", &slow)?;
    trees.has("rulemill", &slow)
}
