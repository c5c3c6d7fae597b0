//! Components from which inputs are made.

use std::fs;
use std::path::Path;

use anyhow::Result;

use super::{assemble, program, tree};
use crate::contract::{Code, Encoding, WASI, component};
use crate::random::Random;
use crate::values;

/// Larger plugins are no seeds: compiling them takes seconds.
const SEED_BYTES_MAX: u64 = 512 * 1024;
/// Programs that are drawn once, for sections to be taken from.
const PROGRAMS: usize = 12;

/// Seeds of every kind, and the plugins that were built into `plugins`.
pub(super) fn all(plugins: &Path) -> Result<Vec<Vec<u8>>> {
    let mut seeds = Vec::new();
    for encoding in Encoding::ALL {
        seeds.push(assemble(&values::guest(encoding))?);
    }
    let code = Code {
        libc: r#"(memory (export "memory") 1)
            (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 16384))"#,
        plugin: r#"(func (export "init") (param i32 i32) (result i32) (i32.const 0))
            (func (export "map-event") (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i64 i64 i32 i32 i32 i32)
              (result i32) (i32.const 0))"#,
        encoding: Encoding::Utf8,
        imports: WASI,
        has_selection: false,
    };
    let small = assemble(&component(&code))?;
    for cases in CASES {
        seeds.push(with_section("rulemill:tests", cases.as_bytes(), &small));
    }
    seeds.push(small);
    let mut random = Random::new(0);
    for _ in 0..PROGRAMS {
        seeds.push(assemble(&program::text(&mut random))?);
    }
    seeds.push(assemble(RICH)?);
    let Ok(files) = fs::read_dir(plugins) else {
        return Ok(seeds);
    };
    let mut files: Vec<_> = files.flatten().collect();
    files.sort_by_key(fs::DirEntry::path);
    for file in files {
        if file.metadata()?.len() <= SEED_BYTES_MAX {
            seeds.push(fs::read(file.path())?);
        }
    }
    Ok(seeds)
}

/// `component` with a custom section at its end.
pub(super) fn with_section(name: &str, content: &[u8], component: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    tree::write_leb(u64::try_from(name.len()).unwrap_or(0), 1, &mut body);
    body.extend_from_slice(name.as_bytes());
    body.extend_from_slice(content);
    let mut bytes = component.to_vec();
    bytes.push(0);
    tree::write_leb(u64::try_from(body.len()).unwrap_or(0), 1, &mut bytes);
    bytes.extend_from_slice(&body);
    bytes
}

/// Contents of the section with a plugin's own cases.
pub(super) const CASES: [&str; 5] = [
    r#"[{"name":"a","skipped":true}]"#,
    r#"[{"name":"b","config":{"a":[1,2.5,null]},"event":{"clientId":"GID_Example@@@x","eventType":"tcpclean"},"message":[{"body":"x"}]}]"#,
    r#"[{"name":"c","event":{"attributes":{"username":"u","keepAlive":"1"}},"rejected":"no"},{"name":"d","config-refused":"x"}]"#,
    "[]",
    "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
];

/// No plugin, but many kinds of sections for others.
const RICH: &str = r#"(component
    (type $resource (resource (rep i32)))
    (core func $new (canon resource.new $resource))
    (core func $rep (canon resource.rep $resource))
    (core func $drop (canon resource.drop $resource))
    (component $inner
      (import "f" (func $f (param "a" u8) (result (tuple s8 f32 char bool))))
      (type $flags (flags "a" "b"))
      (export "flags" (type $flags))
      (instance $i (export "f" (func $f)))
      (export "i" (instance $i)))
    (type $interface (instance
      (type $list (list (option (result u8 (error string)))))
      (export "l" (type (eq $list)))))
    (import "wasi:sockets/tcp@0.2.9" (instance (type $interface)))
    (import "rulemill:rule/state@1.1.0" (instance))
    (import "plain" (func (param "x" (list (list (list string))))))
    (core type $module (module (import "a" "b" (func (param v128))) (export "m" (memory 1))))
    (import "m" (core module (type $module)))
    (core module $many
      (table 10 funcref) (elem (i32.const 1) func $a $b)
      (global (mut i64) (i64.const -1))
      (memory 0 3) (data (i32.const 5) "data") (data "passive")
      (tag (param i32))
      (func $a (param v128) (result f64) (f64.const nan))
      (func $b (block (br_table 0 0 0 (i32.const 1)))))
    (core instance (instantiate $many)))"#;
