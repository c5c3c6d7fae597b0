//! Panics of any thread, also those that the product catches: each one is a finding. They are printed
//! as always, too.

use std::panic;
use std::sync::Mutex;

static LAST: Mutex<Option<String>> = Mutex::new(None);

/// Notes panics from now on.
pub(crate) fn note() {
    let print = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        print(info);
        let mut last = LAST
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        last.get_or_insert_with(|| info.to_string());
    }));
}

/// The first panic since the last call.
pub(crate) fn take() -> Option<String> {
    LAST.lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
        .take()
}
