//! The grammar of topic names and filters (MQTT 5.0, 4.7), and whether one matches the other.
//!
//! Filters of shared subscriptions, `$share/<group>/<filter>`, are taken apart here, too.

/// Why a topic name or filter is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckTopicError {
    /// It has no character.
    #[error("a topic must have at least one character")]
    Empty,
    /// A wildcard where none may be.
    #[error(
        "a topic name must have no wildcard; in a filter, + and # stand for whole levels, # last"
    )]
    Wildcard,
    /// U+0000.
    #[error("a topic must not have the character U+0000")]
    Null,
    /// More levels than the limit.
    #[error("a topic must not have more than {levels_max} levels")]
    TooManyLevels {
        /// The limit.
        levels_max: usize,
    },
    /// `$share` without group or filter.
    #[error("a shared subscription must be $share/<group>/<filter>")]
    Share,
}

/// A checked filter, without its share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Filter<'a> {
    /// The group of a shared subscription.
    pub(crate) share: Option<&'a str>,
    /// What is matched.
    pub(crate) pattern: &'a str,
}

fn check_text(text: &str, levels_max: usize) -> Result<(), CheckTopicError> {
    if text.is_empty() {
        return Err(CheckTopicError::Empty);
    }
    if text.contains('\0') {
        return Err(CheckTopicError::Null);
    }
    if text.split('/').count() > levels_max {
        return Err(CheckTopicError::TooManyLevels { levels_max });
    }
    Ok(())
}

/// Checks a topic name.
pub(crate) fn check_name(name: &str, levels_max: usize) -> Result<(), CheckTopicError> {
    check_text(name, levels_max)?;
    if name.contains(['+', '#']) {
        return Err(CheckTopicError::Wildcard);
    }
    Ok(())
}

/// Checks a filter and takes it apart.
pub(crate) fn parse_filter(text: &str, levels_max: usize) -> Result<Filter<'_>, CheckTopicError> {
    let filter = match text.strip_prefix("$share/") {
        None => Filter {
            share: None,
            pattern: text,
        },
        Some(rest) => match rest.split_once('/') {
            Some((group, pattern)) if !group.is_empty() && !group.contains(['+', '#']) => Filter {
                share: Some(group),
                pattern,
            },
            _ => return Err(CheckTopicError::Share),
        },
    };
    check_text(filter.pattern, levels_max)?;
    let mut levels = filter.pattern.split('/').peekable();
    while let Some(level) = levels.next() {
        let wildcard = level.contains(['+', '#']);
        if wildcard && (level.len() > 1 || (level == "#" && levels.peek().is_some())) {
            return Err(CheckTopicError::Wildcard);
        }
    }
    Ok(filter)
}

/// Whether the pattern matches the topic name. Wildcards at the front do not match names that start
/// with `$` [MQTT-4.7.2-1].
pub(crate) fn matches(pattern: &str, name: &str) -> bool {
    if name.starts_with('$') && pattern.starts_with(['+', '#']) {
        return false;
    }
    let mut pattern = pattern.split('/');
    let mut name = name.split('/');
    loop {
        match (pattern.next(), name.next()) {
            (Some("#"), _) | (None, None) => return true,
            (Some("+"), Some(_)) => {}
            (Some(wanted), Some(level)) if wanted == level => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{CheckTopicError, Filter, check_name, matches, parse_filter};

    #[test]
    fn filters_match_as_the_specification_says() {
        for (pattern, name, expected) in [
            ("a/b", "a/b", true),
            ("a/b", "a/b/c", false),
            ("a/#", "a", true),
            ("a/#", "a/b/c", true),
            ("#", "a", true),
            ("#", "$SYS/a", false),
            ("+/a", "$SYS/a", false),
            ("$SYS/#", "$SYS/a", true),
            ("+", "a", true),
            ("+", "a/b", false),
            ("+/+", "/a", true),
            ("/+", "/a", true),
            ("a/+/c", "a//c", true),
            ("a", "A", false),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn malformed_names_and_filters_are_refused() {
        for wrong in ["a/#/b", "a#", "a/b+", "#/a"] {
            assert_eq!(
                parse_filter(wrong, 8),
                Err(CheckTopicError::Wildcard),
                "{wrong}"
            );
        }
        for wrong in ["$share/", "$share/g", "$share//a", "$share/+/a"] {
            assert_eq!(
                parse_filter(wrong, 8),
                Err(CheckTopicError::Share),
                "{wrong}"
            );
        }
        assert_eq!(parse_filter("$share/g/", 8), Err(CheckTopicError::Empty));
        assert_eq!(check_name("a/+", 8), Err(CheckTopicError::Wildcard));
        assert_eq!(check_name("", 8), Err(CheckTopicError::Empty));
        assert_eq!(check_name("a\0", 8), Err(CheckTopicError::Null));
    }

    #[test]
    fn levels_are_limited() {
        assert_eq!(check_name("a/b/c", 3), Ok(()));
        assert_eq!(
            check_name("a/b/c/d", 3),
            Err(CheckTopicError::TooManyLevels { levels_max: 3 })
        );
        assert!(parse_filter("+/+/+/#", 3).is_err());
    }

    #[test]
    fn a_share_is_taken_off() {
        assert_eq!(
            parse_filter("$share/g/a/+", 8),
            Ok(Filter {
                share: Some("g"),
                pattern: "a/+"
            })
        );
        assert_eq!(
            parse_filter("a/+", 8),
            Ok(Filter {
                share: None,
                pattern: "a/+"
            })
        );
    }
}
