//! Credentials of devices: looked at, and set (section 11.4).

use axum::Json;
use axum::extract::{Extension, State};
use domain::credentials::Basic;
use domain::{Credential, Held, Secret};
use engine::Registry;
use engine::registry::{Chosen, CredentialsSave, DeviceCredentials, Operator};
use wire::thingsboard::rest::credentials::{BasicValue, Credentials, CredentialsRequest, PlainId};
use wire::thingsboard::rest::{EntityId, NULL_ID};

use super::ask::{Id, Read, tenant};
use super::devices::revision;
use super::error::Wrong;
use super::login::blocking;
use crate::certificates;

/// `GET /api/device/{id}/credentials`
pub(super) async fn show(
    State(registry): State<Registry>,
    Extension(operator): Extension<Operator>,
    Id(id): Id,
) -> Result<Json<Credentials>, Wrong> {
    blocking(&registry, move |registry| {
        let tenant = tenant(registry, &operator)?;
        Ok(Json(shown(registry.credentials(&operator, &tenant, &id)?)))
    })
    .await
}

/// `POST /api/device/credentials`
pub(super) async fn save(
    State(registry): State<Registry>,
    Extension(operator): Extension<Operator>,
    Read(body): Read,
) -> Result<Json<Credentials>, Wrong> {
    let request = CredentialsRequest::parse(&body)?;
    blocking(&registry, move |registry| saved(registry, &operator, &request).map(Json)).await
}

fn saved(
    registry: &Registry,
    operator: &Operator,
    request: &CredentialsRequest,
) -> Result<Credentials, Wrong> {
    let tenant = tenant(registry, operator)?;
    let device = request.device_id.clone().ok_or_else(|| Wrong::bad_request("Invalid entity id"))?;
    let present = registry.device_by_id(&tenant, &device)?;
    let chosen = chosen(request)?;
    check_id(registry, request, &present.id, present.credential == Credential::None)?;
    let save = CredentialsSave { device, chosen, revision: request.version.map(revision) };
    Ok(shown(registry.set_credentials(operator, &tenant, &save)?))
}

/// The credentials that are named are those of the device. A device that has none yet has none to name.
fn check_id(
    registry: &Registry,
    request: &CredentialsRequest,
    device: &str,
    has_none: bool,
) -> Result<(), Wrong> {
    let Some(id) = request.id.as_deref().filter(|id| *id != NULL_ID) else {
        let told = "Credentials for this device are already specified!";
        return if has_none { Ok(()) } else { Err(Wrong::bad_request(told)) };
    };
    match registry.device_of_credentials(id) {
        Some(holder) if holder == device => Ok(()),
        Some(_) => Err(Wrong::bad_request("Specified credentials are already registered!")),
        None => Err(Wrong::bad_request("Unable to update non-existent device credentials!")),
    }
}

/// What a client chose, once it keeps ThingsBoard's rules.
pub(super) fn chosen(request: &CredentialsRequest) -> Result<Chosen, Wrong> {
    match request.credentials_type.as_deref() {
        None | Some("") => Err(Wrong::bad_request("Device credentials type should be specified")),
        Some("ACCESS_TOKEN") => {
            let token = request.credentials_id.as_ref().filter(|token| !token.expose().trim().is_empty());
            let token =
                token.ok_or_else(|| Wrong::bad_request("Device credentials id should be specified!"))?;
            Ok(Chosen::Token(Secret::new(token.expose())))
        }
        Some("MQTT_BASIC") => {
            let value =
                request.credentials_value.as_ref().and_then(|value| BasicValue::parse(value.expose()));
            let told = "Invalid credentials body for simple mqtt credentials!";
            Ok(Chosen::Basic(basic(value.ok_or_else(|| Wrong::bad_request(told))?)))
        }
        Some("X509_CERTIFICATE") => {
            let text = request.credentials_value.as_ref().filter(|text| !text.expose().trim().is_empty());
            let text = text.ok_or_else(|| Wrong::bad_request("Certificate should be specified!"))?;
            certificate(text.expose())
        }
        Some("LWM2M_CREDENTIALS") => Err(Wrong::bad_request("LWM2M is not supported")),
        Some(other) => Err(Wrong::bad_request(format!("Unknown credentials type: {other}"))),
    }
}

/// What a text that names a certificate is kept as.
pub(super) fn certificate(text: &str) -> Result<Chosen, Wrong> {
    let told = |error| Wrong::bad_request(format!("Invalid certificate: {error}!"));
    certificates::named(text).map(Chosen::Certificate).map_err(told)
}

fn basic(value: BasicValue) -> Basic {
    let password = Secret::new(value.password.expose());
    Basic { client_id: value.client_id, user_name: value.user_name, password }
}

fn shown(credentials: DeviceCredentials) -> Credentials {
    let (credentials_type, credentials_value) = match credentials.held {
        Held::Token(_) => ("ACCESS_TOKEN", None),
        Held::Basic(basic) => {
            let value = BasicValue {
                client_id: basic.client_id,
                user_name: basic.user_name,
                password: wire::Secret::new(basic.password.expose()),
            };
            ("MQTT_BASIC", Some(value.to_text()))
        }
        Held::Certificate(text) => ("X509_CERTIFICATE", Some(wire::Secret::new(text))),
    };
    Credentials {
        id: PlainId { id: credentials.id },
        created_time: credentials.created_at.0,
        device_id: EntityId::new("DEVICE", credentials.device),
        credentials_type,
        credentials_id: wire::Secret::new(credentials.lookup.expose()),
        credentials_value,
        version: credentials.revision,
    }
}
