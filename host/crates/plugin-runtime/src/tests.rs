//! The runtime against small components: what is refused, what is stopped, what goes on.

mod compiling;
mod contracts;
pub(crate) mod fixture;
mod hostile;
mod inspecting;
mod mapping;
mod preparing;
mod sdk_limits;
mod selecting;
mod sharing;
