//! Where in its code a plugin was when it was stopped, in the words of its author.
//!
//! In front of the function at fault stand those that carry a panic out of it: a dozen of Rust's own library, which are
//! the same for every panic. They are left out as long as anything else is left.

use wasmtime::WasmBacktrace;

use crate::plain_text::plain;

/// Of a place in the code so many functions are told, the innermost ones.
const FRAMES_MAX: usize = 8;
/// A longer name of a function is cut, bytes: generics make names of kilobytes.
const FRAME_BYTES_MAX: usize = 120;
/// The libraries that come with Rust, as demangled names begin.
const LIBRARIES: [&str; 6] = [
    "std::",
    "core::",
    "alloc::",
    "__rustc::",
    "panic_abort::",
    "panic_unwind::",
];
/// How a program ends itself, as linked names say it.
const ENDINGS: [&str; 5] = [
    "abort",
    "rust_panic",
    "rust_begin_unwind",
    "__rust_start_panic",
    "__rust_abort",
];

/// Where the plugin was: the innermost function first, demangled.
pub(super) fn place(error: &wasmtime::Error) -> Option<String> {
    let backtrace = error.downcast_ref::<WasmBacktrace>()?;
    place_in(&backtrace.to_string())
}

/// The functions of a backtrace as the engine writes it: a number, an offset, then `module!function`.
pub(super) fn place_in(backtrace: &str) -> Option<String> {
    let lines = backtrace.lines();
    let names: Vec<String> = lines
        .filter_map(|line| line.split_once(" - ").map(|(_, name)| function(name)))
        .collect();
    let begin = names.iter().position(|name| !is_of_a_library(name));
    let names = names.get(begin.unwrap_or(0)..).unwrap_or_default();
    if names.is_empty() {
        return None;
    }
    let told: Vec<String> = names
        .iter()
        .take(FRAMES_MAX)
        .map(|name| plain(name, FRAME_BYTES_MAX))
        .collect();
    let more = match names.len() - told.len() {
        0 => String::new(),
        more => format!(" < {more} more"),
    };
    Some(format!("at {}{more}", told.join(" < ")))
}

/// A function's name without what tells nobody anything: its module, and the hashes of a Rust symbol.
fn function(frame: &str) -> String {
    let name = frame.split_once('!').map_or(frame, |(_, name)| name);
    if let Some(number) = name.strip_prefix("<wasm function ") {
        return format!("function {}", number.trim_end_matches('>'));
    }
    let hashless = name.rsplit_once("::h");
    let hashless = hashless.filter(|(_, hash)| hash.len() == 16 && is_hex(hash));
    without_crate_hashes(hashless.map_or(name, |(name, _)| name))
}

/// `std[85c6cda83d22a5b5]::process::abort` without the brackets; slices keep theirs.
fn without_crate_hashes(name: &str) -> String {
    let mut parts = name.split('[');
    let mut kept = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let ends_a_word = kept.ends_with(|it: char| it.is_alphanumeric() || it == '_');
        match part.split_once(']') {
            Some((hash, rest)) if ends_a_word && is_hex(hash) => kept.push_str(rest),
            _ => {
                kept.push('[');
                kept.push_str(part);
            }
        }
    }
    kept
}

fn is_hex(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|it| it.is_ascii_hexdigit())
}

fn is_of_a_library(name: &str) -> bool {
    let begins_in_one = |path: &str| {
        let path = path.trim_start_matches(['<', '&']);
        LIBRARIES.iter().any(|library| path.starts_with(library))
    };
    // `<Type as Trait>::function`: a trait of the author's for a type of the library is the author's code.
    let trait_of = name
        .starts_with('<')
        .then(|| name.rsplit_once(" as "))
        .flatten();
    let is_foreign_trait = trait_of.is_some_and(|(_, path)| !begins_in_one(path));
    ENDINGS.contains(&name) || begins_in_one(name) && !is_foreign_trait
}
