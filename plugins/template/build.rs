//! The stack is part of the linear memory, 1 MiB unless told otherwise. The parser of templates goes down
//! 150 levels before it refuses, for which the 64 KiB of the other plugins are too few.

fn main() {
    if std::env::var("CARGO_CFG_TARGET_ARCH").is_ok_and(|arch| arch == "wasm32") {
        println!("cargo::rustc-link-arg-cdylib=-zstack-size=524288");
    }
    println!("cargo::rerun-if-changed=build.rs");
}
