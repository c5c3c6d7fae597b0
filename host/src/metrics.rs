//! `/metrics`: the pipeline's text and the counters of broker, access and TLS, as one OpenMetrics
//! document.

use std::fmt::Write as _;
use std::sync::{Arc, OnceLock};

use access::{AccessStats, AuthenticatorChain};
use broker::{Broker, StatsSnapshot};
use mqtt_server::TlsStats;

type MeasureTls = Box<dyn Fn() -> Option<TlsStats> + Send + Sync>;

/// Who counts what happens at the sockets.
#[derive(Clone)]
pub(crate) struct Sockets {
    broker: Arc<Broker>,
    access: Arc<AuthenticatorChain>,
    /// Empty until the MQTT server runs.
    tls: Arc<OnceLock<MeasureTls>>,
}

impl Sockets {
    pub(crate) fn new(broker: &Arc<Broker>, access: &Arc<AuthenticatorChain>) -> Self {
        Self {
            broker: Arc::clone(broker),
            access: Arc::clone(access),
            tls: Arc::default(),
        }
    }

    /// The first one counts; there is one MQTT server.
    pub(crate) fn measure_tls(
        &self,
        measure: impl Fn() -> Option<TlsStats> + Send + Sync + 'static,
    ) {
        let _first = self.tls.get_or_init(|| Box::new(measure));
    }
}

/// Joins all and ends the document.
pub(crate) fn render(pipeline: String, sockets: &Sockets) -> String {
    let mut text = pipeline;
    // Writing to a String cannot fail.
    let _: std::fmt::Result = write(&mut text, &sockets.broker.stats().snapshot());
    let _: std::fmt::Result = write_access(&mut text, &sockets.access.stats());
    if let Some(tls) = sockets.tls.get().and_then(|measure| measure()) {
        let _: std::fmt::Result = write_tls(&mut text, &tls);
    }
    text.push_str("# EOF\n");
    text
}

fn write(text: &mut String, broker: &StatsSnapshot) -> std::fmt::Result {
    writeln!(text, "# TYPE rulemill_connections_opened counter")?;
    for (listener, count) in &broker.opened {
        writeln!(
            text,
            "rulemill_connections_opened_total{{listener=\"{listener}\"}} {count}"
        )?;
    }
    writeln!(text, "# TYPE rulemill_connections_closed counter")?;
    for (reason, count) in &broker.closed {
        writeln!(
            text,
            "rulemill_connections_closed_total{{reason=\"{}\"}} {count}",
            reason.as_str()
        )?;
    }
    writeln!(
        text,
        "# TYPE rulemill_connections gauge\nrulemill_connections {}",
        broker.online
    )?;
    writeln!(text, "# TYPE rulemill_connects_refused counter")?;
    for (reason, count) in &broker.refused {
        writeln!(
            text,
            "rulemill_connects_refused_total{{reason=\"{}\"}} {count}",
            reason.as_str()
        )?;
    }
    let refused = broker.refused.iter().map(|(_, count)| count).sum();
    let counters = [
        ("connections_refused", refused),
        ("messages_received", broker.messages_received),
        ("messages_queued", broker.messages_queued),
        ("messages_dropped", broker.messages_dropped),
        ("retained_refused", broker.retained_refused),
        ("clients_forgotten", broker.clients_forgotten),
    ];
    for (name, count) in counters {
        writeln!(
            text,
            "# TYPE rulemill_{name} counter\nrulemill_{name}_total {count}"
        )?;
    }
    Ok(())
}

fn write_access(text: &mut String, access: &AccessStats) -> std::fmt::Result {
    writeln!(text, "# TYPE rulemill_access_allowed counter")?;
    for (method, count) in &access.allowed {
        let method = method.as_str();
        writeln!(
            text,
            "rulemill_access_allowed_total{{method=\"{method}\"}} {count}"
        )?;
    }
    writeln!(text, "# TYPE rulemill_access_refused counter")?;
    for (kind, count) in &access.refused {
        writeln!(
            text,
            "rulemill_access_refused_total{{kind=\"{kind}\"}} {count}"
        )?;
    }
    writeln!(
        text,
        "# TYPE rulemill_access_passwords_hashed counter\nrulemill_access_passwords_hashed_total {}",
        access.hashed
    )?;
    writeln!(
        text,
        "# TYPE rulemill_access_passwords_remembered counter\nrulemill_access_passwords_remembered_total {}",
        access.remembered
    )?;
    writeln!(
        text,
        "# TYPE rulemill_access_passwords_waiting gauge\nrulemill_access_passwords_waiting {}",
        access.hashing
    )?;
    writeln!(
        text,
        "# TYPE rulemill_access_throttled_accounts gauge\nrulemill_access_throttled_accounts {}",
        access.accounts
    )
}

fn write_tls(text: &mut String, tls: &TlsStats) -> std::fmt::Result {
    writeln!(
        text,
        "# TYPE rulemill_tls_handshakes counter\nrulemill_tls_handshakes_total {}",
        tls.handshakes
    )?;
    writeln!(text, "# TYPE rulemill_tls_handshakes_failed counter")?;
    for (failure, count) in &tls.failed {
        let reason = failure.as_str();
        writeln!(
            text,
            "rulemill_tls_handshakes_failed_total{{reason=\"{reason}\"}} {count}"
        )?;
    }
    writeln!(
        text,
        "# TYPE rulemill_tls_handshakes_under_way gauge\nrulemill_tls_handshakes_under_way {}",
        tls.under_way
    )?;
    writeln!(text, "# TYPE rulemill_tls_certificate_reloads counter")?;
    for (result, count) in [("taken", tls.reloads), ("failed", tls.reloads_failed)] {
        writeln!(
            text,
            "rulemill_tls_certificate_reloads_total{{result=\"{result}\"}} {count}"
        )?;
    }
    writeln!(
        text,
        "# TYPE rulemill_tls_certificate_expires_seconds gauge\nrulemill_tls_certificate_expires_seconds {}",
        tls.certificate_expires_s
    )
}
