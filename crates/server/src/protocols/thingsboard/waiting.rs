//! Devices that wait over HTTP until there is something for them (section 9.2).

use std::time::Duration;

use bytes::Bytes;
use domain::{Origin, Refusal};
use engine::Connected;
use hyper::{Response, StatusCode};
use wire::thingsboard::calls::{Call, NumberedCall};

use super::asking;
use super::replies::{empty, json, refused, too_many, words};
use crate::hub::{Asked, Ended, Poll, Topic};
use crate::protocols::Faces;

/// Waits for something to come for the device that holds this token.
pub(super) async fn wait(
    token: &str,
    origin: Origin,
    topic: Topic,
    patience: Duration,
    faces: &Faces,
) -> Response<Bytes> {
    let (device, mut poll) = match enter(token, origin, topic, faces).await {
        Ok(Some(entered)) => entered,
        Ok(None) => return too_many(),
        Err(refusal) => return refused(refusal),
    };
    let inbox = poll.inbox.clone();
    let something = async {
        loop {
            if let Some(response) = found(&device, topic, inbox.take_changed(), faces).await {
                return response;
            }
            inbox.something().await;
        }
    };
    tokio::select! {
        biased;
        why = poll.ended() => over(why),
        response = something => response,
        () = tokio::time::sleep(patience) => empty(StatusCode::REQUEST_TIMEOUT),
    }
}

/// A place among those who wait. A credential may have become void after it was looked at and before the poll could
/// be ended for it; then it is looked at again.
async fn enter(
    token: &str,
    origin: Origin,
    topic: Topic,
    faces: &Faces,
) -> Result<Option<(Connected, Poll)>, Refusal> {
    loop {
        let closes = faces.sessions.closes();
        let device = faces.device_auth.by_token(token, origin, None).await?;
        let poll = faces.sessions.poll(device.device, device.generation, topic);
        if poll.is_none() || faces.sessions.closes() == closes {
            return Ok(poll.map(|poll| (device, poll)));
        }
    }
}

async fn found(
    device: &Connected,
    topic: Topic,
    changed: Vec<String>,
    faces: &Faces,
) -> Option<Response<Bytes>> {
    match topic {
        Topic::Attributes if changed.is_empty() => None,
        Topic::Attributes => Some(match asking::update(device, changed, faces).await {
            Ok(update) => json(StatusCode::OK, update),
            Err(refusal) => refused(refusal),
        }),
        Topic::Calls => {
            let Asked { id, method, params } = faces.sessions.next_call(device.device)?;
            let call = NumberedCall { id, call: Call { method, params } };
            Some(json(StatusCode::OK, call.to_json()))
        }
    }
}

fn over(why: Ended) -> Response<Bytes> {
    match why {
        Ended::Replaced | Ended::Stopping => empty(StatusCode::REQUEST_TIMEOUT),
        Ended::Deleted => words(StatusCode::FORBIDDEN, "Device was deleted!"),
        Ended::Void => empty(StatusCode::UNAUTHORIZED),
    }
}
