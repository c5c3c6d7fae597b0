//! Text that came from a component or about it, made fit for a message of one line.
//!
//! Names, panics and reasons are whatever their author wrote: megabytes, line breaks, terminal
//! commands. Nothing of it may reach a log or an answer like that.

use crate::guest_channel::cut;

/// `text` without control characters, each run of blanks as one, `bytes_max` bytes at most; what was
/// cut off is told by its size.
pub(crate) fn plain(text: &str, bytes_max: usize) -> String {
    // Not the whole of a long text: the rest is cut off anyway, and each control character is one
    // blank at least.
    let beginning = cut(text, bytes_max.saturating_mul(2));
    let mut line = String::with_capacity(beginning.len().min(bytes_max));
    for word in beginning.split(|it: char| it.is_control() || it == ' ') {
        if !line.is_empty() && !word.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    if line.len() <= bytes_max && beginning.len() == text.len() {
        return line;
    }
    format!("{} … ({} bytes in all)", cut(&line, bytes_max), text.len())
}

/// The beginning of `text` as it is, with a word about the rest.
pub(crate) fn shortened(text: String, bytes_max: usize) -> String {
    if text.len() <= bytes_max {
        return text;
    }
    format!("{} … ({} bytes in all)", cut(&text, bytes_max), text.len())
}

/// The first `most` of `names`, each bounded, and how many more there are.
pub(crate) fn listed(names: &[&str], most: usize) -> String {
    let shown: Vec<String> = names
        .iter()
        .take(most)
        .map(|name| plain(name, 128))
        .collect();
    let rest = names.len().saturating_sub(most);
    if rest == 0 {
        return shown.join(", ");
    }
    format!("{} and {rest} more", shown.join(", "))
}

#[cfg(test)]
mod tests {
    use super::{listed, plain, shortened};

    #[test]
    fn a_message_has_one_line_of_bounded_length() {
        assert_eq!(plain("a\r\n\tb\u{1b}[31m  c", 64), "a b [31m c");
        assert_eq!(plain(&"é".repeat(100), 5), "éé … (200 bytes in all)");
        assert_eq!(plain("", 5), "");
        let long = plain(&"x\n".repeat(1 << 20), 100);
        assert!(
            long.len() < 150 && long.ends_with("(2097152 bytes in all)"),
            "{long}"
        );
    }

    #[test]
    fn a_reason_keeps_its_lines() {
        assert_eq!(shortened("a\nb".to_owned(), 3), "a\nb");
        assert_eq!(shortened("a\nbc".to_owned(), 3), "a\nb … (4 bytes in all)");
    }

    #[test]
    fn of_many_names_the_first_are_told() {
        assert_eq!(listed(&["a", "b"], 2), "a, b");
        assert_eq!(listed(&["a", "b", "c"], 1), "a and 2 more");
    }
}
