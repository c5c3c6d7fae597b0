//! What the demo prints.

use acceptance::host::TestHost;
use acceptance::message::Message;
use anyhow::{Context, Result};

use crate::scenario::Scenario;
use crate::{GROUP, RULE, TOPIC};

/// Where everything listens.
pub(crate) fn addresses(host: &TestHost) -> Result<()> {
    println!(
        "Rulemill runs, process {}, started in {} ms",
        host.pid(),
        host.started_in.as_millis()
    );
    println!("  MQTT            {}", host.mqtt()?);
    println!("  MQTT, WebSocket {}, path /mqtt", host.websocket()?);
    println!("  HTTP API        http://{}", host.addresses().admin);
    println!(
        "  RocketMQ        name server {}",
        host.name_server("embedded")?
    );
    println!("  data            {}", host.data_dir().display());
    println!("Rule {RULE}: status of the clients of {GROUP} goes to topic {TOPIC}");
    Ok(())
}

/// Each event of a pass beside its message.
pub(crate) fn pass(plugin: &str, number: usize, messages: &[Message]) {
    println!("\nPass {number}, mapped by the plugin {plugin}");
    for scenario in Scenario::ALL {
        let client_id = scenario.client_id(number);
        println!("\n  {client_id}: {}", scenario.title());
        for message in messages
            .iter()
            .filter(|message| message.keys.first() == Some(&client_id))
        {
            let place = format!("queue {} offset {}", message.queue_id, message.queue_offset);
            let tag = message.tag.as_deref().unwrap_or("-");
            println!(
                "    {tag:<10} → {place:<18} {}",
                message.body.as_deref().unwrap_or("(no text)")
            );
        }
    }
}

/// One line per message.
pub(crate) fn json(messages: &[Message]) -> Result<()> {
    for message in messages {
        println!("{}", serde_json::to_string(message)?);
    }
    Ok(())
}

/// Keeps the host running.
pub(crate) async fn until_ctrl_c(host: &TestHost) -> Result<()> {
    println!("\nThe host keeps running; Ctrl-C ends it.");
    println!(
        "  Connect a client:  mosquitto_sub -h {} -p {} -i {GROUP}@@@me -t demo",
        host.mqtt()?.ip(),
        host.mqtt()?.port()
    );
    println!(
        "  Use the API:       export RULEMILL_SERVER=http://{}",
        host.addresses().admin
    );
    println!(
        "                     export RULEMILL_TOKEN=$(cat {})",
        host.data_dir().join("admin-token").display()
    );
    tokio::signal::ctrl_c()
        .await
        .context("no Ctrl-C on this system")
}
