//! A component of the contract in text form, around core code that the caller gives.

use hostile_components::TYPES;

/// How a guest keeps its strings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    Utf8,
    Utf16,
    /// Latin-1 where that is enough, else UTF-16.
    Compact,
}

impl Encoding {
    pub(crate) const ALL: [Self; 3] = [Self::Utf8, Self::Utf16, Self::Compact];

    fn option(self) -> &'static str {
        match self {
            Self::Utf8 => "string-encoding=utf8",
            Self::Utf16 => "string-encoding=utf16",
            Self::Compact => "string-encoding=latin1+utf16",
        }
    }
}

/// Core code: `libc` exports `memory` and `realloc`; `plugin` imports what it likes of `libc`, and
/// `log` and `add` of `host`, and exports `init` and `map-event`.
pub(crate) struct Code<'a> {
    pub(crate) libc: &'a str,
    pub(crate) plugin: &'a str,
    pub(crate) encoding: Encoding,
    /// More imports, before everything else.
    pub(crate) imports: &'a str,
    /// Whether `plugin` exports `names`, too.
    pub(crate) has_selection: bool,
}

/// The parameters of `map-event` as core code sees them.
pub(crate) const MAP_EVENT_PARAMS: &str = "(param $type i32)
    (param $client i32) (param $client-len i32) (param $group i32) (param $group-len i32)
    (param $channel i32) (param $channel-len i32) (param $ip i32) (param $ip-len i32)
    (param $time i64) (param $sequence i64) (param $id i32) (param $id-len i32)
    (param $pairs i32) (param $pairs-len i32) (result i32)";

pub(crate) fn component(code: &Code<'_>) -> String {
    let Code {
        libc,
        plugin,
        encoding,
        imports,
        has_selection,
    } = code;
    let option = encoding.option();
    let selection = if *has_selection {
        SELECTION.replace("OPTION", option)
    } else {
        String::new()
    };
    format!(
        r#"(component {imports} {IMPORTS}
    (core module $libc {libc})
    (core instance $libc (instantiate $libc))
    (alias core export $libc "memory" (core memory $memory))
    (alias core export $libc "realloc" (core func $realloc))
    (core func $log (canon lower (func $host-log) (memory $memory) {option}))
    (core func $add (canon lower (func $host-add) (memory $memory) {option}))
    (core module $plugin {plugin})
    (core instance $plugin (instantiate $plugin
      (with "libc" (instance $libc))
      (with "host" (instance (export "log" (func $log)) (export "add" (func $add))))))
    (alias core export $plugin "init" (core func $core-init))
    (alias core export $plugin "map-event" (core func $core-map-event))
    {selection}
    {TYPES}
    (func $init (param "config" string) (result (result (error string)))
      (canon lift (core func $core-init) (memory $memory) (realloc $realloc) {option}))
    (func $map-event (param "event" $event) (result (result (list $message) (error $map-error)))
      (canon lift (core func $core-map-event) (memory $memory) (realloc $realloc) {option}))
    (instance $lifecycle (export "init" (func $init)))
    (instance $mapper (export "map-event" (func $map-event)))
    (export "rulemill:rule/lifecycle@1.0.0" (instance $lifecycle))
    (export "rulemill:rule/status-mapper@1.0.0" (instance $mapper)))"#
    )
}

const SELECTION: &str = r#"
    (alias core export $plugin "names" (core func $core-names))
    (func $names (result (option (list string)))
      (canon lift (core func $core-names) (memory $memory) OPTION))
    (instance $selection (export "names" (func $names)))
    (export "rulemill:attributes/selection@1.0.0" (instance $selection))"#;

const IMPORTS: &str = r#"
    (import "rulemill:rule/log@1.0.0" (instance $log
      (type $level' (enum "trace" "debug" "info" "warn" "error"))
      (export "level" (type $level (eq $level')))
      (export "log" (func (param "level" $level) (param "message" string)))))
    (alias export $log "log" (func $host-log))
    (import "rulemill:rule/metrics@1.0.0" (instance $metrics
      (export "add" (func (param "name" string) (param "delta" u64)))))
    (alias export $metrics "add" (func $host-add))"#;

/// Imports of WASI that a plugin may have, for [`Code::imports`].
pub(crate) const WASI: &str = r#"
    (import "wasi:io/poll@0.2.0" (instance $poll
      (export "pollable" (type $pollable (sub resource)))
      (export "[method]pollable.block" (func (param "self" (borrow $pollable))))))
    (alias export $poll "pollable" (type $pollable))
    (import "wasi:clocks/monotonic-clock@0.2.0" (instance $monotonic
      (export "pollable" (type $theirs (eq $pollable)))
      (export "subscribe-duration" (func (param "when" u64) (result (own $theirs))))))
    (import "wasi:random/random@0.2.0" (instance $random
      (export "get-random-u64" (func (result u64)))))
    (import "wasi:cli/environment@0.2.6" (instance $environment
      (export "get-arguments" (func (result (list string))))))"#;
