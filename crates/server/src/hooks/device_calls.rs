//! Calls of devices, answered by a hook: a signed POST says what a device asks, and the answer is the device's.
//!
//! Event `device.call`; whatever JSON comes with status 200 is handed to the device as it is. A device that asks
//! again is asked about again: what the hook does has to bear that.
//!
//! Source of truth: docs/connectors/webhook.md, "Calls of devices".

use std::net::IpAddr;

use anyhow::Context;
use engine::{Caller, Fault};
use serde::Serialize;
use serde_json::Value;

use crate::config::Config;
use crate::outbound::{Delivery, SignedCalls};

const EVENT: &str = "device.call";

/// Whoever answers devices.
pub struct DeviceCalls {
    calls: SignedCalls,
}

/// The hook that the configuration names for it, if any.
///
/// # Errors
/// What is wrong with it.
pub fn device_calls(config: &Config) -> anyhow::Result<Option<DeviceCalls>> {
    let name = &config.devices.calls_hook;
    let Some(endpoint) = config.hooks.get(name) else { return Ok(None) };
    let calls = endpoint.signed_calls().with_context(|| format!("hook `{name}`"))?;
    Ok(Some(DeviceCalls { calls }))
}

#[derive(Serialize)]
struct Body<'a> {
    event: &'static str,
    tenant: &'a str,
    profile: &'a str,
    device: Device<'a>,
    source: IpAddr,
    method: &'a str,
    params: &'a Value,
}

#[derive(Serialize)]
struct Device<'a> {
    id: &'a str,
    name: &'a str,
}

impl DeviceCalls {
    /// What a device is told.
    ///
    /// # Errors
    /// What failed outside; an answer that is no JSON is a fault.
    pub async fn answer(&self, caller: &Caller, method: &str, params: &Value) -> Result<Value, Fault> {
        let body = Body {
            event: EVENT,
            tenant: &caller.tenant,
            profile: &caller.profile,
            device: Device { id: &caller.id, name: &caller.name },
            source: caller.source,
            method,
            params,
        };
        let reply = self.calls.deliver(Delivery { event: EVENT, key: None, body: &body, also: &[] }).await?;
        serde_json::from_slice(&reply.body)
            .map_err(|_| self.calls.misunderstood("what is no JSON", "has to answer JSON for the device"))
    }
}
