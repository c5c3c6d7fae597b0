//! Memory images of a guest: a valid result mostly, then bent at its pointers, lengths and cases.

use domain::AttributeName;

use super::guest::{CALL, CALL_BYTES, CALLS, FREE, IMAGE_BYTES_MAX, MEMORY_BYTES, TRICK_AT};
use super::text;
use crate::contract::Encoding;
use crate::random::Random;

/// New things are put below; the rest is for what mutations add.
const BUILT_BYTES_MAX: usize = 24 * 1024;

struct Builder<'a> {
    bytes: Vec<u8>,
    encoding: Encoding,
    /// Where pointers, lengths and cases are.
    places: Vec<usize>,
    random: &'a mut Random,
}

/// Whose result an image has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Export {
    Init,
    Names,
    MapEvent,
}

/// An image whose result is that of `export`.
pub(super) fn draw(encoding: Encoding, export: Export, random: &mut Random) -> Vec<u8> {
    let mut builder = Builder {
        bytes: vec![0; FREE],
        encoding,
        places: vec![0, CALLS],
        random,
    };
    builder.calls();
    let result = builder.room(16, 4);
    builder.word(0, result);
    match export {
        Export::Init => builder.init_answer(result),
        Export::Names => builder.names_answer(result),
        Export::MapEvent => builder.map_answer(result),
    }
    let Builder {
        mut bytes, places, ..
    } = builder;
    if random.in_hundred(55) {
        for _ in 0..=random.skewed(4) {
            bend(&mut bytes, &places, random);
        }
    }
    bytes
}

/// Changes an image of which nothing is known.
pub(super) fn change(image: &mut Vec<u8>, random: &mut Random) {
    let words: Vec<usize> = (0..image.len() / 4).map(|word| word * 4).collect();
    for _ in 0..=random.skewed(4) {
        bend(image, &words, random);
    }
    image.truncate(IMAGE_BYTES_MAX);
}

impl Builder<'_> {
    fn calls(&mut self) {
        let count = if self.random.in_hundred(60) {
            0
        } else {
            self.random.below(4)
        };
        self.word(CALLS, count);
        for number in 0..count {
            let at = CALL + number * CALL_BYTES;
            let kind = self.random.below(2);
            self.word(at, kind);
            let level = self.random.below(5);
            self.word(at + 4, level);
            let delta = if self.random.in_hundred(10) {
                u64::MAX
            } else {
                self.random.next() >> 50
            };
            self.bytes[at + 16..at + 24].copy_from_slice(&delta.to_le_bytes());
            // Few names, so that counters are added to, and their limit is reached late.
            if self.random.in_hundred(50) {
                let name = format!("counter-{}", self.random.below(5));
                self.string(at + 8, &name);
            } else {
                self.any_string(at + 8, 1500);
            }
            self.places.extend([at, at + 4]);
        }
    }

    fn init_answer(&mut self, at: usize) {
        if self.random.in_hundred(50) {
            self.case(at, 1);
            self.any_string(at + 4, 3000);
        }
    }

    fn names_answer(&mut self, at: usize) {
        if self.random.in_hundred(10) {
            return;
        }
        self.case(at, 1);
        let count = match self.random.below(10) {
            0 => self.random.between(63, 66),
            1 => self.random.skewed(1000),
            _ => self.random.below(5),
        };
        let names = self.list(at + 4, count, 8);
        for number in 0..count {
            if self.random.in_hundred(80) {
                let name = *self.random.pick(&AttributeName::ALL);
                self.string(names + number * 8, name.as_str());
            } else {
                self.any_string(names + number * 8, 70);
            }
        }
    }

    fn map_answer(&mut self, at: usize) {
        if self.random.in_hundred(25) {
            self.case(at, 1);
            let case = u8::from(self.random.in_hundred(50));
            self.case(at + 4, case);
            self.any_string(at + 8, 3000);
            return;
        }
        self.case(at, 0);
        let count = match self.random.below(10) {
            0 => 0,
            1 => self.random.between(15, 18),
            2 => self.random.skewed(400),
            _ => self.random.between(1, 3),
        };
        let messages = self.list(at + 4, count, 44);
        let is_one_for_all = count > 3 && self.random.in_hundred(50);
        for number in 0..count {
            let message = messages + number * 44;
            if is_one_for_all && number > 0 {
                let (first, rest) = (messages..messages + 44, message);
                self.bytes.copy_within(first, rest);
            } else {
                self.message(message);
            }
        }
    }

    fn message(&mut self, at: usize) {
        if self.random.in_hundred(50) {
            self.case(at, 1);
            self.any_string(at + 4, 40);
        } else {
            self.case(at, 0);
        }
        let count = self.random.skewed(3);
        let keys = self.list(at + 12, count, 8);
        for key in 0..count {
            self.any_string(keys + key * 8, 40);
        }
        self.pairs(at + 20);
        let count = if self.random.in_hundred(90) {
            1 + self.random.skewed(300)
        } else {
            0
        };
        let body = self.list(at + 28, count, 1);
        for byte in body..body + count {
            self.bytes[byte] = self.random.byte();
        }
        if self.random.in_hundred(5) {
            self.zeros(at + 28);
        }
        self.pairs(at + 36);
    }

    fn pairs(&mut self, at: usize) {
        let count = self.random.skewed(3);
        let pairs = self.list(at, count, 16);
        for pair in 0..count {
            self.any_string(pairs + pair * 16, 30);
            self.any_string(pairs + pair * 16 + 8, 60);
        }
    }

    /// Room for a list, its address and length written at `at`.
    fn list(&mut self, at: usize, count: usize, bytes: usize) -> usize {
        let align = if bytes == 1 { 1 } else { 4 };
        let start = self.room(count * bytes, align);
        self.word(at, start);
        self.word(at + 4, count);
        self.places.extend([at, at + 4]);
        start
    }

    fn any_string(&mut self, at: usize, bytes_max: usize) {
        let text = text::any(bytes_max, self.random);
        self.string(at, &text);
        if self.random.in_hundred(2) {
            self.zeros(at);
        }
    }

    fn string(&mut self, at: usize, text: &str) {
        let is_latin1 = text.chars().all(|character| u32::from(character) < 256);
        let (bytes, length, align): (Vec<u8>, usize, usize) = match self.encoding {
            Encoding::Utf8 => (text.as_bytes().to_vec(), text.len(), 1),
            Encoding::Compact if is_latin1 => {
                let bytes: Vec<u8> = text
                    .chars()
                    .filter_map(|character| u8::try_from(u32::from(character)).ok())
                    .collect();
                let length = bytes.len();
                (bytes, length, 2)
            }
            Encoding::Utf16 | Encoding::Compact => {
                let bytes: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
                let tag = if self.encoding == Encoding::Compact {
                    1 << 31
                } else {
                    0
                };
                let length = (bytes.len() / 2) | tag;
                (bytes, length, 2)
            }
        };
        let start = self.room(bytes.len(), align);
        self.bytes[start..start + bytes.len()].copy_from_slice(&bytes);
        self.word(at, start);
        self.word(at + 4, length);
        self.places.extend([at, at + 4]);
    }

    /// A pointer to the zeros behind the image, many of them.
    fn zeros(&mut self, at: usize) {
        let length = self.random.skewed(400_000);
        let start =
            IMAGE_BYTES_MAX + self.random.below(MEMORY_BYTES - IMAGE_BYTES_MAX - length) / 4 * 4;
        self.word(at, start);
        self.word(at + 4, length);
    }

    fn room(&mut self, bytes: usize, align: usize) -> usize {
        let start = self.bytes.len().next_multiple_of(align);
        if start + bytes > BUILT_BYTES_MAX {
            // Over something else then.
            self.bytes.resize(self.bytes.len().max(FREE + bytes), 0);
            return FREE;
        }
        self.bytes.resize(start + bytes, 0);
        start
    }

    fn case(&mut self, at: usize, case: u8) {
        self.bytes[at] = case;
        self.places.push(at);
    }

    fn word(&mut self, at: usize, value: usize) {
        let value = u32::try_from(value).unwrap_or(u32::MAX);
        self.bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
    }
}

fn bend(bytes: &mut Vec<u8>, places: &[usize], random: &mut Random) {
    if bytes.is_empty() || places.is_empty() {
        bytes.push(random.byte());
        return;
    }
    let any = random.below(bytes.len());
    // It may have been cut off.
    let place = (*random.pick(places)).min(bytes.len() - 1);
    match random.below(10) {
        0 => bytes[any] ^= 1 << random.below(8),
        1 => bytes[any] = random.byte(),
        2 => bytes.truncate(any),
        3 => {
            let count = random.skewed(64);
            let more = random.bytes(count);
            bytes.extend(more);
        }
        4 => bytes[place] = *random.pick(&[0, 1, 2, 3, 255]),
        5 => set(bytes, place, |word| word.wrapping_add(1)),
        6 => set(bytes, place, |word| word.wrapping_sub(1)),
        7 => {
            let other = *random.pick(places);
            let from = bytes.get(other..other + 4).map(<[u8]>::to_vec);
            if let (Some(from), Some(to)) = (from, bytes.get_mut(place..place + 4)) {
                to.copy_from_slice(&from);
            }
        }
        _ => {
            let memory = u32::try_from(MEMORY_BYTES).unwrap_or(0);
            let near = u32::try_from(random.skewed(MEMORY_BYTES)).unwrap_or(0);
            let value = *random.pick(&[
                0,
                1,
                2,
                4,
                near,
                near & !3,
                memory - 16,
                memory - 12,
                memory - 4,
                memory - 1,
                memory,
                memory + 1,
                memory + 4,
                1 << 31,
                (1 << 31) | near,
                u32::MAX,
                u32::MAX - 3,
                0x0fff_ffff,
            ]);
            set(bytes, place, |_| value);
        }
    }
    // Only those cases that are meant to do so change what the next call allocates.
    let end = bytes.len().min(TRICK_AT + 4);
    if let Some(trick) = bytes.get_mut(TRICK_AT..end) {
        trick.fill(0);
    }
}

fn set(bytes: &mut [u8], at: usize, change: impl FnOnce(u32) -> u32) {
    if let Some(place) = bytes.get_mut(at..at + 4) {
        let word = u32::from_le_bytes([place[0], place[1], place[2], place[3]]);
        place.copy_from_slice(&change(word).to_le_bytes());
    }
}
