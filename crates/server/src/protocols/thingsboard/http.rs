//! The device paths over HTTP (sections 4.2 and 9.2).

use std::sync::OnceLock;
use std::time::Duration;

use bytes::Bytes;
use domain::{Origin, Refusal};
use engine::Connected;
use engine::traces::Decision;
use hyper::{Method, Request, Response, StatusCode};
use wire::thingsboard::ProvisionResponse;
use wire::thingsboard::attributes::AttributesRequest;
use wire::thingsboard::calls::Call;
use wire::thingsboard::claim::Claim;

use super::device::Post;
use super::path::{Path, What, query};
use super::provision::{self, Told};
use super::replies::{
    MAX_BODY, bad_request, empty, json, later, method_not_allowed, not_found, refused, unavailable, unread,
};
use super::{Settings, asking, traced, waiting};
use crate::hub::Topic;
use crate::listeners::http::{Body, read};
use crate::protocols::Faces;

/// How long a device waits where it does not say, and at most.
const USUAL_WAIT: Duration = Duration::from_secs(60);
const LONGEST_WAIT: Duration = Duration::from_secs(300);

/// Answers a request to a path below `/api/v1/`.
pub(super) async fn answer(
    request: Request<Body>,
    origin: Origin,
    settings: Settings,
    faces: &Faces,
) -> Response<Bytes> {
    let (parts, body) = request.into_parts();
    let Some(path) = Path::parse(parts.uri.path()) else { return not_found() };
    if !path.takes(&parts.method) {
        return method_not_allowed(&parts.method, path.allowed());
    }
    let asked = Asked {
        method: &parts.method,
        path: parts.uri.path(),
        query: parts.uri.query().unwrap_or_default(),
        origin,
        faces,
        sent: OnceLock::new(),
    };
    match path {
        Path::Provision => match read(body, MAX_BODY).await {
            Ok(body) => provision(&body, origin, settings, faces).await,
            Err(error) => unread(error),
        },
        Path::Device { token, what } => asked.of_device(&token, what, body).await.unwrap_or_else(|no| no),
    }
}

/// What is asked of a device's path, and by whom.
struct Asked<'a> {
    method: &'a Method,
    path: &'a str,
    query: &'a str,
    origin: Origin,
    faces: &'a Faces,
    /// The body, once it was read.
    sent: OnceLock<Bytes>,
}

/// An answer, or one that says no.
type Answered = Result<Response<Bytes>, Response<Bytes>>;

impl Asked<'_> {
    async fn of_device(&self, token: &str, what: What<'_>, body: Body) -> Answered {
        let device = match self.faces.device_auth.by_token(token, self.origin, None).await {
            Ok(device) => device,
            Err(refusal) => {
                // What is left unread ends the connection, and may take the answer with it.
                let _ = read(body, MAX_BODY).await;
                return Err(refused(refusal));
            }
        };
        let answered = self.within(&device, token, what, body).await;
        if self.faces.traces.is_any() {
            let (Ok(response) | Err(response)) = &answered;
            self.trace(&device, response).await;
        }
        answered
    }

    async fn trace(&self, device: &Connected, response: &Response<Bytes>) {
        // Without the token.
        let what = self.path.splitn(5, '/').nth(4).unwrap_or_default();
        let packet = format!("{} /api/v1/TOKEN/{what}", self.method);
        let sent = self.sent.get().map(AsRef::as_ref).unwrap_or_default();
        let decision = match response.status() {
            status if status.is_success() => Decision::Accepted,
            status => Decision::Rejected(status.as_u16().to_string()),
        };
        traced::did(device, self.origin, &packet, sent, decision, response.body(), self.faces).await;
    }

    async fn within(&self, device: &Connected, token: &str, what: What<'_>, body: Body) -> Answered {
        match what {
            What::Values(Post::Attributes) if self.method == Method::GET => self.attributes(device).await,
            What::Values(post) => self.store(device, post, body).await,
            What::Waiting(Topic::Calls) if self.method == Method::POST => self.call(device, body).await,
            What::Waiting(topic) => {
                let patience = self.patience();
                let patience =
                    patience.ok_or_else(|| bad_request("`timeout` is a number of milliseconds"))?;
                Ok(waiting::wait(token, self.origin, topic, patience, self.faces).await)
            }
            What::Answer(id) => self.answered(device, id, body).await,
            What::Claim => self.claim(device, body).await,
            What::Package => Ok(self.package()),
        }
    }

    async fn attributes(&self, device: &Connected) -> Answered {
        let (client, shared) = (query(self.query, "clientKeys"), query(self.query, "sharedKeys"));
        let asked = AttributesRequest::of(client.as_deref(), shared.as_deref());
        let response = asking::attributes(device, asked, self.faces).await.map_err(refused)?;
        Ok(json(StatusCode::OK, response.to_json()))
    }

    async fn store(&self, device: &Connected, post: Post, body: Body) -> Answered {
        let body = self.whole(body).await?;
        let samples = post.read(&body).map_err(|error| bad_request(&error.to_string()))?;
        Ok(done(self.faces.hub.publish(device, samples).await))
    }

    async fn call(&self, device: &Connected, body: Body) -> Answered {
        let body = self.whole(body).await?;
        let call = Call::parse(&body).map_err(|error| bad_request(&error.to_string()))?;
        let answer = asking::answer(device, self.origin.source, &call, self.faces).await;
        answer.map(|value| json(StatusCode::OK, value.to_string().into())).map_err(unavailable)
    }

    async fn answered(&self, device: &Connected, id: &str, body: Body) -> Answered {
        let number: i32 = id.parse().map_err(|_| bad_request("The number of a call is a whole number"))?;
        let body = self.whole(body).await?;
        let value = serde_json::from_slice(&body).map_err(|_| bad_request("Request is not JSON"))?;
        if let Ok(number) = u32::try_from(number) {
            self.faces.sessions.answer_call(device.device, number, value);
        }
        Ok(empty(StatusCode::OK))
    }

    async fn claim(&self, device: &Connected, body: Body) -> Answered {
        let body = self.read(body).await?;
        let claim = Claim::parse(&body).map_err(|error| bad_request(&error.to_string()))?;
        Ok(done(asking::claim(device, claim, self.faces).await))
    }

    async fn read(&self, body: Body) -> Result<Bytes, Response<Bytes>> {
        let body = read(body, MAX_BODY).await.map_err(unread)?;
        Ok(self.sent.get_or_init(|| body).clone())
    }

    async fn whole(&self, body: Body) -> Result<Bytes, Response<Bytes>> {
        let body = self.read(body).await?;
        if body.is_empty() { Err(bad_request("Request body is missing")) } else { Ok(body) }
    }

    /// No device has a package here.
    fn package(&self) -> Response<Bytes> {
        match ["title", "version"].into_iter().find(|name| query(self.query, name).is_none()) {
            Some(name) => {
                let told = format!(
                    "Required request parameter '{name}' for method parameter type String is not present"
                );
                bad_request(&told)
            }
            None => empty(StatusCode::NOT_FOUND),
        }
    }

    /// `None` for one that is no number.
    fn patience(&self) -> Option<Duration> {
        let Some(given) = query(self.query, "timeout").filter(|given| !given.is_empty()) else {
            return Some(USUAL_WAIT);
        };
        match u64::try_from(given.parse::<i64>().ok()?) {
            Ok(0) | Err(_) => Some(USUAL_WAIT),
            Ok(milliseconds) => Some(Duration::from_millis(milliseconds).min(LONGEST_WAIT)),
        }
    }
}

fn done(result: Result<(), Refusal>) -> Response<Bytes> {
    result.map_or_else(refused, |()| empty(StatusCode::OK))
}

async fn provision(body: &[u8], origin: Origin, settings: Settings, faces: &Faces) -> Response<Bytes> {
    match provision::provision(body, origin, settings, faces).await {
        Told::Response(response) => json(StatusCode::OK, response.to_json()),
        Told::NotJson(_) if body.is_empty() => bad_request("Request body is missing"),
        Told::NotJson(_) => bad_request("Request is not a JSON object"),
        Told::Later => later(json(StatusCode::SERVICE_UNAVAILABLE, plain_failure())),
        Told::TooMany => later(json(StatusCode::TOO_MANY_REQUESTS, plain_failure())),
    }
}

fn plain_failure() -> Vec<u8> {
    ProvisionResponse::failure(wire::thingsboard::PLAIN_FAILURE_MESSAGE).to_json()
}
