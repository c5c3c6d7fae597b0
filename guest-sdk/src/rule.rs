//! What a plugin implements, and the macro that makes a component of it.

use crate::{Event, MapError, Message};

/// A plugin that maps client status events.
///
/// An instance serves one rule. It is made once by [`StatusRule::init`] and then asked for one
/// event after the other; the host may throw it away and make a new one at any time.
pub trait StatusRule: Sized + Send + Sync + 'static {
    /// Reads the rule's configuration: the rule's `mapping.config` as JSON text.
    ///
    /// # Errors
    ///
    /// Says what is wrong with `config`; shown to who edits the rule.
    fn init(config: &str) -> Result<Self, String>;

    /// The names of the attributes that [`StatusRule::map_event`] reads with this configuration; none:
    /// all. Asked for once, after [`StatusRule::init`].
    ///
    /// Events then have those attributes and no others: most of what a short call costs is bringing
    /// over what nobody reads. 64 names at most, each of 64 bytes at most.
    fn attributes(&self) -> Option<Vec<&str>> {
        None
    }

    /// The messages of one event, sent in this order; none: the event is skipped.
    ///
    /// The same event must give the same messages, since it may be mapped again after a crash.
    ///
    /// # Errors
    ///
    /// Rejects the event for good or for now. A panic is no rejection but a fault of the plugin.
    fn map_event(&self, event: &Event) -> Result<Vec<Message>, MapError>;
}

/// Makes the crate a component whose mapping is the given [`StatusRule`](crate::StatusRule).
///
/// Use it once per crate, with a type's name. Natively it only checks that the type is a rule.
#[macro_export]
macro_rules! export_rule {
    ($rule:ident) => {
        const _: () = {
            const fn is_a_status_rule<T: $crate::StatusRule>() {}
            is_a_status_rule::<$rule>();
        };

        #[cfg(target_arch = "wasm32")]
        const _: () = {
            static RULE: ::std::sync::OnceLock<$rule> = ::std::sync::OnceLock::new();

            struct Component;

            impl $crate::bindings::exports::rulemill::rule::lifecycle::Guest for Component {
                fn init(
                    config: ::std::string::String,
                ) -> ::core::result::Result<(), ::std::string::String> {
                    let rule = <$rule as $crate::StatusRule>::init(&config)?;
                    RULE.set(rule)
                        .map_err(|_| ::std::string::String::from("init was called before"))
                }
            }

            impl $crate::bindings::exports::rulemill::attributes::selection::Guest for Component {
                fn names() -> ::core::option::Option<::std::vec::Vec<::std::string::String>> {
                    let names = <$rule as $crate::StatusRule>::attributes(RULE.get()?)?;
                    Some(names.into_iter().map(::std::string::String::from).collect())
                }
            }

            impl $crate::bindings::exports::rulemill::rule::status_mapper::Guest for Component {
                fn map_event(
                    event: $crate::Event,
                ) -> ::core::result::Result<::std::vec::Vec<$crate::Message>, $crate::MapError>
                {
                    match RULE.get() {
                        Some(rule) => <$rule as $crate::StatusRule>::map_event(rule, &event),
                        None => Err($crate::MapError::Rejected(::std::string::String::from(
                            "init was not called",
                        ))),
                    }
                }
            }

    $crate::bindings::export_status_rule!(Component with_types_in $crate::bindings);
        };
    };
}
