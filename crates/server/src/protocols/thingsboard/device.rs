//! What a device tells once it is in: telemetry and client attributes (sections 9.1 and 9.2).

use std::collections::BTreeSet;

use domain::Timestamp;
use engine::{Connected, NewSample};
use engine::{Scope, Value};
use wire::mqtt::{Publish, Qos, ReasonCode};
use wire::thingsboard::telemetry::TelemetryError;
use wire::thingsboard::topic::{self, DeviceTopic};
use wire::thingsboard::{attributes, telemetry};

use super::refuse;
use crate::mqtt::{MqttSession, Verdict};
use crate::protocols::{Faces, Task};

/// What a device posts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Post {
    /// Values over time.
    Telemetry,
    /// Client attributes.
    Attributes,
}

impl Post {
    /// Reads a payload.
    pub(super) fn read(self, payload: &[u8]) -> Result<Vec<NewSample>, TelemetryError> {
        match self {
            Post::Telemetry => {
                let sample = |entry: telemetry::Entry| NewSample {
                    scope: Scope::Timeseries,
                    key: entry.key,
                    at: entry.ts_ms.map(Timestamp),
                    value: value(entry.value),
                };
                Ok(telemetry::parse(payload)?.into_iter().map(sample).collect())
            }
            Post::Attributes => {
                let sample = |(key, given): (String, telemetry::Value)| NewSample {
                    scope: Scope::ClientAttribute,
                    key,
                    at: None,
                    value: value(given),
                };
                Ok(attributes::parse(payload)?.into_iter().map(sample).collect())
            }
        }
    }
}

fn value(given: telemetry::Value) -> Value {
    match given {
        telemetry::Value::Bool(value) => Value::Bool(value),
        telemetry::Value::Integer(value) => Value::Integer(value),
        telemetry::Value::Double(value) => Value::Double(value),
        telemetry::Value::Text(value) => Value::Text(value),
        telemetry::Value::Json(value) => Value::Json(value),
    }
}

/// Topics of gateways; a device that is none may not use them (section 10).
const GATEWAY_TOPICS: &str = "v1/gateway/";

/// The session of a device that has shown its credentials.
pub(super) struct DeviceSession {
    device: Connected,
    subscriptions: BTreeSet<String>,
}

impl DeviceSession {
    /// A session that was just opened.
    pub(super) fn new(device: Connected) -> DeviceSession {
        DeviceSession { device, subscriptions: BTreeSet::new() }
    }

    async fn store(&self, post: Post, payload: &[u8], faces: &Faces) -> Verdict {
        let Ok(samples) = post.read(payload) else {
            return Verdict::Unusable(ReasonCode::PAYLOAD_FORMAT_INVALID);
        };
        match faces.hub.publish(&self.device, samples).await {
            Ok(()) => Verdict::Taken,
            Err(refusal) => Verdict::Fatal(refuse::mqtt_reason(refusal)),
        }
    }

    fn unknown(&self, topic: &str) -> Verdict {
        let foreign = topic.starts_with(GATEWAY_TOPICS) && !self.device.gateway;
        Verdict::Dropped(if foreign { ReasonCode::NOT_AUTHORIZED } else { ReasonCode::TOPIC_NAME_INVALID })
    }
}

impl MqttSession for DeviceSession {
    fn subscribe(&mut self, filter: &str, asked: Qos) -> Option<Qos> {
        if !topic::device_may_subscribe(filter) {
            return None;
        }
        self.subscriptions.insert(filter.to_owned());
        Some(asked.min(Qos::AtLeastOnce))
    }

    fn unsubscribe(&mut self, filter: &str) -> bool {
        self.subscriptions.remove(filter)
    }

    fn publish<'a>(&'a mut self, message: &'a Publish, faces: &'a Faces) -> Task<'a, Verdict> {
        Box::pin(async move {
            match DeviceTopic::parse(&message.topic) {
                Some(DeviceTopic::Telemetry) => self.store(Post::Telemetry, &message.payload, faces).await,
                Some(DeviceTopic::Attributes) => self.store(Post::Attributes, &message.payload, faces).await,
                Some(DeviceTopic::ProvisionRequest) | None => self.unknown(&message.topic),
            }
        })
    }
}
