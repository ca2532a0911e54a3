//! The webhook hook: a signed POST asks whether a proven device may come in.
//!
//! Event `provisioning.question`; the answer is `{"allow": true, "attributes": {…}}`, where the attributes may be
//! left out, or `{"allow": false, "reason": "…"}`. Whatever else comes is a fault: nobody comes in by a mistake.
//!
//! Source of truth: docs/connectors/webhook.md, "Questions".

use std::net::IpAddr;

use domain::StepKey;
use engine::{Asked, Attributes, Fault, Hook, HookAnswer, Task};
use serde::{Deserialize, Serialize};

use crate::config::Endpoint;
use crate::outbound::{Delivery, SignedCalls};

/// The most attributes that an answer may give.
const ATTRIBUTES: usize = 64;

/// The longest name of an attribute, in bytes.
const ATTRIBUTE_NAME_BYTES: usize = 255;

/// The most that all attributes of an answer may take as JSON, in bytes.
const ATTRIBUTE_BYTES: usize = 16 * 1024;

/// The most of a reason that is kept, in characters.
const REASON_CHARS: usize = 500;

/// Somebody's logic behind a webhook.
pub struct Webhook {
    name: String,
    calls: SignedCalls,
}

impl Webhook {
    /// Prepares to ask; nothing is sent yet.
    ///
    /// # Errors
    /// If the address may not be called, or a file cannot be used.
    pub fn new(name: &str, endpoint: &Endpoint) -> anyhow::Result<Webhook> {
        Ok(Webhook { name: name.to_owned(), calls: endpoint.leased_calls()? })
    }

    async fn answered(&self, asked: &Asked, key: &StepKey) -> Result<HookAnswer, Fault> {
        let body = Question::of(asked, key);
        let delivery = Delivery { event: QUESTION, key: Some(key), body: &body, also: &[] };
        let reply = self.calls.deliver(delivery).await?;
        answer(&reply.body).map_err(|what| self.calls.misunderstood(&what, EXPECTED))
    }

    async fn checked(&self) -> Result<(), Fault> {
        self.calls.check(CHECK, &Check { event: CHECK, hook: &self.name }).await
    }
}

impl Hook for Webhook {
    fn name(&self) -> &str {
        &self.name
    }

    fn most_at_once(&self) -> usize {
        self.calls.most_at_once()
    }

    fn ask<'a>(&'a self, asked: &'a Asked, key: &'a StepKey) -> Task<'a, Result<HookAnswer, Fault>> {
        Box::pin(self.answered(asked, key))
    }

    fn check(&self) -> Task<'_, Result<(), Fault>> {
        Box::pin(self.checked())
    }
}

const QUESTION: &str = "provisioning.question";
const CHECK: &str = "provisioning.check";

#[derive(Serialize)]
struct Question<'a> {
    event: &'static str,
    key: String,
    operation: u64,
    step: u32,
    tenant: &'a str,
    profile: &'a str,
    registration_id: Option<&'a str>,
    source: IpAddr,
    wire: &'static str,
    gateway: bool,
}

#[derive(Serialize)]
struct Check<'a> {
    event: &'static str,
    hook: &'a str,
}

impl<'a> Question<'a> {
    fn of(asked: &'a Asked, key: &StepKey) -> Question<'a> {
        Question {
            event: QUESTION,
            key: key.to_string(),
            operation: key.operation.0,
            step: key.index,
            tenant: &asked.tenant,
            profile: &asked.profile,
            registration_id: asked.registration_id.as_deref(),
            source: asked.source,
            wire: asked.wire,
            gateway: asked.gateway,
        }
    }
}

const EXPECTED: &str = r#"has to answer {"allow": true} or {"allow": false, "reason": "…"}"#;

/// What we read of an answer.
#[derive(Deserialize)]
struct Answer {
    allow: bool,
    attributes: Option<Attributes>,
    reason: Option<String>,
}

fn answer(body: &[u8]) -> Result<HookAnswer, String> {
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err("what is not a JSON object".to_owned());
    }
    let answer: Answer =
        serde_json::from_slice(body).map_err(|error| format!("what cannot be read ({error})"))?;
    if !answer.allow {
        return Ok(HookAnswer::Deny { reason: reason(answer.reason.as_deref()) });
    }
    if let Some(attributes) = &answer.attributes {
        bounded(attributes)?;
    }
    Ok(HookAnswer::Allow { attributes: answer.attributes })
}

fn reason(said: Option<&str>) -> String {
    let plain = said.unwrap_or_default().chars().filter(|c| !c.is_control()).take(REASON_CHARS);
    let plain: String = plain.collect();
    if plain.trim().is_empty() { "no reason was given".to_owned() } else { plain }
}

fn bounded(attributes: &Attributes) -> Result<(), String> {
    if attributes.len() > ATTRIBUTES {
        return Err(format!("{} attributes, more than {ATTRIBUTES}", attributes.len()));
    }
    let is_name =
        |name: &str| (1..=ATTRIBUTE_NAME_BYTES).contains(&name.len()) && !name.chars().any(char::is_control);
    if !attributes.keys().all(|name| is_name(name)) {
        return Err(format!("an attribute whose name is not 1 to {ATTRIBUTE_NAME_BYTES} printable bytes"));
    }
    let bytes = serde_json::to_vec(attributes).map_or(usize::MAX, |json| json.len());
    if bytes > ATTRIBUTE_BYTES {
        return Err(format!("attributes of more than {ATTRIBUTE_BYTES} bytes"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn denied(body: &str) -> String {
        match answer(body.as_bytes()) {
            Ok(HookAnswer::Deny { reason }) => reason,
            other => panic!("{body}: {other:?}"),
        }
    }

    #[test]
    fn yes_and_no_are_understood() {
        assert_eq!(answer(b"{\"allow\": true}"), Ok(HookAnswer::Allow { attributes: None }));
        let Ok(HookAnswer::Allow { attributes: Some(attributes) }) =
            answer(br#" {"allow": true, "attributes": {"room": 3}, "more": []}"#)
        else {
            panic!("not allowed")
        };
        assert_eq!(attributes["room"], 3);
        assert_eq!(denied(r#"{"allow": false, "reason": "stolen\u001b[0m"}"#), "stolen[0m");
        assert_eq!(denied(r#"{"allow": false}"#), "no reason was given");
        assert_eq!(denied(&format!(r#"{{"allow": false, "reason": "{}"}}"#, "x".repeat(999))).len(), 500);
    }

    #[test]
    fn nobody_comes_in_by_a_mistake() {
        for body in [
            "",
            "true",
            "ok",
            "[true]",
            "{}",
            "{\"allow\": \"true\"}",
            "{\"allow\": 1}",
            "{\"allow\": null}",
            "{\"allow\": true, \"attributes\": []}",
            "{\"allow\": true, \"attributes\": {\"\": 1}}",
            "{\"allow\": true, \"attributes\": {\"a\\u0000\": 1}}",
            "{\"allow\": true",
        ] {
            assert!(answer(body.as_bytes()).is_err(), "{body}");
        }
    }

    #[test]
    fn attributes_have_bounds() {
        let with = |attributes: serde_json::Value| {
            answer(serde_json::json!({"allow": true, "attributes": attributes}).to_string().as_bytes())
        };
        let many = |count| (0..count).map(|number| (number.to_string(), 1.into())).collect::<Attributes>();
        assert!(with(many(64).into()).is_ok());
        assert!(with(many(65).into()).is_err());
        assert!(with(serde_json::json!({"a": "x".repeat(ATTRIBUTE_BYTES)})).is_err());
        assert!(with(serde_json::json!({"a".repeat(256): 1})).is_err());
    }
}
