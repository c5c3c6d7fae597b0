//! RocketMQ instances as rules see them: is the destination there?

use std::sync::Arc;

use domain::{Destination, InstanceId, MessageSender, RouteError, TopicName};

use super::{Control, ControlCode, ControlError};
use crate::config::InstanceConfig;
use crate::control_errors;

impl Control {
    /// The configured instances, sorted.
    #[must_use]
    pub fn instances(&self) -> Vec<InstanceId> {
        let mut ids: Vec<_> = self.configured.keys().cloned().collect();
        ids.sort();
        ids
    }

    /// The connections of an instance.
    #[must_use]
    pub fn sender(&self, instance_id: &InstanceId) -> Option<Arc<dyn MessageSender>> {
        self.configured
            .get(instance_id)
            .map(|instance| Arc::clone(&instance.sender))
    }

    /// Creates a topic, with the instance's number of queues if `queues` is not given.
    ///
    /// # Errors
    ///
    /// When the instance is not configured, cannot be reached or refuses.
    pub async fn create_topic(
        &self,
        instance_id: &InstanceId,
        topic: &TopicName,
        queues: Option<u32>,
    ) -> Result<(), ControlError> {
        let instance = self.instance(instance_id)?;
        let queues = queues.unwrap_or(instance.topic_queues);
        let created = instance.sender.create_topic(topic, queues).await;
        created.map_err(|error| control_errors::create_topic(&error))
    }

    /// Warnings about a destination that is there or forced.
    pub(super) async fn check_destination(
        &self,
        destination: &Destination,
        is_forced: bool,
    ) -> Result<Vec<String>, ControlError> {
        let instance = self.instance(&destination.instance_id)?;
        let topic = &destination.topic;
        let problem = match instance.sender.route(topic).await {
            Ok(_) => return Ok(Vec::new()),
            Err(RouteError::TopicNotFound { .. }) if instance.is_topic_created => {
                match instance
                    .sender
                    .create_topic(topic, instance.topic_queues)
                    .await
                {
                    Ok(()) => return Ok(Vec::new()),
                    Err(error) => control_errors::create_topic(&error),
                }
            }
            Err(error) => control_errors::route(&error),
        };
        if is_forced {
            Ok(vec![problem.message])
        } else {
            Err(problem)
        }
    }

    pub(super) fn instance(
        &self,
        instance_id: &InstanceId,
    ) -> Result<&InstanceConfig, ControlError> {
        self.configured.get(instance_id).ok_or_else(|| {
            let known: Vec<_> = self.instances().iter().map(ToString::to_string).collect();
            let message = format!(
                "the configuration has no rocketmq.instances.{instance_id}; it has {}",
                if known.is_empty() {
                    "none".to_owned()
                } else {
                    known.join(", ")
                }
            );
            ControlError::new(ControlCode::UnknownInstance, message)
        })
    }
}
