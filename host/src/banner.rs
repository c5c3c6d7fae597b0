//! What `serve` prints when it is ready: where everything listens, and what to do next.

use std::path::Path;

use domain::{AnyRuleDraft, Direction};
use pipeline::control::{Control, Health};

use crate::run_json::Addresses;

/// Prints it to stdout.
#[expect(clippy::print_stdout, reason = "this is the command's output")]
pub(crate) fn print(addresses: &Addresses, data_dir: &Path, sign_in_link: &str, control: &Control) {
    let list = |all: &[std::net::SocketAddr]| {
        if all.is_empty() {
            return "off".to_owned();
        }
        all.iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(", ")
    };
    println!("rulemill {} is ready", env!("CARGO_PKG_VERSION"));
    println!("  MQTT (TCP)          {}", list(&addresses.mqtt_tcp));
    println!(
        "  MQTT (WebSocket)    {}, path /mqtt",
        list(&addresses.mqtt_ws)
    );
    if !addresses.mqtt_tls.is_empty() {
        println!("  MQTT (TLS)          {}", list(&addresses.mqtt_tls));
    }
    if !addresses.mqtt_wss.is_empty() {
        println!(
            "  MQTT (secure WS)    {}, path /mqtt",
            list(&addresses.mqtt_wss)
        );
    }
    println!("  HTTP API            {}", addresses.admin_url());
    println!("  sign in, once       {sign_in_link}");
    for (instance, address) in &addresses.rocketmq_name_server {
        println!("  RocketMQ {instance:<10} name server {address}, in this process");
    }
    println!("  data                {}", data_dir.display());
    println!(
        "  admin token         {}",
        data_dir.join("admin-token").display()
    );
    let rules = control.rules();
    if rules.is_empty() {
        let instance = control
            .instances()
            .first()
            .map_or_else(|| "INSTANCE".to_owned(), ToString::to_string);
        println!(
            "There is no rule yet, so status events go nowhere. Create one for a group of clients:"
        );
        println!(
            "  rulemill rule create my-status --group GID_Demo --instance {instance} --topic ClientStatus"
        );
        println!("then connect a client as GID_Demo@@@device1 and read what it caused:");
        println!("  rulemill messages --instance {instance} --topic ClientStatus --from-start");
    }
    for view in rules {
        let (draft, state) = (view.rule.draft(), &view.state);
        let reason = match (&state.reason, state.health) {
            (Some(reason), _) => format!(": {reason}"),
            (None, Health::Running | Health::Disabled | Health::Paused) => String::new(),
            (None, other) => format!(" ({})", other.as_str()),
        };
        println!(
            "  rule {} ({}): {}{reason}",
            draft.rule_id(),
            state.health.as_str(),
            way(&draft)
        );
    }
}

/// From where to where.
fn way(draft: &AnyRuleDraft) -> String {
    match draft {
        AnyRuleDraft::Status(draft) => format!("{} -> {}", draft.group_id, draft.destination),
        AnyRuleDraft::Data(draft) => match draft.direction {
            Direction::Outbound => format!("{} -> {}", draft.mqtt_topic, draft.rocketmq),
            Direction::Inbound => format!("{} -> {}", draft.rocketmq, draft.mqtt_topic),
        },
    }
}
