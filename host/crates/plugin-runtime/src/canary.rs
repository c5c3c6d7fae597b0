//! Tries a plugin out in a throw-away instance, before any real event depends on it.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use domain::{
    ChannelFacts, ChannelId, ClientId, CloseReason, EventId, EventType, MqttVersion, Sequence,
    StatusEvent,
};

use crate::deadline::thread_cpu_time;
use crate::fault::MapperFault;
use crate::instance::{Instance, StartInstanceError};
use crate::mapper::Mapper;
use crate::room::with_room;
use crate::runtime::PrepareMapperError;
use crate::scheduler::{Scheduler, Turn};

/// 2026-01-01: plugins may think that an event of 1970 is none.
const TIME_MS: u64 = 1_767_225_600_000;

/// How a plugin did not pass.
enum Failure {
    /// `init` refused the configuration.
    Refused(String),
    /// It misbehaved: where, and how.
    Fault(String, MapperFault),
}

/// Starts an instance with the real configuration and maps one event of each type and `samples`.
/// What the plugin rejects is fine; what makes it misbehave is not. `mapper` is thrown away, too: what the plugin counts
/// here is none of the rule's. Returns how quick its calls were.
pub(crate) fn try_out(
    mapper: &Mapper,
    scheduler: &Scheduler,
    samples: &[Arc<StatusEvent>],
) -> Result<Turn, PrepareMapperError> {
    let _ticking = mapper.core.ticker.begin();
    let tried = with_room(
        scheduler,
        || run(mapper, samples),
        |tried| match tried {
            Err(Failure::Fault(_, fault)) => Some(fault),
            Ok(_) | Err(Failure::Refused(_)) => None,
        },
    );
    tried.map_err(|failure| match failure {
        Failure::Refused(reason) => PrepareMapperError::ConfigRefused { reason },
        Failure::Fault(place, fault) => {
            let detail = format!("{place}: {fault}");
            if fault.may_be_load() {
                PrepareMapperError::HostBusy { detail }
            } else {
                PrepareMapperError::CanaryFailed { detail }
            }
        }
    })
}

fn run(mapper: &Mapper, samples: &[Arc<StatusEvent>]) -> Result<Turn, Failure> {
    // An upload is tried without any rule first.
    let with = if mapper.config == "{}" {
        "with the configuration {}"
    } else {
        "with the configuration that it was given"
    };
    let mut instance = Instance::start(mapper).map_err(|error| match error {
        StartInstanceError::Refused(reason) => Failure::Refused(reason),
        StartInstanceError::Fault(fault) => Failure::Fault(format!("in init {with}"), fault),
    })?;
    let (mut turn, cpu_before) = (Turn::default(), thread_cpu_time());
    let synthetic = EventType::ALL.into_iter().filter_map(event).map(Arc::new);
    for event in synthetic.chain(samples.iter().cloned()) {
        instance.map(mapper, &event).map_err(|fault| {
            let event_type = event.event_type.as_str();
            Failure::Fault(format!("on a {event_type} event {with}"), fault)
        })?;
        turn.calls += 1;
        turn.longest_call = turn.longest_call.max(instance.call_cpu());
    }
    turn.cpu = thread_cpu_time().saturating_sub(cpu_before);
    Ok(turn)
}

/// An event as it could be; `None` never, since the name is valid.
fn event(event_type: EventType) -> Option<StatusEvent> {
    let client_id = ClientId::parse("GID_Canary@@@canary-1").ok()?;
    let channel = ChannelFacts {
        group_id: client_id.group(),
        client_id,
        channel_id: ChannelId([0xca; 16]),
        client_address: SocketAddr::from((Ipv4Addr::LOCALHOST, 50_312)),
        protocol: MqttVersion::V5,
        listener: "tcp",
        username: None,
        keep_alive_seconds: 60,
        clean_start: true,
        session_present: false,
    };
    Some(StatusEvent {
        event_id: EventId([0xca; 16]),
        event_type,
        time_ms: TIME_MS,
        sequence: Sequence(1),
        reason: match event_type {
            EventType::Connect => None,
            EventType::Disconnect | EventType::TcpClean => Some(CloseReason::ClientDisconnect),
        },
        synthetic: None,
        connected_at_ms: TIME_MS,
        channel: Arc::new(channel),
    })
}
