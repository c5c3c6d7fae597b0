//! Texts of all kinds of characters.

use crate::random::Random;

const KINDS: [&[char]; 6] = [
    &['a', 'Z', '0', '-', '_', '@', '/', '"', '\\', '{', ' '],
    &['é', 'ÿ', '\u{80}', 'ß', '\u{a0}'],
    &[
        '\u{100}', 'Ж', '中', '\u{ffff}', '\u{fffd}', '\u{feff}', '\u{2028}', '\u{202e}', '\u{301}',
    ],
    &['\u{10000}', '\u{10ffff}', '🦀', '\u{1f468}'],
    &['\0', '\u{1}', '\u{2}', '\n', '\r', '\t', '\u{7f}', '\u{1b}'],
    &['\u{d7ff}', '\u{e000}', '\u{7ff}', '\u{800}'],
];

/// A text of at most so many bytes in UTF-8; mostly a short one.
pub(super) fn any(bytes_max: usize, random: &mut Random) -> String {
    let length = random.skewed(bytes_max);
    let is_plain = random.in_hundred(40);
    let mut text = String::new();
    loop {
        let kind = if is_plain {
            KINDS[0]
        } else {
            *random.pick(&KINDS)
        };
        let character = *random.pick(kind);
        if text.len() + character.len_utf8() > length {
            return text;
        }
        text.push(character);
    }
}

/// Bytes as the guest reads them.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .filter_map(|nibble| char::from_digit(u32::from(nibble), 16))
        .collect()
}
