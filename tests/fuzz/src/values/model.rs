//! An independent reading of the canonical ABI: what a memory image means, or that it means nothing.

use domain::{Mapping, OutboundMessage, RejectEvent};

use super::guest::{self, MEMORY_BYTES};
use crate::contract::Encoding;

/// What one lift may copy out of the guest, as the sandbox says: the output and room for lists.
const COPIED_BYTES_MAX: usize = super::OUTPUT_BYTES_MAX + 256 * 1024;
/// Host sizes that the engine charges for an element.
const MESSAGE_BYTES: usize = 120;
const STRING_BYTES: usize = 24;
const PAIR_BYTES: usize = 48;

/// In strings that are Latin-1 or UTF-16, the bit of the length that says which.
const UTF16: usize = 1 << 31;

/// Why there is no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// No value is written like that.
    Invalid,
    /// It has more bytes than the sandbox copies.
    TooMuch,
}

pub(super) type Lift<T> = Result<T, Stop>;

/// The memory of the guest after it decoded an image.
pub(super) struct Memory<'a> {
    image: &'a [u8],
    encoding: Encoding,
    copied: usize,
}

/// An import that the image asks to be called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Call {
    Log(String),
    Add(String, u64),
}

impl<'a> Memory<'a> {
    pub(super) fn new(image: &'a [u8], encoding: Encoding) -> Self {
        Self {
            image,
            encoding,
            copied: 0,
        }
    }

    /// The imports that are called, up to the first one that cannot be.
    pub(super) fn calls(&mut self) -> (Vec<Call>, Lift<()>) {
        let mut calls = Vec::new();
        for number in 0..self.word(guest::CALLS) & 3 {
            self.copied = 0;
            match self.call(guest::CALL + number * guest::CALL_BYTES) {
                Ok(call) => calls.push(call),
                Err(stop) => return (calls, Err(stop)),
            }
        }
        self.copied = 0;
        (calls, Ok(()))
    }

    fn call(&mut self, at: usize) -> Lift<Call> {
        if self.word(at) & 1 == 1 {
            let delta = (0..8).map(|byte| u64::from(self.byte(at + 16 + byte)) << (8 * byte));
            let delta = delta.sum();
            return Ok(Call::Add(self.string(at + 8)?, delta));
        }
        // trace, debug, info, warn, error
        if self.word(at + 4) >= 5 {
            return Err(Stop::Invalid);
        }
        Ok(Call::Log(self.string(at + 8)?))
    }

    /// `result<_, string>` of `init`.
    pub(super) fn init_answer(&mut self) -> Lift<Result<(), String>> {
        let at = self.result(12)?;
        match self.byte(at) {
            0 => Ok(Ok(())),
            1 => Ok(Err(self.string(at + 4)?)),
            _ => Err(Stop::Invalid),
        }
    }

    /// `option<list<string>>` of `names`.
    pub(super) fn names_answer(&mut self) -> Lift<Option<Vec<String>>> {
        let at = self.result(12)?;
        match self.byte(at) {
            0 => Ok(None),
            1 => {
                let names = self.list(at + 4, 8, 4, STRING_BYTES)?;
                names
                    .map(|at| self.string(at))
                    .collect::<Lift<_>>()
                    .map(Some)
            }
            _ => Err(Stop::Invalid),
        }
    }

    /// `result<list<message>, map-error>` of `map-event`.
    pub(super) fn map_answer(&mut self) -> Lift<Mapping> {
        let at = self.result(16)?;
        match self.byte(at) {
            0 => {
                let messages = self.list(at + 4, 44, 4, MESSAGE_BYTES)?;
                let messages = messages.map(|at| self.message(at)).collect::<Lift<_>>()?;
                Ok(Mapping::Deliver(messages))
            }
            1 => match self.byte(at + 4) {
                0 => Ok(Mapping::Reject(RejectEvent::Rejected(self.string(at + 8)?))),
                1 => Ok(Mapping::Reject(RejectEvent::Retry(self.string(at + 8)?))),
                _ => Err(Stop::Invalid),
            },
            _ => Err(Stop::Invalid),
        }
    }

    fn message(&mut self, at: usize) -> Lift<OutboundMessage> {
        let tag = match self.byte(at) {
            0 => None,
            1 => Some(self.string(at + 4)?),
            _ => return Err(Stop::Invalid),
        };
        let keys = self.list(at + 12, 8, 4, STRING_BYTES)?;
        let keys = keys.map(|at| self.string(at)).collect::<Lift<_>>()?;
        let properties = self.pairs(at + 20)?;
        let body = self.list(at + 28, 1, 1, 1)?;
        let body = body.map(|at| self.byte(at)).collect();
        self.pairs(at + 36)?;
        Ok(OutboundMessage {
            tag,
            keys,
            properties,
            body,
        })
    }

    fn pairs(&mut self, at: usize) -> Lift<Vec<(String, String)>> {
        let pairs = self.list(at, 16, 4, PAIR_BYTES)?;
        pairs
            .map(|at| Ok((self.string(at)?, self.string(at + 8)?)))
            .collect()
    }

    /// Where the result is that the first word of the image points at.
    fn result(&self, bytes: usize) -> Lift<usize> {
        let at = self.word(0);
        if at.is_multiple_of(4) && at + bytes <= MEMORY_BYTES {
            Ok(at)
        } else {
            Err(Stop::Invalid)
        }
    }

    /// Addresses of the elements of the list whose address and length are at `at`.
    fn list(
        &mut self,
        at: usize,
        bytes: usize,
        align: usize,
        host_bytes: usize,
    ) -> Lift<impl Iterator<Item = usize> + use<>> {
        let (start, length) = (self.word(at), self.word(at + 4));
        if start + length * bytes > MEMORY_BYTES {
            return Err(Stop::Invalid);
        }
        self.copy(length * host_bytes)?;
        if !start.is_multiple_of(align) {
            return Err(Stop::Invalid);
        }
        Ok((0..length).map(move |index| start + index * bytes))
    }

    /// The string whose address and length are at `at`.
    fn string(&mut self, at: usize) -> Lift<String> {
        let (start, length) = (self.word(at), self.word(at + 4));
        let is_utf16 = match self.encoding {
            Encoding::Utf8 => false,
            Encoding::Utf16 => true,
            Encoding::Compact => length & UTF16 != 0,
        };
        let align = if self.encoding == Encoding::Utf8 {
            1
        } else {
            2
        };
        let bytes = match self.encoding {
            Encoding::Utf8 => length,
            Encoding::Utf16 => length * 2,
            Encoding::Compact if is_utf16 => (length ^ UTF16) * 2,
            Encoding::Compact => length,
        };
        if !start.is_multiple_of(align) || start + bytes > MEMORY_BYTES {
            return Err(Stop::Invalid);
        }
        self.copy(bytes)?;
        let content: Vec<u8> = (start..start + bytes).map(|at| self.byte(at)).collect();
        if is_utf16 {
            let units: Vec<u16> = content
                .chunks(2)
                .map(|unit| u16::from_le_bytes([unit[0], unit[1]]))
                .collect();
            return String::from_utf16(&units).map_err(|_| Stop::Invalid);
        }
        match self.encoding {
            Encoding::Compact => Ok(content.into_iter().map(char::from).collect()),
            Encoding::Utf8 | Encoding::Utf16 => {
                String::from_utf8(content).map_err(|_| Stop::Invalid)
            }
        }
    }

    fn copy(&mut self, bytes: usize) -> Lift<()> {
        self.copied += bytes;
        if self.copied > COPIED_BYTES_MAX {
            Err(Stop::TooMuch)
        } else {
            Ok(())
        }
    }

    fn word(&self, at: usize) -> usize {
        (0..4).fold(0, |word, byte| {
            word | usize::from(self.byte(at + byte)) << (8 * byte)
        })
    }

    fn byte(&self, at: usize) -> u8 {
        self.image.get(at).copied().unwrap_or(0)
    }
}
