//! From components that exist to such that nobody would make.

use super::tree::{self, Body, Length, Section, Unit};
use super::{assemble, program, seeds};
use crate::corpus::Corpus;
use crate::random::Random;

/// Sections that may be put into other components.
const DONORS_MAX: usize = 2000;
/// A longer section is not given away.
const DONOR_BYTES_MAX: usize = 64 * 1024;
/// A component that has grown beyond this is cut.
const INPUT_BYTES_MAX: usize = 1_200_000;

/// Names for imports and exports.
const WORDS: [&str; 22] = [
    "rulemill:rule/log@1.0.0",
    "rulemill:rule/log@1.9.3",
    "rulemill:rule/log@2.0.0",
    "rulemill:rule/log",
    "rulemill:rule/metrics@1.0.0",
    "rulemill:rule/status@1.0.0",
    "rulemill:rule/lifecycle@1.0.0",
    "rulemill:rule/lifecycle@1.",
    "rulemill:rule/status-mapper@1.0.0",
    "rulemill:rule/state@1.0.0",
    "wasi:io/poll@0.2.0",
    "wasi:io/poll@0.2.999",
    "wasi:io/poll@0.3.0",
    "wasi:io/streams@0.2.1-rc.1+x",
    "wasi:clocks/wall-clock@0.2.0",
    "wasi:sockets/tcp@0.2.0",
    "wasi:filesystem/types@0.2.0",
    "wasi:http/types@0.2.0",
    "wasi:cli/run@0.2.0",
    "WASI:io/poll@0.2.0",
    "run",
    "",
];

#[derive(Debug)]
pub(super) struct Mutator {
    donors: Vec<Section>,
}

impl Mutator {
    pub(super) fn new(seeds: &[Vec<u8>]) -> Self {
        let units: Vec<Unit> = seeds.iter().filter_map(|seed| Unit::parse(seed)).collect();
        let donors = units
            .iter()
            .flat_map(Unit::all_sections)
            .filter(|section| match &section.body {
                Body::Bytes(bytes) => bytes.len() <= DONOR_BYTES_MAX,
                Body::Unit(unit) => unit.count() < 10,
            })
            .take(DONORS_MAX)
            .cloned()
            .collect();
        Self { donors }
    }

    /// An upload.
    pub(super) fn draw(&self, corpus: &Corpus, random: &mut Random) -> Vec<u8> {
        let mut input = self.base(corpus, random);
        if random.in_hundred(80)
            && let Some(mut unit) = Unit::parse(&input)
        {
            for _ in 0..=random.skewed(5) {
                self.change(&mut unit, random);
            }
            input = unit.write();
        }
        if random.in_hundred(12) {
            for _ in 0..=random.skewed(8) {
                change_bytes(&mut input, random);
            }
        }
        input.truncate(INPUT_BYTES_MAX);
        input
    }

    fn base(&self, corpus: &Corpus, random: &mut Random) -> Vec<u8> {
        match random.below(100) {
            0..10 => assemble(&program::text(random)).unwrap_or_default(),
            10..13 => {
                let mut bytes = b"\0asm\x0d\0\x01\0".to_vec();
                let count = random.skewed(4096);
                bytes.extend(random.bytes(count));
                bytes
            }
            13 => {
                let count = random.skewed(64);
                random.bytes(count)
            }
            14 => many(random),
            _ => corpus.pick(random).unwrap_or_default().to_vec(),
        }
    }

    fn change(&self, outermost: &mut Unit, random: &mut Random) {
        // The outermost one is what the runtime reads itself.
        let number = if random.in_hundred(50) {
            0
        } else {
            random.below(outermost.count())
        };
        let Some(unit) = outermost.unit_mut(number) else {
            return;
        };
        if random.in_hundred(15) || unit.sections.is_empty() {
            let place = random.below(unit.sections.len() + 1);
            unit.sections.insert(place, self.section(random));
            return;
        }
        let at = random.below(unit.sections.len());
        match random.below(16) {
            0 => drop(unit.sections.remove(at)),
            1 => {
                let copy = unit.sections[at].clone();
                unit.sections.insert(random.below(at + 1), copy);
            }
            2 => {
                let other = random.below(unit.sections.len());
                unit.sections.swap(at, other);
            }
            3 => unit.sections[at].id = u8::try_from(random.below(16)).unwrap_or(0),
            4 => unit.sections[at].length = Length::Padded,
            5 => {
                let by = *random.pick(&[-1, 1, -8, 8, 1 << 20, 1 << 31, 0xffff_ffff]);
                unit.sections[at].length = Length::Off(by);
            }
            6 => unit.preamble[4 + random.below(4)] = random.byte(),
            7 => wrap(outermost, random),
            _ => match &mut unit.sections[at].body {
                Body::Bytes(bytes) => change_content(bytes, random),
                Body::Unit(inner) => self.change(inner, random),
            },
        }
    }

    fn section(&self, random: &mut Random) -> Section {
        if random.in_hundred(60) && !self.donors.is_empty() {
            return random.pick(&self.donors).clone();
        }
        let name = *random.pick(&["rulemill:tests", "name", "producers", "component-name", ""]);
        let mut content = match random.below(4) {
            0 => {
                let count = random.skewed(70_000);
                random.bytes(count)
            }
            1 => vec![b'['; random.skewed(100_000)],
            _ => random.pick(&seeds::CASES).as_bytes().to_vec(),
        };
        if random.in_hundred(50) {
            change_bytes(&mut content, random);
        }
        let whole = seeds::with_section(name, &content, &[]);
        let body = tree::read_leb(&whole[1..]).map_or(Vec::new(), |(_, body)| body.to_vec());
        Section {
            id: 0,
            body: Body::Bytes(body),
            length: if random.in_hundred(30) {
                Length::Padded
            } else {
                Length::Shortest
            },
        }
    }
}

/// The component inside of components.
fn wrap(unit: &mut Unit, random: &mut Random) {
    for _ in 0..=random.skewed(40) {
        let inner = unit.clone();
        unit.sections = vec![Section {
            id: 4,
            body: Body::Unit(inner),
            length: Length::Shortest,
        }];
    }
}

/// Very many of something.
fn many(random: &mut Random) -> Vec<u8> {
    let count = random.skewed(20_000);
    let item = *random.pick(&[
        "(core module)",
        "(component)",
        "(type (func))",
        "(type (instance))",
        "(core type (module))",
        "(core instance)",
        "(instance)",
        "(type (list u8))",
    ]);
    let mut text = "(component ".to_owned();
    text.push_str(&item.repeat(count.min(4000)));
    text.push(')');
    assemble(&text).unwrap_or_default()
}

/// A section's content, with an eye for names and numbers.
fn change_content(bytes: &mut Vec<u8>, random: &mut Random) {
    if random.in_hundred(35) && rename(bytes, random) {
        return;
    }
    change_bytes(bytes, random);
}

/// Replaces a string, with the length before it.
fn rename(bytes: &mut Vec<u8>, random: &mut Random) -> bool {
    let start = random.below(bytes.len());
    let is_text = |byte: &u8| byte.is_ascii_graphic() || *byte == b' ';
    let found = (start..bytes.len()).chain(0..start).find(|at| {
        let length = usize::from(bytes[*at]);
        (3..128).contains(&length)
            && bytes
                .get(at + 1..at + 1 + length)
                .is_some_and(|text| text.iter().all(is_text))
    });
    let Some(at) = found else {
        return false;
    };
    let length = usize::from(bytes[at]);
    let mut text = bytes[at + 1..at + 1 + length].to_vec();
    match random.below(4) {
        0 => change_bytes(&mut text, random),
        1 => {
            let times = *random.pick(&[2_usize, 50, 2000]);
            text = text.repeat(times);
        }
        _ => text = random.pick(&WORDS).as_bytes().to_vec(),
    }
    let mut new = Vec::new();
    tree::write_leb(u64::try_from(text.len()).unwrap_or(0), 1, &mut new);
    new.extend_from_slice(&text);
    bytes.splice(at..at + 1 + length, new);
    true
}

/// Bytes without a meaning.
fn change_bytes(bytes: &mut Vec<u8>, random: &mut Random) {
    let at = random.below(bytes.len() + 1);
    let rest = bytes.len() - at;
    match random.below(7) {
        0 | 1 if rest > 0 => bytes[at] ^= 1 << random.below(8),
        2 if rest > 0 => {
            let any = random.byte();
            bytes[at] = *random.pick(&[0, 1, 0x40, 0x7f, 0x80, 0xff, any]);
        }
        3 if rest > 0 => drop(bytes.drain(at..at + random.between(1, rest.min(16)))),
        4 => {
            let new = tree_number(random);
            bytes.splice(at..at + rest.min(1), new);
        }
        5 => {
            let count = random.between(1, 16);
            let new = random.bytes(count);
            bytes.splice(at..at, new);
        }
        6 if random.in_hundred(30) => bytes.truncate(at),
        _ => bytes.push(random.byte()),
    }
}

fn tree_number(random: &mut Random) -> Vec<u8> {
    let number = *random.pick(&[
        0,
        1,
        127,
        128,
        1 << 14,
        1 << 31,
        0xffff_ffff,
        1 << 35,
        u64::MAX,
    ]);
    let mut bytes = Vec::new();
    tree::write_leb(number, *random.pick(&[1, 1, 5]), &mut bytes);
    bytes
}
