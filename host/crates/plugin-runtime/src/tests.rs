//! The runtime against small components: what is refused, what is stopped, what goes on.

pub(crate) mod fixture;
mod inspecting;
mod mapping;
mod preparing;
mod sharing;
