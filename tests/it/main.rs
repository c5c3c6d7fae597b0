//! The acceptance tests: what the product promises, stated from outside. One binary, so that all
//! tests share one Java RocketMQ; one test at a time, since several measure time.
//!
//! A test whose requirement the machine lacks is shown as ignored; with `RULEMILL_REQUIRE_ALL=1` it
//! fails. `RULEMILL_TEST_SCALE=full` runs those under load in the size that the product promises.

mod crash;
mod demo;
mod load;
mod matrix;
mod outage;
mod readme;
mod rules;
mod serve;
mod swap;
mod wrong_configuration;
mod wrong_plugin;
mod wrong_rule;

use std::process::ExitCode;

use acceptance::{host, java};
use anyhow::{Error, Result};
use libtest_mimic::{Arguments, Failed, Trial};
use xtask::requirements::{self, Requirement};

/// A test: its name is the promise.
struct Case {
    name: &'static str,
    needs: &'static [Requirement],
    run: fn() -> Result<()>,
}

const fn case(name: &'static str, needs: &'static [Requirement], run: fn() -> Result<()>) -> Case {
    Case { name, needs, run }
}

const NONE: &[Requirement] = &[];
const JAVA: &[Requirement] = &[Requirement::JavaRocketmq];
const CLIENTS: &[Requirement] = &[
    Requirement::JavaRocketmq,
    Requirement::Paho,
    Requirement::MqttJs,
    Requirement::Mosquitto,
];
const CLIENTS_AND_ALI_ONS: &[Requirement] = &[
    Requirement::JavaRocketmq,
    Requirement::AliOns,
    Requirement::Paho,
    Requirement::MqttJs,
    Requirement::Mosquitto,
];

const CASES: &[Case] = &[
    case(
        "the_demo_prints_exactly_its_22_messages",
        NONE,
        demo::prints_exactly_its_messages,
    ),
    case(
        "serve_says_where_it_listens_and_what_to_do_next",
        NONE,
        serve::says_what_to_do_next,
    ),
    case(
        "a_rule_is_made_listed_disabled_and_deleted",
        NONE,
        rules::life_of_a_rule,
    ),
    case(
        "sigterm_cleans_every_open_connection_embedded",
        NONE,
        || serve::sigterm("embedded"),
    ),
    case("sigterm_cleans_every_open_connection_java", JAVA, || {
        serve::sigterm("java")
    }),
    case(
        "foreign_clients_give_exact_events_embedded",
        CLIENTS,
        matrix::embedded,
    ),
    case(
        "foreign_clients_give_exact_events_java",
        CLIENTS_AND_ALI_ONS,
        matrix::java,
    ),
    case(
        "half_closed_half_killed_is_counted_exactly_embedded",
        NONE,
        || load::half_and_half("embedded"),
    ),
    case(
        "half_closed_half_killed_is_counted_exactly_java",
        JAVA,
        || load::half_and_half("java"),
    ),
    case("kill_9_of_the_host_loses_nothing_embedded", JAVA, || {
        crash::kill_and_restart("embedded")
    }),
    case("kill_9_of_the_host_loses_nothing_java", JAVA, || {
        crash::kill_and_restart("java")
    }),
    case("a_swap_under_a_storm_loses_nothing_embedded", NONE, || {
        swap::under_storm("embedded")
    }),
    case("a_swap_under_a_storm_loses_nothing_java", JAVA, || {
        swap::under_storm("java")
    }),
    case(
        "an_outage_of_rocketmq_slows_no_client",
        JAVA,
        outage::slows_no_client,
    ),
    case(
        "wrong_configuration_is_refused_in_one_line",
        NONE,
        wrong_configuration::bad_file,
    ),
    case(
        "a_port_in_use_is_named",
        NONE,
        wrong_configuration::port_in_use,
    ),
    case(
        "wrong_rules_are_refused_in_one_line",
        NONE,
        wrong_rule::refused,
    ),
    case(
        "a_missing_topic_is_refused_unless_forced",
        NONE,
        wrong_rule::missing_topic,
    ),
    case(
        "a_missing_name_server_is_refused_unless_forced",
        NONE,
        wrong_rule::missing_name_server,
    ),
    case(
        "wrong_plugins_are_refused_in_one_line",
        NONE,
        wrong_plugin::refused,
    ),
    case(
        "a_plugin_that_fails_later_hurts_only_its_event",
        NONE,
        wrong_plugin::fails_later,
    ),
    case(
        "the_readme_s_first_plugin_works",
        NONE,
        readme::first_plugin,
    ),
];

fn main() -> ExitCode {
    let mut args = Arguments::from_args();
    args.test_threads.get_or_insert(1);
    let found = requirements::found();
    let require_all = std::env::var_os(requirements::REQUIRE_ALL).is_some();
    let trials = CASES
        .iter()
        .map(|case| trial(case, &found, require_all))
        .collect();
    let conclusion = libtest_mimic::run(&args, trials);
    java::stop_shared();
    conclusion.exit_code()
}

fn trial(case: &Case, found: &[Requirement], require_all: bool) -> Trial {
    let missing = case
        .needs
        .iter()
        .copied()
        .find(|need| !found.contains(need));
    let run = case.run;
    Trial::test(case.name, move || match missing {
        Some(missing) => Err(Failed::from(format!("missing here: {}", missing.remedy()))),
        None => run().map_err(|error| report(&error)),
    })
    .with_ignored_flag(missing.is_some() && !require_all)
}

/// The error and the logs of the hosts that took part.
fn report(error: &Error) -> Failed {
    format!("{error:#}\n{}", host::take_logs().join("\n")).into()
}
