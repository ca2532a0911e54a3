//! What a device asks and is asked, in whichever wire: attributes, calls in both directions, claims (sections 9.1,
//! 9.2 and 9.4).

use std::net::IpAddr;

use domain::{Refusal, Secret};
use engine::{Connected, Keys, Wanted};
use serde_json::{Value, json};
use wire::thingsboard::attributes::{self, AttributesRequest, AttributesResponse};
use wire::thingsboard::calls::{Call, SESSION_LIMITS, session_limits};
use wire::thingsboard::claim::Claim;

use crate::mqtt::MAX_PACKET;
use crate::protocols::Faces;

/// Packets that a session takes before it has answered any.
const MOST_IN_FLIGHT: usize = 100;

/// The shortest and the longest that a claim may stand, in milliseconds: each one is written, and none is kept for
/// ever.
const CLAIM_MS: std::ops::RangeInclusive<u64> = 1_000..=31_536_000_000;

/// What a device is told that asks what nobody answers.
pub(super) const NOBODY: &str = "Nobody answers the calls of devices here";
/// What a device is told whose call came to nothing.
const NO_ANSWER: &str = "The call came to nothing";

/// The attributes that a device asks for.
pub(super) async fn attributes(
    device: &Connected,
    asked: AttributesRequest,
    faces: &Faces,
) -> Result<AttributesResponse, Refusal> {
    let wanted = match (asked.client, asked.shared) {
        (None, None) => Wanted { client: Keys::All, shared: Keys::All },
        (client, shared) => Wanted {
            client: client.map_or(Keys::none(), Keys::These),
            shared: shared.map_or(Keys::none(), Keys::These),
        },
    };
    let own = faces.hub.own(device, wanted).await?;
    Ok(AttributesResponse { client: own.client, shared: own.shared })
}

/// What a device is told of shared attributes that have changed: what stands now.
pub(super) async fn update(device: &Connected, keys: Vec<String>, faces: &Faces) -> Result<Vec<u8>, Refusal> {
    let wanted = Wanted { client: Keys::none(), shared: Keys::These(keys.clone()) };
    let present = faces.hub.own(device, wanted).await?.shared;
    let deleted = keys.into_iter().filter(|key| !present.contains_key(key)).collect();
    Ok(attributes::update(present, deleted))
}

/// Why a device's call has no answer, in words for the device.
pub(super) type Unanswered = &'static str;

/// Answers a device's call: what SDKs ask at their start by ourselves, everything else by whoever answers devices.
pub(super) async fn answer(
    device: &Connected,
    source: IpAddr,
    call: &Call,
    faces: &Faces,
) -> Result<Value, Unanswered> {
    if call.method == SESSION_LIMITS {
        return Ok(session_limits(device.gateway, MAX_PACKET, MOST_IN_FLIGHT));
    }
    let Some(calls) = &faces.device_calls else { return Err(NOBODY) };
    let caller = faces.hub.caller(device, source).await.map_err(|_| NO_ANSWER)?;
    calls.answer(&caller, &call.method, &call.params).await.map_err(|fault| {
        tracing::warn!(device = caller.id, code = fault.code, "a device's call was not answered: {fault}");
        NO_ANSWER
    })
}

/// The same as what a device hears where it cannot be told of a status.
pub(super) fn said(answer: Result<Value, Unanswered>) -> Value {
    answer.unwrap_or_else(|why| json!({ "error": why }))
}

/// Notes a claim. Whether one stands already is not told.
pub(super) async fn claim(device: &Connected, claim: Claim, faces: &Faces) -> Result<(), Refusal> {
    let duration_ms = claim.duration_ms.clamp(*CLAIM_MS.start(), *CLAIM_MS.end());
    faces.hub.claim(device, Secret::new(claim.secret_key.expose()), duration_ms).await
}
