//! A component as a tree of sections, and back to bytes, also to wrong ones.

const MODULE: u8 = 1;
const COMPONENT: u8 = 4;
/// Deeper ones are taken as plain bytes.
const DEPTH_MAX: usize = 64;

/// A module or a component.
#[derive(Clone, Debug)]
pub(crate) struct Unit {
    pub(crate) preamble: [u8; 8],
    pub(crate) sections: Vec<Section>,
}

#[derive(Clone, Debug)]
pub(crate) struct Section {
    pub(crate) id: u8,
    pub(crate) body: Body,
    pub(crate) length: Length,
}

#[derive(Clone, Debug)]
pub(crate) enum Body {
    Bytes(Vec<u8>),
    Unit(Unit),
}

/// How the length of a section is written.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Length {
    Shortest,
    /// In five bytes, as linkers do.
    Padded,
    /// Wrong by so much.
    Off(i64),
}

impl Unit {
    /// Reads as far as there are whole sections; `None` if it does not even start like one.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        Self::parse_within(bytes, 0)
    }

    fn parse_within(bytes: &[u8], depth: usize) -> Option<Self> {
        let (preamble, mut rest) = bytes.split_first_chunk::<8>()?;
        if !preamble.starts_with(b"\0asm") || depth > DEPTH_MAX {
            return None;
        }
        let is_component = preamble[6] != 0;
        let mut sections = Vec::new();
        while let Some((id, tail)) = rest.split_first() {
            let Some((length, tail)) = read_leb(tail) else {
                break;
            };
            let Some((body, tail)) = tail.split_at_checked(length) else {
                break;
            };
            let nested = (is_component && matches!(*id, MODULE | COMPONENT))
                .then(|| Self::parse_within(body, depth + 1))
                .flatten();
            sections.push(Section {
                id: *id,
                body: nested.map_or_else(|| Body::Bytes(body.to_vec()), Body::Unit),
                length: Length::Shortest,
            });
            rest = tail;
        }
        Some(Self {
            preamble: *preamble,
            sections,
        })
    }

    pub(crate) fn write(&self) -> Vec<u8> {
        let mut bytes = self.preamble.to_vec();
        for section in &self.sections {
            let body = match &section.body {
                Body::Bytes(bytes) => bytes.clone(),
                Body::Unit(unit) => unit.write(),
            };
            bytes.push(section.id);
            let true_length = u64::try_from(body.len()).unwrap_or(u64::MAX);
            match section.length {
                Length::Shortest => write_leb(true_length, 1, &mut bytes),
                Length::Padded => write_leb(true_length, 5, &mut bytes),
                Length::Off(by) => write_leb(true_length.saturating_add_signed(by), 1, &mut bytes),
            }
            bytes.extend_from_slice(&body);
        }
        bytes
    }

    /// This unit, and those inside of it.
    pub(crate) fn count(&self) -> usize {
        1 + self.nested().map(Self::count).sum::<usize>()
    }

    /// The unit with this number, counted from the outermost.
    pub(crate) fn unit_mut(&mut self, number: usize) -> Option<&mut Self> {
        if number == 0 {
            return Some(self);
        }
        let mut before = 1;
        for section in &mut self.sections {
            if let Body::Unit(unit) = &mut section.body {
                let count = unit.count();
                if number < before + count {
                    return unit.unit_mut(number - before);
                }
                before += count;
            }
        }
        None
    }

    /// Sections anywhere inside.
    pub(crate) fn all_sections(&self) -> Vec<&Section> {
        let mut all: Vec<&Section> = self.sections.iter().collect();
        all.extend(self.nested().flat_map(Self::all_sections));
        all
    }

    fn nested(&self) -> impl Iterator<Item = &Self> {
        self.sections
            .iter()
            .filter_map(|section| match &section.body {
                Body::Unit(unit) => Some(unit),
                Body::Bytes(_) => None,
            })
    }
}

/// A number in LEB128 at the start of `bytes`, and what is after it.
pub(crate) fn read_leb(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut number = 0_u64;
    for (at, byte) in bytes.iter().take(5).enumerate() {
        number |= u64::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return Some((usize::try_from(number).ok()?, &bytes[at + 1..]));
        }
    }
    None
}

/// Writes a number in LEB128, in at least so many bytes.
pub(crate) fn write_leb(number: u64, bytes_min: usize, into: &mut Vec<u8>) {
    let mut rest = number;
    for at in 1.. {
        let low = u8::try_from(rest & 0x7f).unwrap_or(0);
        rest >>= 7;
        if rest == 0 && at >= bytes_min {
            into.push(low);
            return;
        }
        into.push(low | 0x80);
    }
}

#[cfg(test)]
mod tests {
    use super::Unit;

    #[test]
    fn what_is_read_is_written_again() {
        let bytes = wat::parse_str(
            "(component (core module (func) (memory 1)) (component (core module (func))) (type (func)))",
        )
        .unwrap();
        let mut unit = Unit::parse(&bytes).unwrap();
        assert_eq!(unit.write(), bytes);
        assert_eq!(unit.count(), 4);
        assert!(unit.unit_mut(3).is_some());
        assert!(unit.unit_mut(4).is_none());
    }
}
