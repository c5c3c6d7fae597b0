//! A plugin that gives back what it is told to: any image of its memory, or the host's own values.
//!
//! What it does is said by the lowest byte of the event's sequence number: 0 takes the user name as
//! the memory's image in hexadecimal, 1 rejects with one of the event's texts, 2 puts type, time and
//! sequence number into a body, 3 puts texts and attributes into a message. `init` refuses with its
//! configuration if that starts with `E`, and takes the rest as an image if it starts with `X` or `S`;
//! with `S` the image's result is not that of `init` but the names of the attributes that are read.

use crate::contract::{self, Code, Encoding, MAP_EVENT_PARAMS};

/// All of the guest's memory, bytes.
pub(super) const MEMORY_BYTES: usize = 1 << 20;
/// An image is shorter: behind it are zeros, and while it is decoded, the host's values.
pub(super) const IMAGE_BYTES_MAX: usize = 32 * 1024;

/// Words at the start of an image, at these addresses: the address of the result, how many imports are
/// called before it is returned, then 24 bytes for each: kind, level, address, length, delta.
pub(super) const CALLS: usize = 4;
pub(super) const CALL: usize = 8;
pub(super) const CALL_BYTES: usize = 24;
/// The how-manieth allocation of the next call is answered with which address; 0: none.
pub(super) const TRICK_AT: usize = 80;
pub(super) const TRICK_VALUE: usize = 84;
/// Free for everything else.
pub(super) const FREE: usize = 88;

pub(super) const OP_IMAGE: u64 = 0;
pub(super) const OP_TEXT: u64 = 1;
pub(super) const OP_NUMBERS: u64 = 2;
pub(super) const OP_RECORD: u64 = 3;
/// From here on, the number of a text is that of an attribute's name or value.
pub(super) const ATTRIBUTE_TEXTS: u64 = 16;

/// Its text.
pub(crate) fn text(encoding: Encoding) -> String {
    // Bytes of a character of ASCII.
    let stride = if encoding == Encoding::Utf16 {
        "2"
    } else {
        "1"
    };
    let plugin = PLUGIN
        .replace("MAP_EVENT_PARAMS", MAP_EVENT_PARAMS)
        .replace("STRIDE", stride);
    contract::component(&Code {
        libc: LIBC,
        plugin: &plugin,
        encoding,
        imports: "",
        has_selection: true,
    })
}

const LIBC: &str = r#"
    (memory (export "memory") 16 16)
    (global $heap (export "heap") (mut i32) (i32.const 65536))
    (global $trick-at (export "trick-at") (mut i32) (i32.const 0))
    (global $trick-value (export "trick-value") (mut i32) (i32.const 0))
    (func (export "realloc")
      (param $old i32) (param $old-size i32) (param $align i32) (param $size i32) (result i32)
      (local $at i32)
      (if (global.get $trick-at) (then
        (global.set $trick-at (i32.sub (global.get $trick-at) (i32.const 1)))
        (if (i32.eqz (global.get $trick-at)) (then (return (global.get $trick-value))))))
      (if (i32.and (i32.le_u (local.get $size) (local.get $old-size))
                   (i32.ne (local.get $old) (i32.const 0)))
        (then (return (local.get $old))))
      (local.set $at (i32.and
        (i32.add (global.get $heap) (i32.sub (local.get $align) (i32.const 1)))
        (i32.sub (i32.const 0) (local.get $align))))
      (global.set $heap (i32.add (local.get $at) (local.get $size)))
      (if (i32.gt_u (global.get $heap) (i32.const 1048576)) (then unreachable))
      (if (local.get $old-size)
        (then (memory.copy (local.get $at) (local.get $old) (local.get $old-size))))
      (local.get $at))"#;

const PLUGIN: &str = r#"
    (import "libc" "memory" (memory 16 16))
    (import "libc" "heap" (global $heap (mut i32)))
    (import "libc" "trick-at" (global $trick-at (mut i32)))
    (import "libc" "trick-value" (global $trick-value (mut i32)))
    (import "host" "log" (func $log (param i32 i32 i32)))
    (import "host" "add" (func $add (param i32 i32 i64)))
    (func $nibble (param $c i32) (result i32)
      (if (result i32) (i32.lt_u (local.get $c) (i32.const 58))
        (then (i32.sub (local.get $c) (i32.const 48)))
        (else (i32.sub (local.get $c) (i32.const 87)))))
    (func $image (param $text i32) (param $len i32) (result i32)
      (local $i i32) (local $count i32) (local $calls i32) (local $at i32)
      (local.set $count (i32.shr_u (local.get $len) (i32.const 1)))
      (block $done (loop $next
        (br_if $done (i32.ge_u (local.get $i) (local.get $count)))
        (i32.store8 (local.get $i) (i32.or
          (i32.shl (call $nibble (i32.load8_u (local.get $text))) (i32.const 4))
          (call $nibble (i32.load8_u (i32.add (local.get $text) (i32.const STRIDE))))))
        (local.set $text (i32.add (local.get $text) (i32.shl (i32.const STRIDE) (i32.const 1))))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br $next)))
      (memory.fill (local.get $count) (i32.const 0)
        (i32.sub (i32.const 1048576) (local.get $count)))
      (local.set $calls (i32.and (i32.load (i32.const 4)) (i32.const 3)))
      (local.set $at (i32.const 8))
      (block $called (loop $call
        (br_if $called (i32.eqz (local.get $calls)))
        (if (i32.and (i32.load (local.get $at)) (i32.const 1))
          (then (call $add (i32.load offset=8 (local.get $at)) (i32.load offset=12 (local.get $at))
            (i64.load offset=16 (local.get $at))))
          (else (call $log (i32.load offset=4 (local.get $at)) (i32.load offset=8 (local.get $at))
            (i32.load offset=12 (local.get $at)))))
        (local.set $at (i32.add (local.get $at) (i32.const 24)))
        (local.set $calls (i32.sub (local.get $calls) (i32.const 1)))
        (br $call)))
      (i32.load (i32.const 0)))
    ;; Zeros: none.
    (global $names (mut i32) (i32.const 61480))
    (func (export "names") (result i32) (global.get $names))
    (func (export "init") (param $text i32) (param $len i32) (result i32)
      (global.set $heap (i32.const 65536))
      (i32.store (i32.const 61440) (i32.const 0))
      (if (i32.eqz (local.get $len)) (then (return (i32.const 61440))))
      (if (i32.eq (i32.load8_u (local.get $text)) (i32.const 88)) (then (return (call $image
        (i32.add (local.get $text) (i32.const STRIDE)) (i32.sub (local.get $len) (i32.const 1))))))
      (if (i32.eq (i32.load8_u (local.get $text)) (i32.const 83)) (then
        (global.set $names (call $image
          (i32.add (local.get $text) (i32.const STRIDE)) (i32.sub (local.get $len) (i32.const 1))))
        (return (i32.const 61440))))
      (if (i32.eq (i32.load8_u (local.get $text)) (i32.const 69)) (then
        (i32.store (i32.const 61440) (i32.const 1))
        (i32.store (i32.const 61444) (local.get $text))
        (i32.store (i32.const 61448) (local.get $len))))
      (i32.const 61440))
    ;; The address of the attribute `username`: the only name of 8 units that starts with u.
    (func $username (param $pair i32) (result i32)
      (loop $next (result i32)
        (if (i32.and (i32.eq (i32.load offset=4 (local.get $pair)) (i32.const 8))
                     (i32.eq (i32.load8_u (i32.load (local.get $pair))) (i32.const 117)))
          (then (return (local.get $pair))))
        (local.set $pair (i32.add (local.get $pair) (i32.const 16)))
        (br $next)))
    (func (export "map-event") MAP_EVENT_PARAMS
      (local $op i32) (local $n i32) (local $at i32) (local $len i32)
      (global.set $heap (i32.const 65536))
      (local.set $op (i32.and (i32.wrap_i64 (local.get $sequence)) (i32.const 255)))
      (if (i32.eqz (local.get $op)) (then
        (local.set $at (call $username (local.get $pairs)))
        (local.set $at (call $image
          (i32.load offset=8 (local.get $at)) (i32.load offset=12 (local.get $at))))
        (global.set $trick-at (i32.and (i32.load (i32.const 80)) (i32.const 7)))
        (global.set $trick-value (i32.load (i32.const 84)))
        (return (local.get $at))))
      (if (i32.eq (local.get $op) (i32.const 1)) (then
        (local.set $n (i32.and (i32.wrap_i64 (i64.shr_u (local.get $sequence) (i64.const 8)))
          (i32.const 255)))
        (local.set $at (local.get $client)) (local.set $len (local.get $client-len))
        (if (i32.eq (local.get $n) (i32.const 1)) (then
          (local.set $at (local.get $group)) (local.set $len (local.get $group-len))))
        (if (i32.eq (local.get $n) (i32.const 2)) (then
          (local.set $at (local.get $channel)) (local.set $len (local.get $channel-len))))
        (if (i32.eq (local.get $n) (i32.const 3)) (then
          (local.set $at (local.get $ip)) (local.set $len (local.get $ip-len))))
        (if (i32.eq (local.get $n) (i32.const 4)) (then
          (local.set $at (local.get $id)) (local.set $len (local.get $id-len))))
        (if (i32.ge_u (local.get $n) (i32.const 16)) (then
          (local.set $n (i32.add (local.get $pairs)
            (i32.shl (i32.sub (local.get $n) (i32.const 16)) (i32.const 3))))
          (local.set $at (i32.load (local.get $n)))
          (local.set $len (i32.load offset=4 (local.get $n)))))
        (i32.store (i32.const 61440) (i32.const 1))
        (i32.store (i32.const 61444) (i32.const 0))
        (i32.store (i32.const 61448) (local.get $at))
        (i32.store (i32.const 61452) (local.get $len))
        (return (i32.const 61440))))
      ;; One message at 61696, its body at 57344.
      (i32.store8 (i32.const 57344) (local.get $type))
      (i64.store (i32.const 57345) (local.get $time))
      (i64.store (i32.const 57353) (local.get $sequence))
      (memory.fill (i32.const 61696) (i32.const 0) (i32.const 44))
      (i32.store (i32.const 61724) (i32.const 57344))
      (i32.store (i32.const 61728) (i32.const 17))
      (if (i32.eq (local.get $op) (i32.const 3)) (then
        (i32.store (i32.const 61696) (i32.const 1))
        (i32.store (i32.const 61700) (local.get $group))
        (i32.store (i32.const 61704) (local.get $group-len))
        (i32.store (i32.const 62000) (local.get $id))
        (i32.store (i32.const 62004) (local.get $id-len))
        (i32.store (i32.const 61708) (i32.const 62000))
        (i32.store (i32.const 61712) (i32.const 1))
        (i32.store (i32.const 61716) (local.get $pairs))
        (i32.store (i32.const 61720) (local.get $pairs-len))
        (i32.store (i32.const 61732) (local.get $pairs))
        (i32.store (i32.const 61736) (local.get $pairs-len))))
      (i32.store (i32.const 61440) (i32.const 0))
      (i32.store (i32.const 61444) (i32.const 61696))
      (i32.store (i32.const 61448) (i32.const 1))
      (i32.const 61440))"#;
