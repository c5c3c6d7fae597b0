//! How large the tests under load are: small by default, as the product promises with
//! `RULEMILL_TEST_SCALE=full`.

/// `small`, or `full` when the environment asks for it.
#[must_use]
pub fn pick<T>(small: T, full: T) -> T {
    if std::env::var("RULEMILL_TEST_SCALE").is_ok_and(|scale| scale == "full") {
        full
    } else {
        small
    }
}
