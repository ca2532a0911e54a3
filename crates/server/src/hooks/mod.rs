//! Hooks: other people's logic that is asked before a decision. One file for each kind.

pub mod device_calls;
pub mod webhook;

use std::sync::Arc;

use anyhow::Context;
use engine::Hook;

use crate::config::{Config, EndpointKind};

/// Every hook that the configuration names.
///
/// # Errors
/// What is wrong with one of them, by its name.
pub fn hooks(config: &Config) -> anyhow::Result<Vec<Arc<dyn Hook>>> {
    let prepared = config.hooks.iter().map(|(name, endpoint)| {
        let hook = match endpoint.kind {
            EndpointKind::Webhook => webhook::Webhook::new(name, endpoint),
        };
        let hook = hook.with_context(|| format!("hook `{name}`"))?;
        Ok(Arc::new(hook) as Arc<dyn Hook>)
    });
    prepared.collect()
}
