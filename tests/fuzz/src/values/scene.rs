//! What happens to one input: which guest, which event, which configuration.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::sync::Arc;

use domain::{
    ChannelFacts, ChannelId, ClientId, CloseReason, EventId, EventType, MqttVersion, Sequence,
    StatusEvent, Synthetic,
};

use super::guest;
use super::text;
use crate::contract::Encoding;
use crate::random::Random;

/// A user name of MQTT has at most so many bytes.
const USERNAME_BYTES_MAX: usize = 65_535;
/// The most that a configuration takes in a request of the API.
const CONFIG_BYTES_MAX: usize = 65_536;

/// What is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    /// `map-event` returns from the image.
    Image,
    /// `init` returns from the image.
    InitImage,
    /// The names of the attributes are those in the image.
    NamesImage,
    /// An allocation of the guest is answered with this address.
    Trick {
        at: u32,
        value: u32,
    },
    /// The event comes back: a text of this number, numbers, or all of it.
    Text(u64),
    Numbers,
    Record,
    /// The configuration comes back.
    Config,
}

/// All that the first eight bytes of an input determine.
#[derive(Clone, Debug)]
pub(super) struct Scene {
    pub(super) act: Act,
    pub(super) encoding: Encoding,
    /// Over the mapper threads, not on this one.
    pub(super) is_threaded: bool,
    random: Random,
}

impl Scene {
    pub(super) fn of(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let encoding = *random.pick(&Encoding::ALL);
        let is_threaded = random.in_hundred(12);
        let act = match random.below(100) {
            0..60 => Act::Image,
            60..65 => Act::InitImage,
            65..70 => Act::NamesImage,
            70..75 => Act::Trick {
                at: u32::try_from(random.between(1, 5)).unwrap_or(1),
                value: trick(&mut random),
            },
            75..85 => Act::Text(match random.below(12) {
                number @ 0..5 => u64::try_from(number).unwrap_or(0),
                // At least eight attributes are always there.
                _ => guest::ATTRIBUTE_TEXTS + u64::try_from(random.below(16)).unwrap_or(0),
            }),
            85..88 => Act::Numbers,
            88..94 => Act::Record,
            _ => Act::Config,
        };
        Self {
            act,
            encoding,
            is_threaded,
            random,
        }
    }

    /// An event of this operation of the guest, with any other facts.
    pub(super) fn event(&self, op: u64, username: Option<&str>) -> Arc<StatusEvent> {
        let mut random = self.random.clone();
        let random = &mut random;
        let client_id = client_id(random);
        let connected_at_ms = number(random);
        let channel = ChannelFacts {
            group_id: client_id.group(),
            client_id,
            channel_id: ChannelId(sixteen(random)),
            client_address: address(random),
            protocol: *random.pick(&[MqttVersion::V311, MqttVersion::V5]),
            listener: random.pick(&["tcp", "ws"]),
            username: match username {
                Some(name) => Some(name.into()),
                None if random.in_hundred(30) => None,
                None => Some(text::any(username_bytes_max(random), random).into()),
            },
            keep_alive_seconds: u16::from_le_bytes([random.byte(), random.byte()]),
            clean_start: random.in_hundred(50),
            session_present: random.in_hundred(50),
        };
        Arc::new(StatusEvent {
            event_id: EventId(sixteen(random)),
            event_type: *random.pick(&EventType::ALL),
            time_ms: number(random),
            // The guest reads the operation from its lowest two bytes.
            sequence: Sequence(number(random) & !0xffff | op),
            reason: random
                .in_hundred(50)
                .then(|| *random.pick(CloseReason::ALL)),
            synthetic: random
                .in_hundred(20)
                .then(|| *random.pick(&[Synthetic::Snapshot, Synthetic::HostRestart])),
            connected_at_ms,
            channel: Arc::new(channel),
        })
    }

    /// A configuration that `init` refuses with itself.
    pub(super) fn config(&self) -> String {
        let mut random = self.random.clone();
        let most = if random.in_hundred(10) {
            CONFIG_BYTES_MAX
        } else {
            500
        };
        format!("E{}", text::any(most, &mut random))
    }
}

fn username_bytes_max(random: &mut Random) -> usize {
    if random.in_hundred(10) {
        USERNAME_BYTES_MAX
    } else {
        200
    }
}

fn client_id(random: &mut Random) -> ClientId {
    let device: String = text::any(200, random)
        .chars()
        .filter(|character| !character.is_control())
        .collect();
    let text = if random.in_hundred(60) {
        format!("GID_Group@@@{device}")
    } else {
        device
    };
    let fallback = || ClientId::parse("x").unwrap_or_else(|error| unreachable!("{error}"));
    ClientId::parse(&text).unwrap_or_else(|_| fallback())
}

fn address(random: &mut Random) -> SocketAddr {
    let port = u16::from_le_bytes([random.byte(), random.byte()]);
    if random.in_hundred(50) {
        return (Ipv4Addr::from_bits(half(random)), port).into();
    }
    let host = Ipv6Addr::from(sixteen(random));
    let scope = if random.in_hundred(20) {
        half(random)
    } else {
        0
    };
    SocketAddrV6::new(host, port, 0, scope).into()
}

fn half(random: &mut Random) -> u32 {
    u32::try_from(random.next() >> 32).unwrap_or(0)
}

fn sixteen(random: &mut Random) -> [u8; 16] {
    std::array::from_fn(|_| random.byte())
}

fn number(random: &mut Random) -> u64 {
    let any = random.next();
    *random.pick(&[
        0,
        1,
        1_767_225_600_000,
        (1 << 53) - 1,
        any >> 20,
        any,
        u64::MAX,
    ])
}

/// Addresses that an allocation should not have.
fn trick(random: &mut Random) -> u32 {
    let any = half(random);
    *random.pick(&[
        0,
        1,
        2,
        65_537,
        1_048_575,
        1_048_576,
        1_048_577,
        u32::MAX,
        any & 0xf_ffff,
        any,
    ])
}
