//! Files that are plainly something else than a component, told by their beginning.

/// ELF's field for the operating system holds this in what wasmtime compiled.
const COMPILED_BY_WASMTIME: u8 = 200;

/// What the file is and what to upload instead; `None`: it begins as WebAssembly does.
pub(super) fn kind(bytes: &[u8]) -> Option<&'static str> {
    if bytes.starts_with(b"\0asm") {
        return None;
    }
    Some(if bytes.is_empty() {
        "it is empty; look whether the build went through"
    } else if bytes.starts_with(b"\x7fELF") && bytes.get(7) == Some(&COMPILED_BY_WASMTIME) {
        "it is compiled code (.cwasm); upload the component that it was compiled from, this host compiles it itself"
    } else if bytes.starts_with(b"\x7fELF")
        || bytes.starts_with(b"MZ")
        || bytes.starts_with(b"\xcf\xfa\xed\xfe")
    {
        "it is a program for a machine, not for WebAssembly; build it for wasm32-wasip2"
    } else if bytes.starts_with(b"PK\x03\x04")
        || bytes.starts_with(b"\x1f\x8b")
        || bytes.starts_with(b"\x28\xb5\x2f\xfd")
    {
        "it is an archive; unpack it and upload the .wasm file in it"
    } else if bytes.trim_ascii_start().starts_with(b"(") {
        "it is WebAssembly as text; translate it with `wasm-tools parse`"
    } else if is_text(bytes) {
        "it is a text file; upload the .wasm file that the build makes for wasm32-wasip2"
    } else {
        "it does not start with the WebAssembly magic number (\\0asm); upload the .wasm file that the build makes for \
         wasm32-wasip2"
    })
}

fn is_text(bytes: &[u8]) -> bool {
    let beginning = bytes.get(..512.min(bytes.len())).unwrap_or(bytes);
    let is_printed = |byte: &u8| *byte >= b' ' || byte.is_ascii_whitespace();
    beginning.iter().all(is_printed)
        && std::str::from_utf8(beginning).map_or_else(|error| error.error_len().is_none(), |_| true)
}
