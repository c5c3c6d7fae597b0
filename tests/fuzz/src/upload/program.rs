//! Plugins whose code does what it should not: it loops, recurses, grows, floods, lies about lengths.

use std::fmt::Write as _;

use crate::contract::{Code, Encoding, MAP_EVENT_PARAMS, WASI, component};
use crate::random::Random;

/// A valid component; what it does when it runs is up to the numbers.
pub(super) fn text(random: &mut Random) -> String {
    let libc = libc(random);
    let plugin = plugin(random);
    component(&Code {
        libc: &libc,
        plugin: &plugin,
        encoding: *random.pick(&Encoding::ALL),
        imports: if random.in_hundred(50) { WASI } else { "" },
        has_selection: false,
    })
}

fn libc(random: &mut Random) -> String {
    let pages = *random.pick(&[1, 1, 1, 2, 16, 300, 65_536]);
    let most = if random.in_hundred(50) {
        String::new()
    } else {
        "65536".to_owned()
    };
    let realloc = match random.below(6) {
        0 => "unreachable".to_owned(),
        1 => format!("(i32.const {})", address(random)),
        2 => "(loop (br 0)) (i32.const 0)".to_owned(),
        _ => "(i32.const 16384)".to_owned(),
    };
    let data = data(random);
    format!(
        r#"(memory (export "memory") {pages} {most}) {data}
        (func (export "realloc") (param i32 i32 i32 i32) (result i32) {realloc})"#
    )
}

fn data(random: &mut Random) -> String {
    let mut text = String::new();
    for _ in 0..random.below(4) {
        let at = random.below(64_000);
        let _infallible = write!(text, "(data (i32.const {at}) \"");
        for _ in 0..random.skewed(256) {
            let any = random.byte();
            let byte = *random.pick(&[0, 0, 1, 4, 8, 16, any]);
            let _infallible = write!(text, "\\{byte:02x}");
        }
        text.push_str("\")");
    }
    text
}

fn plugin(random: &mut Random) -> String {
    let table = *random.pick(&[1, 10, 1000, 99_999, 200_000]);
    let start = if random.in_hundred(10) {
        format!("(func $start {}) (start $start)", statements(random, 2))
    } else {
        String::new()
    };
    let mut more = String::new();
    for number in 0..random.skewed(200) {
        let body = arithmetic(random, 3);
        let _infallible = write!(more, "(func $f{number} (param i32) (result i32) {body})");
    }
    let (init, map) = (body(random), body(random));
    format!(
        r#"(import "libc" "memory" (memory 1))
        (import "host" "log" (func $log (param i32 i32 i32)))
        (import "host" "add" (func $add (param i32 i32 i64)))
        (table $table {table} funcref) (type $nothing (func))
        (func $deep (param i32) (result i32)
          (if (result i32) (local.get 0)
            (then (i32.add (call $deep (i32.sub (local.get 0) (i32.const 1))) (i32.const 1)))
            (else (i32.const 0))))
        {more} {start}
        (func (export "init") (param i32 i32) (result i32) (local $i i32) {init})
        (func (export "map-event") {MAP_EVENT_PARAMS} (local $i i32) {map})"#
    )
}

/// Statements, and the address of a result.
fn body(random: &mut Random) -> String {
    let count = if random.in_hundred(40) {
        0
    } else {
        random.below(6)
    };
    let work = statements(random, count);
    let result = match random.below(8) {
        0 => "unreachable".to_owned(),
        1 => format!("(i32.const {})", address(random)),
        2 => arithmetic(random, 2).replace("local.get 0", "i32.const 64"),
        // Zeros: no error, no messages.
        _ => "(i32.const 65000)".to_owned(),
    };
    format!("{work} {result}")
}

fn statements(random: &mut Random, count: usize) -> String {
    let mut text = String::new();
    for _ in 0..count {
        text.push_str(&statement(random));
        text.push('\n');
    }
    text
}

fn statement(random: &mut Random) -> String {
    let at = address(random);
    let any = random.next() >> 34;
    let count = *random.pick(&[0, 1, 7, 300, 65_536, u64::from(u32::MAX), any]);
    let small = random.skewed(5000);
    match random.below(16) {
        0 => format!("(drop (memory.grow (i32.const {})))", signed(count)),
        1 => format!(
            "(drop (table.grow $table (ref.null func) (i32.const {})))",
            signed(count)
        ),
        2 => format!("(i32.store (i32.const {at}) (i32.const {}))", signed(count)),
        3 => format!("(memory.fill (i32.const {at}) (i32.const 255) (i32.const {small}))"),
        4 => format!("(memory.copy (i32.const {at}) (i32.const 0) (i32.const {small}))"),
        5 => format!("(drop (call $deep (i32.const {})))", signed(count)),
        6 => "(loop (br 0))".to_owned(),
        7 => format!(
            "(block $done (loop $again (br_if $done (i32.gt_u (i32.const 1) (i32.const {small})))
              (call $log (i32.const {}) (i32.const {at}) (i32.const {small})) (br $again)))",
            random.below(6)
        ),
        8 => format!(
            "(call $log (i32.const {}) (i32.const {at}) (i32.const {}))",
            random.below(6),
            signed(count)
        ),
        9 => format!(
            "(call $add (i32.const {at}) (i32.const {small}) (i64.const {}))",
            random.next().cast_signed()
        ),
        10 => format!("(call_indirect (type $nothing) (i32.const {small}))"),
        11 => format!("(drop (i32.div_s (i32.const {small}) (i32.const 0)))"),
        12 => "unreachable".to_owned(),
        13 => format!(
            "(drop {})",
            arithmetic(random, 4).replace("local.get 0", "i32.const 9")
        ),
        14 => format!("(drop (i32.trunc_f64_s (f64.const {small}e9)))"),
        _ => "nop".to_owned(),
    }
}

fn arithmetic(random: &mut Random, depth: usize) -> String {
    if depth == 0 || random.in_hundred(20) {
        return if random.in_hundred(50) {
            "(local.get 0)".to_owned()
        } else {
            format!("(i32.const {})", address(random))
        };
    }
    let (left, right) = (arithmetic(random, depth - 1), arithmetic(random, depth - 1));
    match random.below(7) {
        0 => format!("(i32.add {left} {right})"),
        1 => format!("(i32.mul {left} {right})"),
        2 => format!("(i32.rotl {left} {right})"),
        3 => format!("(select {left} {right} {right})"),
        4 => format!("(i32.wrap_i64 (i64.shr_u (i64.extend_i32_u {left}) (i64.const 3)))"),
        5 => format!("(i32.load8_u (i32.and {left} (i32.const 65535)))"),
        _ => {
            format!("(i32x4.extract_lane 1 (i32x4.mul (i32x4.splat {left}) (i32x4.splat {right})))")
        }
    }
}

fn address(random: &mut Random) -> i32 {
    let near = i32::try_from(random.below(70_000)).unwrap_or(0);
    *random.pick(&[
        0,
        4,
        1024,
        near,
        near & !3,
        65_532,
        65_536,
        -1,
        -4,
        i32::MAX,
        i32::MIN,
    ])
}

fn signed(number: u64) -> i32 {
    u32::try_from(number).unwrap_or(u32::MAX).cast_signed()
}

#[cfg(test)]
mod tests {
    use super::text;
    use crate::random::Random;

    #[test]
    fn every_program_is_valid() {
        let mut random = Random::new(7);
        for _ in 0..100 {
            let bytes = wat::parse_str(text(&mut random)).unwrap();
            wasmparser::validate(&bytes).unwrap();
        }
    }
}
