//! The heart: recorder, couriers, reloader, and the control side that changes them.
//!
//! Events come in through [`Recorder`], wait in the store, and leave through one courier per
//! incarnation of a rule. Nothing here knows of sockets, HTTP or the RocketMQ client.

pub mod control;

mod backoff;
mod clock_steps;
mod clock_watch;
mod components;
mod config;
mod control_error;
mod control_errors;
mod courier;
mod couriers;
mod feed;
mod generations;
mod groups;
mod health;
mod housekeeping;
mod intent;
mod live;
mod metrics;
mod pipeline;
mod plugin_folder;
mod recorder;
mod refusals;
mod reloader;
mod rollback;
mod rule_set;
mod samples;
mod stamp;
mod track_record;
mod view;

#[cfg(test)]
mod tests;

pub use config::{BuiltInPlugin, DeliveryConfig, InstanceConfig, PipelineConfig};
pub use pipeline::{OpenPipelineError, Pipeline};
pub use recorder::Recorder;
