//! rulemill-sdk
