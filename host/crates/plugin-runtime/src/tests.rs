//! The runtime against small components: what is refused, what is stopped, what goes on.

mod fixture;
mod inspecting;
mod mapping;
mod preparing;
mod sharing;
