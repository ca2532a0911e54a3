//! A device that is in: what it tells, asks and is asked over MQTT (section 9.1), and the posts that it shares with
//! HTTP (9.2).

use std::collections::BTreeMap;
use std::sync::Arc;

use domain::{Origin, Refusal, Timestamp};
use engine::traces::Decision;
use engine::{Connected, NewSample, Scope, Value};
use tokio::sync::Semaphore;
use wire::mqtt::{Publish, Qos, ReasonCode};
use wire::thingsboard::attributes::AttributesRequest;
use wire::thingsboard::calls::Call;
use wire::thingsboard::claim::Claim;
use wire::thingsboard::telemetry::TelemetryError;
use wire::thingsboard::topic::{self, DeviceTopic, Form, Heard, Numbered};
use wire::thingsboard::{attributes, telemetry};

use super::{asking, refuse, traced};
use crate::hub::{Asked, Inbox};
use crate::mqtt::{Answer, MqttSession, Verdict};
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

/// The most calls of a device that wait for their answer in a session.
const MOST_CALLS: usize = 16;

/// The session of a device that has shown its credentials.
pub(super) struct DeviceSession {
    device: Connected,
    origin: Origin,
    subscriptions: BTreeMap<String, Qos>,
    /// Calls of the device whose answer is on its way.
    calling: Arc<Semaphore>,
}

impl DeviceSession {
    /// A session that was just opened, from there.
    pub(super) fn new(device: Connected, origin: Origin) -> DeviceSession {
        let calling = Arc::new(Semaphore::new(MOST_CALLS));
        DeviceSession { device, origin, subscriptions: BTreeMap::new(), calling }
    }

    async fn store(&self, post: Post, payload: &[u8], faces: &Faces) -> Verdict {
        let Ok(samples) = post.read(payload) else {
            return Verdict::Unusable(ReasonCode::PAYLOAD_FORMAT_INVALID);
        };
        taken(faces.hub.publish(&self.device, samples).await)
    }

    async fn attributes(&self, number: Numbered, payload: &[u8], faces: &Faces) -> Verdict {
        let Ok(asked) = AttributesRequest::parse(payload) else {
            return Verdict::Unusable(ReasonCode::PAYLOAD_FORMAT_INVALID);
        };
        match asking::attributes(&self.device, asked, faces).await {
            Ok(response) => {
                Verdict::Answered(self.answer(Heard::AttributesResponse(number), response.to_json()))
            }
            Err(refusal) => Verdict::Fatal(refuse::mqtt_reason(refusal)),
        }
    }

    /// The session goes on while somebody thinks about the answer.
    fn call(&self, number: Numbered, payload: &[u8], inbox: Option<&Arc<Inbox>>, faces: &Faces) -> Verdict {
        let Ok(call) = Call::parse(payload) else {
            return Verdict::Unusable(ReasonCode::PAYLOAD_FORMAT_INVALID);
        };
        let (Some(inbox), Ok(turn)) = (inbox, Arc::clone(&self.calling).try_acquire_owned()) else {
            return Verdict::Dropped(ReasonCode::QUOTA_EXCEEDED);
        };
        let (inbox, faces, device, source) =
            (Arc::clone(inbox), faces.clone(), self.device, self.origin.source);
        let empty = self.answer(Heard::CallResponse(number), Vec::new());
        tokio::spawn(async move {
            let said = asking::said(asking::answer(&device, source, &call, &faces).await);
            inbox.answer(Answer { payload: said.to_string().into(), ..empty });
            drop(turn);
        });
        Verdict::Taken
    }

    fn answered(&self, number: Numbered, payload: &[u8], faces: &Faces) -> Verdict {
        let Ok(value) = serde_json::from_slice(payload) else {
            return Verdict::Unusable(ReasonCode::PAYLOAD_FORMAT_INVALID);
        };
        if let Ok(id) = u32::try_from(number.id) {
            faces.sessions.answer_call(self.device.device, id, value);
        }
        Verdict::Taken
    }

    async fn claim(&self, payload: &[u8], faces: &Faces) -> Verdict {
        match Claim::parse(payload) {
            Ok(claim) => taken(asking::claim(&self.device, claim, faces).await),
            Err(_) => Verdict::Unusable(ReasonCode::PAYLOAD_FORMAT_INVALID),
        }
    }

    /// What was asked for is sent also where nobody subscribed to it, then at QoS 1.
    fn answer(&self, heard: Heard, payload: Vec<u8>) -> Answer {
        let qos = self.subscriptions.get(&heard.filter()).copied().unwrap_or(Qos::AtLeastOnce);
        Answer { topic: heard.topic().into(), qos, payload: payload.into() }
    }

    /// The form in which the device has subscribed to something of ours.
    fn subscribed(&self, heard: impl Fn(Form) -> Heard) -> Option<Form> {
        Form::ALL.into_iter().find(|form| self.subscriptions.contains_key(&heard(*form).filter()))
    }

    async fn update(&self, inbox: &Inbox, faces: &Faces) -> Option<Answer> {
        let keys = inbox.take_changed();
        let form = self.subscribed(Heard::AttributesUpdate).filter(|_| !keys.is_empty())?;
        match asking::update(&self.device, keys, faces).await {
            Ok(update) => Some(self.answer(Heard::AttributesUpdate(form), update)),
            Err(refusal) => {
                tracing::warn!(code = refusal.code(), "a device was not told of its attributes");
                None
            }
        }
    }

    fn calls(&self, faces: &Faces) -> Vec<Answer> {
        let heard = |id: u32, form| Heard::CallRequest(Numbered { id: id.cast_signed(), form });
        let Some(form) = self.subscribed(|form| heard(0, form)) else { return Vec::new() };
        let calls = std::iter::from_fn(|| faces.sessions.next_call(self.device.device));
        let told = |asked: Asked| {
            let call = Call { method: asked.method, params: asked.params };
            self.answer(heard(asked.id, form), call.to_json())
        };
        calls.map(told).collect()
    }

    async fn carry_out(&self, message: &Publish, inbox: Option<&Arc<Inbox>>, faces: &Faces) -> Verdict {
        let payload = &message.payload;
        match DeviceTopic::parse(&message.topic) {
            Some(DeviceTopic::Telemetry) => self.store(Post::Telemetry, payload, faces).await,
            Some(DeviceTopic::Attributes) => self.store(Post::Attributes, payload, faces).await,
            Some(DeviceTopic::AttributesRequest(number)) => self.attributes(number, payload, faces).await,
            Some(DeviceTopic::CallRequest(number)) => self.call(number, payload, inbox, faces),
            Some(DeviceTopic::CallResponse(number)) => self.answered(number, payload, faces),
            Some(DeviceTopic::Claim) => self.claim(payload, faces).await,
            Some(DeviceTopic::ProvisionRequest) | None => self.unknown(&message.topic),
        }
    }

    async fn trace(&self, message: &Publish, verdict: &Verdict, faces: &Faces) {
        let packet = format!("PUBLISH {}", message.topic);
        let told: &[u8] = if let Verdict::Answered(answer) = verdict { &answer.payload } else { b"" };
        let decision = traced::judged(verdict);
        traced::did(&self.device, self.origin, &packet, &message.payload, decision, told, faces).await;
    }

    async fn trace_told(&self, answer: &Answer, faces: &Faces) {
        let packet = format!("to the device: {}", answer.topic);
        traced::did(&self.device, self.origin, &packet, b"", Decision::Accepted, &answer.payload, faces)
            .await;
    }

    fn unknown(&self, topic: &str) -> Verdict {
        let foreign = topic.starts_with(GATEWAY_TOPICS) && !self.device.gateway;
        Verdict::Dropped(if foreign { ReasonCode::NOT_AUTHORIZED } else { ReasonCode::TOPIC_NAME_INVALID })
    }
}

fn taken(result: Result<(), Refusal>) -> Verdict {
    match result {
        Ok(()) => Verdict::Taken,
        Err(refusal) => Verdict::Fatal(refuse::mqtt_reason(refusal)),
    }
}

impl MqttSession for DeviceSession {
    fn heard(&self, faces: &Faces) {
        faces.hub.heard_of(&self.device);
    }

    fn subscribe(&mut self, filter: &str, asked: Qos) -> Option<Qos> {
        if !topic::device_may_subscribe(filter) {
            return None;
        }
        let granted = asked.min(Qos::AtLeastOnce);
        self.subscriptions.insert(filter.to_owned(), granted);
        Some(granted)
    }

    fn unsubscribe(&mut self, filter: &str) -> bool {
        self.subscriptions.remove(filter).is_some()
    }

    fn publish<'a>(
        &'a mut self,
        message: &'a Publish,
        inbox: Option<&'a Arc<Inbox>>,
        faces: &'a Faces,
    ) -> Task<'a, Verdict> {
        Box::pin(async move {
            let verdict = self.carry_out(message, inbox, faces).await;
            if faces.traces.is_any() {
                self.trace(message, &verdict, faces).await;
            }
            verdict
        })
    }

    fn listen<'a>(&'a mut self, inbox: &'a Arc<Inbox>, faces: &'a Faces) -> Task<'a, Vec<Answer>> {
        Box::pin(async move {
            let mut answers = Vec::from(inbox.take_answers());
            answers.extend(self.update(inbox, faces).await);
            answers.extend(self.calls(faces));
            if faces.traces.is_any() {
                for answer in &answers {
                    self.trace_told(answer, faces).await;
                }
            }
            answers
        })
    }
}
