//! The acceptance tests: what the product promises, stated from outside. One binary, so that all
//! tests share one Java RocketMQ; one test at a time, since several measure time.
//!
//! A test whose requirement the machine lacks is shown as ignored; with `RULEMILL_REQUIRE_ALL=1` it
//! fails. `RULEMILL_TEST_SCALE=full` runs those under load in the size that the product promises.

mod backlog;
mod chaos;
mod clock;
mod crash;
mod damage;
mod dead_letters;
mod demo;
mod disk_full;
mod full;
mod isolation;
mod kill_points;
mod load;
mod manual;
mod mass_disconnect;
mod matrix;
mod outage;
mod plugin_kit;
mod queues;
mod readme;
mod rules;
mod serve;
mod stages;
mod swap;
mod two_brokers;
mod wrong_configuration;
mod wrong_plugin;
mod wrong_rule;

use std::process::ExitCode;

use acceptance::chaos::Kind;
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
const JAVA_AND_PAHO: &[Requirement] = &[Requirement::JavaRocketmq, Requirement::Paho];
const JAVA_AND_MOUNTS: &[Requirement] = &[Requirement::JavaRocketmq, Requirement::Mounts];
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

const COMPONENTIZE_PY: &[Requirement] = &[Requirement::ComponentizePy];
const COMPONENTIZE_QJS: &[Requirement] = &[Requirement::ComponentizeQjs];

const CASES: &[Case] = &[
    case("a_first_mapping_is_live_in_rust", NONE, || {
        plugin_kit::first_mapping("rust")
    }),
    case("a_first_mapping_is_live_in_python", COMPONENTIZE_PY, || {
        plugin_kit::first_mapping("python")
    }),
    case(
        "a_first_mapping_is_live_in_javascript",
        COMPONENTIZE_QJS,
        || plugin_kit::first_mapping("javascript"),
    ),
    case(
        "a_watched_plugin_is_live_after_each_save",
        NONE,
        plugin_kit::watch,
    ),
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
    case(
        "a_damaged_outbox_loses_nothing_or_says_what_embedded",
        NONE,
        damage::single_bits,
    ),
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
    case(
        "a_mass_disconnect_in_an_outage_loses_no_tcpclean",
        JAVA,
        mass_disconnect::every_loss_is_told,
    ),
    case(
        "a_full_share_refuses_only_its_group",
        JAVA_AND_PAHO,
        full::share,
    ),
    case("a_full_outbox_refuses_and_recovers", JAVA, full::outbox),
    case(
        "a_full_disk_refuses_and_loses_nothing_acknowledged",
        JAVA_AND_MOUNTS,
        disk_full::full,
    ),
    case(
        "a_read_only_disk_refuses_and_loses_nothing_acknowledged",
        JAVA_AND_MOUNTS,
        disk_full::read_only,
    ),
    case(
        "one_of_two_brokers_dies_and_returns",
        JAVA,
        two_brokers::one_killed,
    ),
    case(
        "queues_come_and_vanish_under_load",
        JAVA,
        queues::come_and_vanish,
    ),
    case(
        "a_rule_in_the_worst_state_hurts_no_other",
        JAVA,
        isolation::of_a_rule_in_the_worst_state,
    ),
    case(
        "a_long_outage_s_backlog_is_bounded_and_drains",
        JAVA,
        backlog::of_a_long_outage,
    ),
    case(
        "the_stages_of_an_event_are_timed",
        JAVA,
        stages::of_one_event,
    ),
    case(
        "dead_letters_are_seen_replayed_and_deleted",
        JAVA,
        dead_letters::seen_replayed_and_deleted,
    ),
    case(
        "too_many_dead_letters_pause_the_rule",
        JAVA,
        dead_letters::too_many_pause_the_rule,
    ),
    case("the_manual_names_tests_that_exist", NONE, manual_names),
    case("random_schedules_keep_every_promise_embedded", NONE, || {
        chaos::schedules(Kind::Embedded)
    }),
    case("random_schedules_keep_every_promise_java", JAVA, || {
        chaos::schedules(Kind::Java)
    }),
    case("kill_9_before_append_keeps_the_promises", NONE, || {
        kill_points::rounds("before-append")
    }),
    case("kill_9_before_commit_keeps_the_promises", NONE, || {
        kill_points::rounds("before-commit")
    }),
    case("kill_9_after_commit_keeps_the_promises", NONE, || {
        kill_points::rounds("after-commit")
    }),
    case("kill_9_after_send_keeps_the_promises", NONE, || {
        kill_points::rounds("after-send")
    }),
    case("kill_9_during_compaction_keeps_the_promises", NONE, || {
        kill_points::rounds("compaction")
    }),
    case("kill_9_during_start_up_keeps_the_promises", NONE, || {
        kill_points::rounds("start-up")
    }),
    case(
        "a_restored_older_data_folder_goes_on_later",
        JAVA,
        clock::restored_folder,
    ),
];

fn manual_names() -> Result<()> {
    let names: Vec<&str> = CASES.iter().map(|case| case.name).collect();
    manual::names_tests_that_exist(&names)
}

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
