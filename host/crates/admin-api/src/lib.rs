//! The HTTP API: requests in, calls of the control side and the broker, JSON out.
//!
//! No rule of the product is decided here; what a request may say is checked here, what it means
//! is the control side's. The only crate that names axum.

mod api_error;
mod clients;
mod dead_letters;
mod extract;
mod groups;
mod guard;
mod instances;
mod listener;
mod messages;
mod page;
mod plugins;
mod rule_in;
mod rule_out;
mod rules;
mod server;
mod status;
mod token;

pub use server::{AdminConfig, AdminServer, BindAdminError, Probes};
pub use token::{TokenHash, ensure_admin_token};
