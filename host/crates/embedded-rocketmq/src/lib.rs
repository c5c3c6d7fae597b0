//! embedded-rocketmq
