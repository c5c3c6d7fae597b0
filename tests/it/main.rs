//! The acceptance tests: what the product promises, stated from outside. One binary, so that all
//! tests share one Java RocketMQ; one test at a time, since several measure time.
//!
//! A test whose requirement the machine lacks is shown as ignored; with `RULEMILL_REQUIRE_ALL=1` it
//! fails. `RULEMILL_TEST_SCALE=full` runs those under load in the size that the product promises.

#![expect(
    clippy::disallowed_methods,
    reason = "a test thread waits for real processes in real time; there is no runtime to block"
)]

mod access;
mod admin_access;
mod administration_load;
mod apply;
mod backlog;
mod chaos;
mod clock;
mod compatible;
mod crash;
mod damage;
mod dead_letters;
mod demo;
mod disk_full;
mod full;
mod hostile;
mod isolation;
mod kill_points;
mod load;
mod manual;
mod mass_disconnect;
mod matrix;
mod outage;
mod plugin_and_config;
mod plugin_folder;
mod plugin_kit;
mod pushing;
mod queues;
mod readme;
mod readme_blocks;
mod rollback;
mod rule_trials;
mod rules;
mod rules_table;
mod schemathesis;
mod sdk_package;
mod serve;
mod stages;
mod swap;
mod swap_storm;
mod tls;
mod two_brokers;
mod two_writers;
mod wrong_configuration;
mod wrong_plugin;
mod wrong_rule;

use std::process::ExitCode;

use acceptance::chaos::Kind;
use acceptance::{host, java};
use anyhow::{Error, Result};
use libtest_mimic::{Arguments, Failed, Trial};
use xtask::failures;
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

const PAHO_AND_MQTT_JS: &[Requirement] = &[Requirement::Paho, Requirement::MqttJs];
const MOSQUITTO: &[Requirement] = &[Requirement::Mosquitto];

const ONS_MQTT: &[Requirement] = &[Requirement::OnsMqttSdk];
const SCHEMATHESIS: &[Requirement] = &[Requirement::Schemathesis];
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
    case("an_exception_leaves_its_traceback_in_rust", NONE, || {
        plugin_kit::traceback("rust")
    }),
    case(
        "an_exception_leaves_its_traceback_in_python",
        COMPONENTIZE_PY,
        || plugin_kit::traceback("python"),
    ),
    case(
        "an_exception_leaves_its_traceback_in_javascript",
        COMPONENTIZE_QJS,
        || plugin_kit::traceback("javascript"),
    ),
    case(
        "many_calls_wear_nothing_out_in_python",
        COMPONENTIZE_PY,
        || plugin_kit::many_calls("python"),
    ),
    case(
        "many_calls_wear_nothing_out_in_javascript",
        COMPONENTIZE_QJS,
        || plugin_kit::many_calls("javascript"),
    ),
    case(
        "the_packaged_sdk_builds_a_plugin_alone",
        NONE,
        sdk_package::works_alone,
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
        "a_rule_goes_back_and_stays_back_until_told_otherwise",
        NONE,
        rollback::by_hand,
    ),
    case(
        "a_version_that_fails_is_rolled_back_by_itself_and_loses_nothing",
        NONE,
        rollback::by_itself,
    ),
    case(
        "a_start_after_a_crash_buries_nothing_that_an_earlier_version_maps",
        NONE,
        rollback::across_a_crash,
    ),
    case(
        "a_plugin_and_its_configuration_change_together",
        NONE,
        plugin_and_config::change_together,
    ),
    case(
        "a_withdrawn_version_stays_withdrawn_under_another_number",
        NONE,
        plugin_and_config::stays_withdrawn,
    ),
    case(
        "a_rule_is_made_listed_disabled_and_deleted",
        NONE,
        rules::life_of_a_rule,
    ),
    case(
        "each_limit_of_rules_holds_from_both_sides_through_three_ways",
        NONE,
        rules_table::from_both_sides,
    ),
    case(
        "schemathesis_finds_nothing_in_the_api",
        SCHEMATHESIS,
        schemathesis::finds_nothing,
    ),
    case(
        "two_writers_of_one_rule_lose_nothing",
        NONE,
        two_writers::lose_nothing,
    ),
    case(
        "an_export_applies_as_no_change",
        NONE,
        apply::export_is_no_change,
    ),
    case(
        "an_apply_is_planned_first_and_all_or_nothing",
        NONE,
        apply::plan_then_change,
    ),
    case(
        "kill_9_in_an_apply_leaves_old_or_new",
        NONE,
        apply::killed_in_the_middle,
    ),
    case("the_folder_of_rules_is_true", NONE, apply::folder_of_rules),
    case(
        "a_rule_s_history_is_kept_and_rolled_back",
        NONE,
        rule_trials::history_and_rollback,
    ),
    case(
        "a_rule_is_sampled_and_tried",
        NONE,
        rule_trials::sample_and_test,
    ),
    case(
        "live_events_are_shown_as_they_happen",
        NONE,
        rule_trials::live_events,
    ),
    case(
        "instances_are_probed_step_by_step",
        NONE,
        rule_trials::instances,
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
        "a_storm_of_swaps_loses_nothing_and_slows_nobody",
        JAVA,
        swap_storm::loses_nothing_and_slows_nobody,
    ),
    case(
        "each_rename_into_the_watched_folder_is_a_version",
        NONE,
        plugin_folder::each_rename_is_a_version,
    ),
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
        "a_push_goes_on_when_its_client_hangs_up",
        NONE,
        pushing::outlives_its_client,
    ),
    case(
        "a_push_gives_way_to_all_others_and_ends_all_the_same",
        NONE,
        pushing::ends_on_a_busy_machine,
    ),
    case(
        "a_push_is_all_or_nothing_when_the_host_is_killed",
        NONE,
        pushing::is_all_or_nothing,
    ),
    case(
        "each_hostile_component_gets_its_outcome",
        NONE,
        hostile::each_gets_its_outcome,
    ),
    case(
        "plugin_check_refuses_a_bomb_for_the_compiler",
        NONE,
        hostile::check_refuses_a_bomb,
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
    case(
        "admin_the_audit_log_has_every_change",
        NONE,
        admin_access::audit::has_every_change,
    ),
    case(
        "admin_a_viewer_can_change_nothing",
        NONE,
        admin_access::roles::viewer_changes_nothing,
    ),
    case(
        "admin_a_revoked_token_is_dead_within_a_second",
        NONE,
        admin_access::revoked_token_is_dead,
    ),
    case(
        "admin_wrong_tokens_are_throttled",
        NONE,
        admin_access::wrong_tokens_are_throttled,
    ),
    case(
        "admin_a_sign_in_code_works_once",
        NONE,
        admin_access::code_works_once,
    ),
    case(
        "admin_users_and_access_keys_count_within_a_second",
        NONE,
        admin_access::credentials::users_and_keys_count_at_once,
    ),
    case(
        "admin_nothing_secret_is_shown",
        NONE,
        admin_access::secrets::nothing_secret_is_shown,
    ),
    case(
        "admin_the_listener_speaks_tls_and_takes_a_new_certificate",
        NONE,
        admin_access::tls::admin_tls,
    ),
    case(
        "admin_beyond_loopback_needs_tls",
        NONE,
        admin_access::tls::beyond_loopback_needs_tls,
    ),
    case(
        "administration_stays_quick_with_many_rules_and_clients",
        NONE,
        administration_load::stays_quick_with_many_rules_and_clients,
    ),
    case(
        "the_official_sdk_performs_every_supported_action",
        ONS_MQTT,
        compatible::every_supported_action,
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
    case(
        "right_credentials_open_and_wrong_ones_are_no_event",
        NONE,
        access::right_and_wrong,
    ),
    case(
        "removed_credentials_open_nothing",
        NONE,
        access::removed_credentials_open_nothing,
    ),
    case(
        "credentials_outlive_a_restart",
        NONE,
        access::credentials_outlive_a_restart,
    ),
    case(
        "a_thousand_guesses_a_second_open_nothing_and_slow_nobody",
        NONE,
        access::a_thousand_guesses_a_second,
    ),
    case(
        "foreign_clients_connect_with_credentials",
        PAHO_AND_MQTT_JS,
        access::foreign_clients,
    ),
    case(
        "foreign_clients_connect_over_tls",
        PAHO_AND_MQTT_JS,
        tls::foreign_clients,
    ),
    case("mosquitto_connects_over_tls", MOSQUITTO, tls::mosquitto),
    case(
        "a_certificate_is_replaced_under_open_connections",
        PAHO_AND_MQTT_JS,
        tls::a_certificate_is_replaced,
    ),
    case(
        "wrong_certificates_are_refused_in_one_line",
        NONE,
        tls::wrong_certificates,
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

fn trial(case: &'static Case, found: &[Requirement], require_all: bool) -> Trial {
    let missing = case
        .needs
        .iter()
        .copied()
        .find(|need| !found.contains(need));
    let run = case.run;
    Trial::test(case.name, move || match missing {
        Some(missing) => Err(Failed::from(format!("missing here: {}", missing.remedy()))),
        None => {
            // Those of the cases before would only stand before what went wrong in this one.
            drop(host::take_logs());
            run().map_err(|error| report(case.name, &error))
        }
    })
    .with_ignored_flag(missing.is_some() && !require_all)
}

/// The error and the logs of the hosts that took part.
fn report(name: &str, error: &Error) -> Failed {
    let why = format!("{error:#}\n{}", host::take_logs().join("\n"));
    match failures::note(name, &why) {
        Ok(()) => why.into(),
        Err(error) => format!("{why}\nnot noted: {error}").into(),
    }
}
