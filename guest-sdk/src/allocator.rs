//! The component's allocator.
//!
//! Each text of an event is allocated and freed once, so a short call spends a third of its time on that. The default
//! on `wasm32-wasip2` is the C library's, behind calls that are not inlined; the same algorithm in Rust takes a tenth
//! less of a whole call of `apsaramq-status`. A feature, because a component has one such allocator and it is up to the
//! author.

use dlmalloc::GlobalDlmalloc;

#[global_allocator]
static ALLOCATOR: GlobalDlmalloc = GlobalDlmalloc;
