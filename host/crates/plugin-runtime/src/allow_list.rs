//! What a plugin may import: the contract's own interfaces and the parts of WASI that language
//! runtimes need. Behind the latter is nothing: no files, no sockets, no environment.

/// The contract's package, with the slash.
pub(crate) const CONTRACT: &str = "rulemill:rule/";

/// What a plugin must export.
pub(crate) const EXPORTS: [&str; 2] = ["lifecycle", "status-mapper"];

/// What the contract offers to import; the last three hold types only.
const CONTRACT_IMPORTS: [&str; 5] = ["log", "metrics", "status", "message", "fault"];

const WASI: [(&str, &[&str]); 4] = [
    ("wasi:io/", &["error", "poll", "streams"]),
    ("wasi:clocks/", &["monotonic-clock", "wall-clock"]),
    ("wasi:random/", &["random", "insecure", "insecure-seed"]),
    (
        "wasi:cli/",
        &[
            "environment",
            "exit",
            "stdin",
            "stdout",
            "stderr",
            "terminal-input",
            "terminal-output",
            "terminal-stdin",
            "terminal-stdout",
            "terminal-stderr",
        ],
    ),
];

/// What the host says to an import.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Import {
    /// It is there.
    Allowed,
    /// It is of the contract, but not of a version that this host has.
    UnknownContract,
    /// A plugin may not have it.
    Forbidden,
}

/// Judges an import by its name, such as `wasi:io/poll@0.2.9`.
pub(crate) fn judge(name: &str) -> Import {
    let (path, version) = name.split_once('@').unwrap_or((name, ""));
    if let Some(interface) = path.strip_prefix(CONTRACT) {
        let is_known = CONTRACT_IMPORTS.contains(&interface) && is_contract_version(version);
        return if is_known {
            Import::Allowed
        } else {
            Import::UnknownContract
        };
    }
    let is_known = WASI.iter().any(|(package, interfaces)| {
        path.strip_prefix(package)
            .is_some_and(|interface| interfaces.contains(&interface))
    });
    if is_known && version.starts_with("0.2.") {
        Import::Allowed
    } else {
        Import::Forbidden
    }
}

/// Whether the host speaks this version of the contract.
pub(crate) fn is_contract_version(version: &str) -> bool {
    version.starts_with("1.")
}

#[cfg(test)]
mod tests {
    use super::{Import, judge};

    #[test]
    fn imports_are_judged_by_their_whole_name() {
        for (name, verdict) in [
            ("rulemill:rule/log@1.0.0", Import::Allowed),
            ("rulemill:rule/status@1.4.2", Import::Allowed),
            ("rulemill:rule/log@2.0.0", Import::UnknownContract),
            ("rulemill:rule/state@1.1.0", Import::UnknownContract),
            ("rulemill:rule/log", Import::UnknownContract),
            ("wasi:io/poll@0.2.9", Import::Allowed),
            ("wasi:cli/terminal-stderr@0.2.0", Import::Allowed),
            ("wasi:cli/stdin@0.3.0", Import::Forbidden),
            ("wasi:cli/run@0.2.0", Import::Forbidden),
            ("wasi:clocks/timezone@0.2.0", Import::Forbidden),
            ("wasi:sockets/tcp@0.2.9", Import::Forbidden),
            ("wasi:filesystem/types@0.2.9", Import::Forbidden),
            ("wasi:http/types@0.2.9", Import::Forbidden),
            ("evil:wasi:io/poll@0.2.9", Import::Forbidden),
            ("run", Import::Forbidden),
        ] {
            assert_eq!(judge(name), verdict, "{name}");
        }
    }
}
