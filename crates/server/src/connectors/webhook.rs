//! The webhook connector: a neighbour of anybody's making is told of each device by a signed POST.
//!
//! | Event | When | What an answer means |
//! |---|---|---|
//! | `device.ensure` | a step joins the neighbour | 2xx: it is there; what is answered is the receipt |
//! | `device.retire` | a step leaves it | 2xx, 404 or 410: nothing is left |
//! | `device.check` | somebody asks whether it could work | 2xx: yes |
//!
//! The idempotency key is the step's: the neighbour does the work of one key and event once, however often it is
//! told. Where an answer was lost, retiring comes without a receipt, and the neighbour finds the device by its id.
//!
//! Source of truth: docs/connectors/webhook.md.

use engine::{Attributes, Connector, DeviceView, Ensured, Fault, Task};
use reqwest::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use domain::{Receipt, StepKey};

use crate::config::Endpoint;
use crate::outbound::{Delivery, Reply, SignedCalls};

/// The longest name that a neighbour may give a device, in bytes.
const EXTERNAL_ID_BYTES: usize = 256;

/// The most of an answer that is kept as a receipt, in bytes.
const RECEIPT_BYTES: usize = 4096;

/// What says that there is nothing left to retire.
const GONE: &[StatusCode] = &[StatusCode::NOT_FOUND, StatusCode::GONE];

/// A neighbour behind a webhook.
pub struct Webhook {
    name: String,
    calls: SignedCalls,
}

impl Webhook {
    /// Prepares to call; nothing is sent yet.
    ///
    /// # Errors
    /// If the address may not be called, or a file cannot be used.
    pub fn new(name: &str, endpoint: &Endpoint) -> anyhow::Result<Webhook> {
        Ok(Webhook { name: name.to_owned(), calls: endpoint.leased_calls()? })
    }

    async fn ensured(&self, device: &DeviceView, key: &StepKey) -> Result<Ensured, Fault> {
        let body = Told::of(ENSURE, key, device, None);
        let reply = self.calls.deliver(delivery(ENSURE, key, &body, &[])).await?;
        let receipt = receipt(&reply, device).map_err(|what| self.calls.misunderstood(&what, EXPECTED))?;
        Ok(Ensured { receipt })
    }

    async fn retired(
        &self,
        device: &DeviceView,
        key: &StepKey,
        receipt: Option<&Receipt>,
    ) -> Result<(), Fault> {
        let body = Told::of(RETIRE, key, device, Some(receipt.map(ToldReceipt::of)));
        self.calls.deliver(delivery(RETIRE, key, &body, GONE)).await.map(drop)
    }

    async fn checked(&self) -> Result<(), Fault> {
        self.calls.check(CHECK, &Check { event: CHECK, connector: &self.name }).await
    }
}

impl Connector for Webhook {
    fn name(&self) -> &str {
        &self.name
    }

    fn most_at_once(&self) -> usize {
        self.calls.most_at_once()
    }

    fn ensure<'a>(&'a self, device: &'a DeviceView, key: &'a StepKey) -> Task<'a, Result<Ensured, Fault>> {
        Box::pin(self.ensured(device, key))
    }

    fn retire<'a>(
        &'a self,
        device: &'a DeviceView,
        key: &'a StepKey,
        receipt: Option<&'a Receipt>,
    ) -> Task<'a, Result<(), Fault>> {
        Box::pin(self.retired(device, key, receipt))
    }

    fn check(&self) -> Task<'_, Result<(), Fault>> {
        Box::pin(self.checked())
    }
}

// === What is sent ===

const ENSURE: &str = "device.ensure";
const RETIRE: &str = "device.retire";
const CHECK: &str = "device.check";

fn delivery<'a, B>(
    event: &'static str,
    key: &'a StepKey,
    body: &'a B,
    also: &'a [StatusCode],
) -> Delivery<'a, B> {
    Delivery { event, key: Some(key), body, also }
}

/// The body of `device.ensure` and `device.retire`.
#[derive(Serialize)]
struct Told<'a> {
    event: &'static str,
    key: String,
    operation: u64,
    step: u32,
    device: ToldDevice<'a>,
    /// In `device.retire` always, as `null` where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    receipt: Option<Option<ToldReceipt<'a>>>,
}

#[derive(Serialize)]
struct ToldDevice<'a> {
    id: &'a str,
    name: &'a str,
    tenant: &'a str,
    profile: &'a str,
    label: Option<&'a str>,
    gateway: bool,
    attributes: &'a Attributes,
}

#[derive(Serialize)]
struct ToldReceipt<'a> {
    external_id: &'a str,
    detail: Option<&'a RawValue>,
}

#[derive(Serialize)]
struct Check<'a> {
    event: &'static str,
    connector: &'a str,
}

impl<'a> Told<'a> {
    fn of(
        event: &'static str,
        key: &StepKey,
        device: &'a DeviceView,
        receipt: Option<Option<ToldReceipt<'a>>>,
    ) -> Told<'a> {
        Told {
            event,
            key: key.to_string(),
            operation: key.operation.0,
            step: key.index,
            device: ToldDevice {
                id: &device.id,
                name: &device.name,
                tenant: &device.tenant,
                profile: &device.profile,
                label: device.label.as_deref(),
                gateway: device.gateway,
                attributes: &device.attributes,
            },
            receipt,
        }
    }
}

impl<'a> ToldReceipt<'a> {
    fn of(receipt: &'a Receipt) -> ToldReceipt<'a> {
        let detail = receipt.detail.as_deref().and_then(|detail| serde_json::from_str(detail).ok());
        ToldReceipt { external_id: &receipt.external_id, detail }
    }
}

// === What is answered ===

const EXPECTED: &str = r#"may answer nothing, or an object such as {"external_id": "…"}"#;

/// What we read of an answer; the rest of it is kept unread.
#[derive(Deserialize)]
struct Answer {
    external_id: Option<String>,
}

/// The proof in an answer. A neighbour that gives the device no name of its own knows it by ours.
fn receipt(reply: &Reply, device: &DeviceView) -> Result<Receipt, String> {
    let body = reply.body.trim_ascii();
    if body.is_empty() {
        return Ok(Receipt { external_id: device.id.clone(), detail: None });
    }
    if body.len() > RECEIPT_BYTES {
        return Err(format!("more than the {RECEIPT_BYTES} bytes that a receipt may have"));
    }
    let text = std::str::from_utf8(body).map_err(|_| "what is not UTF-8".to_owned())?;
    if !text.starts_with('{') {
        return Err("what is not a JSON object".to_owned());
    }
    let answer: Answer =
        serde_json::from_str(text).map_err(|error| format!("what cannot be read ({error})"))?;
    let external_id = answer.external_id.unwrap_or_else(|| device.id.clone());
    if !is_name(&external_id) {
        return Err(format!("an `external_id` that is not 1 to {EXTERNAL_ID_BYTES} printable bytes"));
    }
    Ok(Receipt { external_id, detail: Some(text.to_owned()) })
}

fn is_name(text: &str) -> bool {
    (1..=EXTERNAL_ID_BYTES).contains(&text.len()) && !text.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::DeviceState;

    fn device() -> DeviceView {
        DeviceView {
            id: "0b0e…".into(),
            name: "SN-1".into(),
            tenant: "t".into(),
            profile: "p".into(),
            label: None,
            gateway: false,
            state: DeviceState::Provisioned,
            attributes: Attributes::new(),
        }
    }

    fn read(body: &[u8]) -> Result<Receipt, String> {
        receipt(&Reply { status: StatusCode::OK, body: body.to_vec() }, &device())
    }

    #[test]
    fn an_answer_is_kept_as_the_receipt() {
        let told = read(b" {\"external_id\": \"crm-7\", \"room\": 3}\n").unwrap();
        assert_eq!(told.external_id, "crm-7");
        assert_eq!(told.detail.as_deref(), Some(r#"{"external_id": "crm-7", "room": 3}"#));
    }

    #[test]
    fn a_neighbour_without_a_name_for_the_device_uses_ours() {
        for body in [&b""[..], b"  \r\n", b"{}", b"{\"external_id\": null}"] {
            assert_eq!(read(body).unwrap().external_id, "0b0e…", "{body:?}");
        }
    }

    #[test]
    fn an_answer_that_is_none_is_told_as_such() {
        for body in ["ok", "[]", "\"x\"", "1", "{", "{\"external_id\": 7}", "{\"external_id\": \"\"}", "{}{}"]
        {
            assert!(read(body.as_bytes()).is_err(), "{body}");
        }
        assert!(read(b"{\"external_id\": \"\xff\"}").is_err());
        assert!(read(b"{\"external_id\": \"a\\u0000b\"}").is_err());
        assert!(read(format!("{{\"external_id\": \"{}\"}}", "x".repeat(257)).as_bytes()).is_err());
        assert!(read(format!("{{\"a\": \"{}\"}}", "x".repeat(RECEIPT_BYTES)).as_bytes()).is_err());
    }

    #[test]
    fn a_retirement_always_says_whether_there_was_a_receipt() {
        let (device, key) = (device(), StepKey { operation: domain::OperationId(7), index: 1 });
        let told = |receipt| serde_json::to_value(Told::of(RETIRE, &key, &device, receipt)).unwrap();
        assert_eq!(told(Some(None))["receipt"], serde_json::Value::Null);
        assert!(told(Some(None)).get("receipt").is_some() && told(None).get("receipt").is_none());
        let receipt = Receipt { external_id: "crm-7".into(), detail: Some(r#"{"room":3}"#.into()) };
        let expected = serde_json::json!({"external_id": "crm-7", "detail": {"room": 3}});
        assert_eq!(told(Some(Some(ToldReceipt::of(&receipt))))["receipt"], expected);
        assert_eq!(told(None)["key"], "7/1");
    }
}
