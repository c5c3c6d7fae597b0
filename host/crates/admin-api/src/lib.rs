//! The HTTP API: requests in, calls of the control side and the broker, JSON out.
//!
//! No rule of the product is decided here; what a request may say is checked here, what it means
//! is the control side's. The only crate that names axum.

mod access_keys;
mod api_error;
mod apply;
mod apsaramq;
mod audit;
mod clients;
mod component;
mod dead_letters;
mod declaration;
mod difference;
mod doors;
mod error_list;
mod events;
mod extract;
mod failures;
mod groups;
mod guard;
mod instances;
mod listener;
mod messages;
mod openapi;
mod page;
mod permission;
mod plugin_out;
mod plugin_versions;
mod plugins;
mod rule_history;
mod rule_in;
mod rule_out;
mod rule_test;
mod rules;
mod rules_folder;
mod secret_body;
mod server;
mod sign_in;
mod status;
mod strict_json;
mod tls;
mod token;
mod tokens;
mod unread_body;
mod users;

pub use declaration::{
    DeclaredComponent, DeclaredFiles, DeclaredPlugin, ReadDeclarationError, read_declarations,
};
pub use server::{AdminConfig, AdminServer, BindAdminError, Probes};
pub use tls::{AdminCertificate, LoadAdminCertificateError};
pub use token::{TokenHash, ensure_admin_token};
