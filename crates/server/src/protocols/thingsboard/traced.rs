//! What traced devices send and are told, handed to whoever keeps it: without its secrets.

use std::sync::Arc;

use domain::{Origin, Refusal};
use engine::Connected;
use engine::traces::{Decision, Noted};
use wire::thingsboard::{ProvisionRequest, redacted};

use super::provision::Told;
use crate::mqtt::Verdict;
use crate::protocols::Faces;

/// A provision request; whose it is, its key tells.
pub(super) async fn provisioned(
    body: &[u8],
    origin: Origin,
    outcome: Result<(), Refusal>,
    told: &Told,
    faces: &Faces,
) {
    let [name, key] = ProvisionRequest::claimed_in(body);
    let Some(name) = name else { return };
    let tenant = match key {
        Some(key) => faces.provisioner.tenant_of(&key).await,
        None => Ok(None),
    };
    // Whose it is has to be known before anybody sees it.
    let (Ok(tenant), name) = (tenant, name.trim()) else { return };
    if !faces.traces.hears(tenant, name) {
        return;
    }
    let told = match told {
        Told::Response(response) | Told::NotJson(response) => redacted(&response.to_json()),
        Told::Later | Told::TooMany => String::new(),
    };
    let what = Noted { sent: redacted(body), decision: decision(outcome), told };
    faces.traces.note(tenant, name, origin, "provision", what);
}

/// Something that a device with credentials does: a packet by its name, what is in it, and what came of it.
pub(super) async fn did(
    device: &Connected,
    origin: Origin,
    packet: &str,
    sent: &[u8],
    decision: Decision,
    told: &[u8],
    faces: &Faces,
) {
    if !faces.traces.is_any_of(device.tenant) {
        return;
    }
    let Some(name) = name(device, faces).await else { return };
    if faces.traces.hears(Some(device.tenant), &name) {
        let what = Noted { sent: text(sent), decision, told: text(told) };
        faces.traces.note(Some(device.tenant), &name, origin, packet, what);
    }
}

/// What the device is called; looked up once.
async fn name(device: &Connected, faces: &Faces) -> Option<Arc<str>> {
    if let Some(name) = faces.traces.called(device.device) {
        return Some(name);
    }
    let name = faces.device_auth.name_of(device).await?;
    Some(faces.traces.remember(device.device, &name))
}

/// What is no packet holds nothing.
fn text(packet: &[u8]) -> String {
    if packet.is_empty() { String::new() } else { redacted(packet) }
}

/// What came of a request, in the words of a trace.
pub(super) fn decision(outcome: Result<(), Refusal>) -> Decision {
    outcome.map_or_else(Decision::Refused, |()| Decision::Accepted)
}

/// What becomes of a message, in the words of a trace.
pub(super) fn judged(verdict: &Verdict) -> Decision {
    match verdict {
        Verdict::Taken | Verdict::Answered(_) => Decision::Accepted,
        Verdict::Dropped(reason) | Verdict::Unusable(reason) | Verdict::Fatal(reason) => {
            Decision::Rejected(format!("{reason:?}"))
        }
    }
}
