//! Connectors: neighbours that are kept in step with devices. One file for each kind; each kind has a page in
//! `docs/connectors/`, and passes the contract in `tests/it/connector_contract.rs`.

pub mod webhook;

use std::sync::Arc;

use anyhow::Context;
use engine::Connector;

use crate::config::{Config, EndpointKind};

/// Every connector that the configuration names.
///
/// # Errors
/// What is wrong with one of them, by its name.
pub fn connectors(config: &Config) -> anyhow::Result<Vec<Arc<dyn Connector>>> {
    let prepared = config.connectors.iter().map(|(name, endpoint)| {
        let connector = match endpoint.kind {
            EndpointKind::Webhook => webhook::Webhook::new(name, endpoint),
        };
        let connector = connector.with_context(|| format!("connector `{name}`"))?;
        Ok(Arc::new(connector) as Arc<dyn Connector>)
    });
    prepared.collect()
}
