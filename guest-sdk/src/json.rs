//! Writes JSON objects without building a tree first.
//!
//! Field order is the order of the calls and nothing is indented, so a body is the same byte for
//! byte every time. Names are written as given: who writes one twice gets it twice.

/// A JSON object in the making.
#[derive(Clone, Debug)]
pub struct Object {
    bytes: Vec<u8>,
}

impl Object {
    /// An empty object with room for `bytes` bytes before it allocates again.
    #[must_use]
    pub fn with_capacity(bytes: usize) -> Self {
        let mut room = Vec::with_capacity(bytes.max(2));
        room.push(b'{');
        Self { bytes: room }
    }

    /// Adds a text.
    #[must_use]
    pub fn text(mut self, name: &str, value: &str) -> Self {
        self.name(name);
        write_text(&mut self.bytes, value);
        self
    }

    /// Adds a number.
    #[must_use]
    pub fn number(mut self, name: &str, value: u64) -> Self {
        self.name(name);
        write_number(&mut self.bytes, value);
        self
    }

    /// Adds `true` or `false`.
    #[must_use]
    pub fn boolean(mut self, name: &str, value: bool) -> Self {
        self.name(name);
        self.bytes
            .extend_from_slice(if value { b"true" } else { b"false" });
        self
    }

    /// Adds an object.
    #[must_use]
    pub fn object(mut self, name: &str, value: Self) -> Self {
        self.name(name);
        self.bytes.extend_from_slice(&value.finish());
        self
    }

    /// The object as UTF-8 text.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        self.bytes.push(b'}');
        self.bytes
    }

    fn name(&mut self, name: &str) {
        // An object that has more than its brace has a field already.
        if self.bytes.len() > 1 {
            self.bytes.push(b',');
        }
        write_text(&mut self.bytes, name);
        self.bytes.push(b':');
    }
}

/// Appends `text` to `out` as a JSON string with its quotes.
pub fn quote(text: &str, out: &mut String) {
    let mut bytes = std::mem::take(out).into_bytes();
    write_text(&mut bytes, text);
    // Text stays text: what is put in are whole characters and ASCII.
    *out = String::from_utf8(bytes).unwrap_or_default();
}

/// Whether RFC 8259 wants `byte` escaped inside a string.
const fn is_special(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}

fn write_text(out: &mut Vec<u8>, text: &str) {
    out.reserve(text.len() + 2);
    out.push(b'"');
    let mut rest = text.as_bytes();
    while let Some(at) = first_special(rest) {
        let (plain, special) = rest.split_at(at);
        out.extend_from_slice(plain);
        let Some((byte, after)) = special.split_first() else {
            break;
        };
        write_escaped(out, *byte);
        rest = after;
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

/// Where the first special byte is. Eight bytes are looked at together, since nearly no text has one.
fn first_special(bytes: &[u8]) -> Option<usize> {
    let (words, _) = bytes.as_chunks::<8>();
    let plain_words = words
        .iter()
        .take_while(|word| !has_special(u64::from_le_bytes(**word)))
        .count();
    let plain = plain_words * 8;
    let rest = bytes.get(plain..)?;
    let at = rest.iter().position(|byte| is_special(*byte))?;
    Some(plain + at)
}

/// Whether one of eight bytes is special. A byte's high bit is set by the subtraction when the byte is less than what is
/// subtracted; a borrow from the byte below it can set it, too, but only when that one is special itself.
const fn has_special(word: u64) -> bool {
    const EACH: u64 = u64::MAX / 0xff;
    const HIGH_BITS: u64 = EACH * 0x80;
    let control = word.wrapping_sub(EACH * 0x20) & !word;
    let quotes = word ^ (EACH * b'"' as u64);
    let quote = quotes.wrapping_sub(EACH) & !quotes;
    let backslashes = word ^ (EACH * b'\\' as u64);
    let backslash = backslashes.wrapping_sub(EACH) & !backslashes;
    (control | quote | backslash) & HIGH_BITS != 0
}

fn write_escaped(out: &mut Vec<u8>, byte: u8) {
    let short = match byte {
        b'"' | b'\\' => byte,
        0x08 => b'b',
        0x09 => b't',
        0x0a => b'n',
        0x0c => b'f',
        0x0d => b'r',
        _ => {
            let digit = |nibble: u8| {
                if nibble < 10 {
                    b'0' + nibble
                } else {
                    b'a' + nibble - 10
                }
            };
            out.extend_from_slice(b"\\u00");
            out.extend([digit(byte >> 4), digit(byte & 0xf)]);
            return;
        }
    };
    out.extend([b'\\', short]);
}

fn write_number(out: &mut Vec<u8>, value: u64) {
    // 2^64 has 20 digits.
    let mut digits = [b'0'; 20];
    let mut left = value;
    let mut unused = digits.len();
    for digit in digits.iter_mut().rev() {
        *digit += u8::try_from(left % 10).unwrap_or(0);
        left /= 10;
        unused -= 1;
        if left == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.split_at(unused).1);
}

#[cfg(test)]
mod tests;
