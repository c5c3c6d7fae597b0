//! The 256 parts of the client ids: the unit that moves between RocketMQ queues.

use crate::ClientId;

/// One of 256 parts of the client ids. All events of a client go through its slot, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Slot(pub u8);

impl Slot {
    /// How many there are.
    pub const COUNT: usize = 256;

    /// The slot of `client`. Stored maps rely on it: it must never change. FNV-1a of the bytes,
    /// its four halves folded, since the low bits alone spread short ids badly.
    #[must_use]
    pub fn of(client: &ClientId) -> Self {
        let hash = client
            .as_str()
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
            });
        Self(
            hash.to_le_bytes()
                .iter()
                .fold(0, |folded, byte| folded ^ byte),
        )
    }

    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..=u8::MAX).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::Slot;
    use crate::ClientId;

    #[test]
    fn the_slot_of_a_client_never_changes() {
        let slot = |id: &str| Slot::of(&ClientId::parse(id).unwrap()).0;
        assert_eq!(
            slot("a"),
            0xaf ^ 0x63 ^ 0xdc ^ 0x4c ^ 0x86 ^ 0x01 ^ 0xec ^ 0x8c
        );
    }

    #[test]
    fn slots_fill_evenly() {
        let mut counts = [0_u32; Slot::COUNT];
        for n in 0..25_600 {
            let id = ClientId::parse(&format!("GID_Demo@@@d{n}")).unwrap();
            counts[usize::from(Slot::of(&id).0)] += 1;
        }
        assert!(
            counts.iter().all(|count| (50..200).contains(count)),
            "{counts:?}"
        );
    }
}
