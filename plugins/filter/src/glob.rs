//! Patterns of client ids: `*` is any run of characters, also none, `?` is one character.
//!
//! There is no escape: a client id of ApsaraMQ has neither. The time is at most the product of both
//! lengths, without recursion.

use serde::Deserialize;

/// A pattern, bytes.
const PATTERN_BYTES_MAX: usize = 256;

/// A pattern of client ids.
#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Glob(Vec<char>);

impl TryFrom<String> for Glob {
    type Error = String;

    fn try_from(pattern: String) -> Result<Self, String> {
        if pattern.is_empty() {
            return Err("an empty pattern matches no client".to_owned());
        }
        if pattern.len() > PATTERN_BYTES_MAX {
            return Err(format!(
                "a pattern of {} bytes; the limit is {PATTERN_BYTES_MAX}",
                pattern.len()
            ));
        }
        Ok(Self(pattern.chars().collect()))
    }
}

impl Glob {
    /// Whether the whole of `text` is as the pattern says.
    pub(crate) fn matches(&self, text: &str) -> bool {
        let text: Vec<char> = text.chars().collect();
        let (mut at, mut text_at) = (0, 0);
        // Where to go on when the run of the last `*` has to be longer.
        let mut star: Option<(usize, usize)> = None;
        while let Some(c) = text.get(text_at) {
            match self.0.get(at) {
                Some('*') => {
                    at += 1;
                    star = Some((at, text_at));
                }
                Some(p) if *p == '?' || p == c => {
                    at += 1;
                    text_at += 1;
                }
                _ => {
                    let Some((behind, from)) = star else {
                        return false;
                    };
                    at = behind;
                    text_at = from + 1;
                    star = Some((behind, text_at));
                }
            }
        }
        self.0.iter().skip(at).all(|rest| *rest == '*')
    }
}

#[cfg(test)]
mod tests {
    use super::Glob;

    fn matches(pattern: &str, text: &str) -> bool {
        Glob::try_from(pattern.to_owned()).unwrap().matches(text)
    }

    #[test]
    fn a_pattern_is_about_the_whole_text() {
        for (pattern, text, verdict) in [
            ("GID_A@@@d1", "GID_A@@@d1", true),
            ("GID_A@@@d1", "GID_A@@@d12", false),
            ("GID_A@@@d1", "xGID_A@@@d1", false),
            ("GID_A@@@*", "GID_A@@@", true),
            ("GID_A@@@*", "GID_B@@@d1", false),
            ("*", "", true),
            ("*-eu-*", "GID_A@@@lamp-eu-7", true),
            ("*-eu-*", "GID_A@@@lamp-us-7", false),
            ("*@@@a*b*c", "G@@@aXbbXc", true),
            ("*@@@a*b*c", "G@@@aXbbXcd", false),
            ("d?", "d1", true),
            ("d?", "d", false),
            ("d?", "dé", true),
            ("D1", "d1", false),
            ("**", "x", true),
            ("?*", "", false),
        ] {
            assert_eq!(matches(pattern, text), verdict, "{pattern} {text}");
        }
    }

    #[test]
    fn many_stars_take_no_time() {
        let pattern = "*a".repeat(64);
        let text = "a".repeat(63) + &"b".repeat(4096);
        assert!(!matches(&pattern, &text));
    }

    #[test]
    fn a_pattern_has_a_length() {
        assert!(Glob::try_from(String::new()).is_err());
        assert!(Glob::try_from("x".repeat(257)).is_err());
    }
}
