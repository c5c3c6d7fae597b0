//! The log macros. They write by [`host::log`](crate::host::log); its limits hold.

/// Writes a formatted line of level `trace` to the host's log.
#[macro_export]
macro_rules! trace {
    ($($what:tt)+) => { $crate::host::log($crate::Level::Trace, &::std::format!($($what)+)) };
}

/// Writes a formatted line of level `debug` to the host's log.
#[macro_export]
macro_rules! debug {
    ($($what:tt)+) => { $crate::host::log($crate::Level::Debug, &::std::format!($($what)+)) };
}

/// Writes a formatted line of level `info` to the host's log.
#[macro_export]
macro_rules! info {
    ($($what:tt)+) => { $crate::host::log($crate::Level::Info, &::std::format!($($what)+)) };
}

/// Writes a formatted line of level `warn` to the host's log.
#[macro_export]
macro_rules! warn {
    ($($what:tt)+) => { $crate::host::log($crate::Level::Warn, &::std::format!($($what)+)) };
}

/// Writes a formatted line of level `error` to the host's log.
#[macro_export]
macro_rules! error {
    ($($what:tt)+) => { $crate::host::log($crate::Level::Error, &::std::format!($($what)+)) };
}

#[cfg(test)]
mod tests {
    use crate::{Level, host};

    #[test]
    fn each_macro_writes_at_its_level() {
        let group = "GID_A";
        crate::trace!("t");
        crate::debug!("d");
        crate::info!("i {group}");
        crate::warn!("w {}", 1);
        crate::error!("e");
        let lines = [
            (Level::Trace, "t"),
            (Level::Debug, "d"),
            (Level::Info, "i GID_A"),
            (Level::Warn, "w 1"),
            (Level::Error, "e"),
        ];
        assert_eq!(
            host::take_log(),
            lines.map(|(level, line)| (level, line.to_owned()))
        );
    }
}
