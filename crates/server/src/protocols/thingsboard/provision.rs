//! Provisioning: the request of section 2, the response of section 3, and the MQTT session of section 4.1.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use domain::credentials::Basic;
use domain::name::Name;
use domain::{
    Claim, CredentialKeys, Evidence, Grant, Held, Kind, Origin, Outcome, Refusal, Request, Secret, Wish,
};
use engine::Provisioner;
use wire::mqtt::{Publish, Qos, ReasonCode};
use wire::thingsboard::{
    Credentials, CredentialsType, ProvisionRequest, ProvisionRequestError, ProvisionResponse, topic,
};

use super::refuse::{self, Refusing};
use super::{Settings, traced};
use crate::certificates;
use crate::hub::Inbox;
use crate::mqtt::{Answer, MqttSession, Verdict};
use crate::protocols::{Faces, Task};

/// What comes of a provision request.
#[derive(Debug)]
pub(super) enum Told {
    /// This is the answer.
    Response(ProvisionResponse),
    /// It is not even a JSON object; over HTTP that is a status of its own.
    NotJson(ProvisionResponse),
    /// Not now.
    Later,
    /// Too often.
    TooMany,
}

/// Carries one request out.
pub(super) async fn provision(body: &[u8], origin: Origin, settings: Settings, faces: &Faces) -> Told {
    let (outcome, told) = carried_out(body, origin, settings, faces).await;
    if faces.traces.is_any() {
        traced::provisioned(body, origin, outcome, &told, faces).await;
    }
    told
}

/// Whether the device was let in, and what it is told.
async fn carried_out(
    body: &[u8],
    origin: Origin,
    settings: Settings,
    faces: &Faces,
) -> (Result<(), Refusal>, Told) {
    let provisioner = &faces.provisioner;
    let asked = match ProvisionRequest::parse(body) {
        Ok(asked) => asked,
        Err(error) => return unreadable(&error, body, origin, settings, provisioner).await,
    };
    let blank = has_blank_name(&asked);
    let request = match provisioner.keys() {
        Ok(keys) => request(asked, origin, keys),
        Err(refusal) => return (Err(refusal), refused(refusal, settings)),
    };
    match provisioner.provision(request).await {
        Outcome::Granted(grant) => (Ok(()), Told::Response(reply(grant))),
        Outcome::Refused(refusal) => {
            let shown = if blank && refusal.kind() == Kind::Unproven { Refusal::NameBlank } else { refusal };
            (Err(refusal), refused(shown, settings))
        }
    }
}

/// A name of only blanks is told before key and secret are judged (section 5.1, step 1); still such an
/// attempt has proved nothing, and counts.
fn has_blank_name(asked: &ProvisionRequest) -> bool {
    Name::from_device(asked.device_name.as_deref()) == Err(Refusal::NameBlank)
}

/// The domain's words for what a device asks.
fn request(asked: ProvisionRequest, origin: Origin, keys: &dyn CredentialKeys) -> Request {
    let secret = keys.verifier(asked.provision_device_secret.expose());
    Request {
        wish: wish(&asked, keys),
        claim: Claim { within: None, registration_id: asked.device_name },
        evidence: Evidence::GroupSecret { key: asked.provision_device_key, secret },
        gateway: asked.gateway,
        origin,
    }
}

/// A device that brings nothing of its own gets a token, whatever type it asked for (section 2).
fn wish(asked: &ProvisionRequest, keys: &dyn CredentialKeys) -> Wish {
    let secret = |part: &Option<wire::Secret>| Secret::new(part.as_ref().map_or("", wire::Secret::expose));
    let (token, password) = (secret(&asked.token), secret(&asked.password));
    let user_name = asked.username.as_ref().map_or("", wire::Secret::expose);
    let client_id = asked.client_id.as_deref().unwrap_or_default();
    let hash = asked.hash.as_deref().unwrap_or_default();
    let own = [token.expose(), password.expose(), user_name, client_id, hash];
    if own.iter().all(|part| part.is_empty()) {
        return Wish::ServerMade;
    }
    match asked.credentials_type.unwrap_or(CredentialsType::AccessToken) {
        CredentialsType::AccessToken => Wish::token(token, keys),
        CredentialsType::MqttBasic => {
            let basic = Basic { client_id: client_id.to_owned(), user_name: user_name.to_owned(), password };
            Wish::basic(basic, keys)
        }
        CredentialsType::X509Certificate if hash.is_empty() => Wish::Unusable(Refusal::CredentialsIncomplete),
        CredentialsType::X509Certificate => match certificates::named(hash) {
            Ok(certificate) => Wish::certificate(certificate, keys),
            Err(_) => Wish::Unusable(Refusal::CertificateMalformed),
        },
        CredentialsType::Lwm2mCredentials => Wish::Unusable(Refusal::Lwm2mUnsupported),
    }
}

fn reply(grant: Grant) -> ProvisionResponse {
    let credentials = match grant.held {
        Held::Token(token) => Credentials::AccessToken(wire::Secret::from(token.expose())),
        Held::Basic(basic) => Credentials::MqttBasic {
            client_id: basic.client_id,
            user_name: wire::Secret::new(basic.user_name),
            password: wire::Secret::from(basic.password.expose()),
        },
        Held::Certificate(text) => Credentials::X509(text),
    };
    ProvisionResponse::Success { credentials }
}

fn refused(refusal: Refusal, settings: Settings) -> Told {
    match refuse::provision(refusal, settings.error_detail) {
        Refusing::Answer(response) => Told::Response(response),
        Refusing::Later => Told::Later,
        Refusing::TooMany => Told::TooMany,
    }
}

/// A request that cannot be read (section 2, "Bad input") proves nothing and counts against its source.
async fn unreadable(
    error: &ProvisionRequestError,
    body: &[u8],
    origin: Origin,
    settings: Settings,
    provisioner: &Provisioner,
) -> (Result<(), Refusal>, Told) {
    let refusal = match error {
        ProvisionRequestError::NotAnObject | ProvisionRequestError::NotText(_) => Refusal::RequestMalformed,
        ProvisionRequestError::NoKeyOrSecret => Refusal::EvidenceMissing,
        ProvisionRequestError::UnknownCredentialsType(_) => Refusal::CredentialsTypeUnknown,
    };
    let [name, key] = ProvisionRequest::claimed_in(body);
    let met = provisioner.malformed(origin, name, key.as_deref(), refusal).await;
    if met == Refusal::TooManyAttempts {
        return (Err(met), Told::TooMany);
    }
    let response =
        |error: &ProvisionRequestError| refuse::unreadable(error.response(), settings.error_detail);
    let told = match error {
        // JSON but for its characters: a FAILURE on every transport (section 14.1).
        ProvisionRequestError::NotAnObject if std::str::from_utf8(body).is_err() => {
            Told::Response(response(&ProvisionRequestError::NotText("request")))
        }
        ProvisionRequestError::NotAnObject => Told::NotJson(response(error)),
        _ => Told::Response(response(error)),
    };
    (Err(met), told)
}

/// The most requests in one session.
const MOST_REQUESTS: u32 = 16;
/// How long a session is kept after its last answer.
const AFTER_ANSWER: Duration = Duration::from_secs(60);
/// How long a session may ask nothing.
const WITHOUT_REQUEST: Duration = Duration::from_secs(120);

/// A session that may only provision.
pub(super) struct ProvisionSession {
    origin: Origin,
    settings: Settings,
    subscription: Option<Qos>,
    requests: u32,
    ends_at: Instant,
}

impl ProvisionSession {
    /// A session that was just opened.
    pub(super) fn new(origin: Origin, settings: Settings) -> ProvisionSession {
        let ends_at = Instant::now() + WITHOUT_REQUEST;
        ProvisionSession { origin, settings, subscription: None, requests: 0, ends_at }
    }

    async fn request(&mut self, payload: &[u8], faces: &Faces) -> Verdict {
        self.requests += 1;
        if self.requests > MOST_REQUESTS {
            return Verdict::Fatal(ReasonCode::QUOTA_EXCEEDED);
        }
        let told = provision(payload, self.origin, self.settings, faces).await;
        self.ends_at = Instant::now() + AFTER_ANSWER;
        match told {
            Told::Response(response) | Told::NotJson(response) => Verdict::Answered(self.answer(&response)),
            Told::Later => Verdict::Fatal(ReasonCode::IMPLEMENTATION_SPECIFIC_ERROR),
            Told::TooMany => Verdict::Fatal(ReasonCode::QUOTA_EXCEEDED),
        }
    }

    /// It goes out whether or not the client has subscribed, without a subscription at QoS 1.
    fn answer(&self, response: &ProvisionResponse) -> Answer {
        let qos = self.subscription.unwrap_or(Qos::AtLeastOnce);
        Answer { topic: topic::PROVISION_RESPONSE.into(), qos, payload: Bytes::from(response.to_json()) }
    }
}

impl MqttSession for ProvisionSession {
    fn subscribe(&mut self, filter: &str, asked: Qos) -> Option<Qos> {
        if filter != topic::PROVISION_RESPONSE {
            return None;
        }
        self.subscription = Some(asked.min(Qos::AtLeastOnce));
        self.subscription
    }

    fn unsubscribe(&mut self, filter: &str) -> bool {
        filter == topic::PROVISION_RESPONSE && self.subscription.take().is_some()
    }

    fn publish<'a>(
        &'a mut self,
        message: &'a Publish,
        _: Option<&'a Arc<Inbox>>,
        faces: &'a Faces,
    ) -> Task<'a, Verdict> {
        Box::pin(async move {
            if message.topic != topic::PROVISION_REQUEST {
                return Verdict::Fatal(ReasonCode::TOPIC_NAME_INVALID);
            }
            self.request(&message.payload, faces).await
        })
    }

    fn ends_at(&self) -> Option<Instant> {
        Some(self.ends_at)
    }
}
