//! Who connects over MQTT, and as what (sections 7.1 to 7.3).

use domain::login::Login;
use domain::{Origin, Refusal, Secret};
use engine::Connected;
use engine::traces::Decision;
use wire::mqtt::Connect;

use super::device::DeviceSession;
use super::provision::ProvisionSession;
use super::refuse::{self, Shown};
use super::{Settings, traced};
use crate::certificates;
use crate::mqtt::{Claim, Hello, Welcome};
use crate::protocols::Faces;

/// The user name or client id of a session that only provisions.
const PROVISION: &str = "provision";

/// Takes or refuses a CONNECT; nobody else wants it.
pub(super) async fn claim(hello: Hello<'_>, origin: Origin, settings: Settings, faces: &Faces) -> Claim {
    let login = login(hello.connect);
    if login.client_id == PROVISION || login.user_name.expose() == PROVISION {
        return provisioning(origin, settings);
    }
    if let Some(certificate) = hello.certificate {
        return by_certificate(certificate, origin, settings, faces).await;
    }
    let shown = shown(&login);
    match shown {
        Shown::Nothing if settings.anonymous_provisioning => provisioning(origin, settings),
        Shown::Nothing => Claim::Refused(refuse::login(Refusal::CredentialsUnknown, shown)),
        Shown::ClientId if settings.anonymous_provisioning => {
            match faces.device_auth.by_client_id(&login.client_id, origin, None).await {
                Ok(Some(device)) => welcome(device, origin, faces).await,
                Ok(None) => provisioning(origin, settings),
                Err(refusal) => Claim::Refused(refuse::login(refusal, shown)),
            }
        }
        Shown::ClientId | Shown::Words | Shown::Certificate => {
            match faces.device_auth.by_login(&login, origin, None).await {
                Ok(device) => welcome(device, origin, faces).await,
                Err(refusal) => Claim::Refused(refuse::login(refusal, shown)),
            }
        }
    }
}

/// Who shows a certificate is known by it alone, whatever words it sends.
async fn by_certificate(der: &[u8], origin: Origin, settings: Settings, faces: &Faces) -> Claim {
    let refused = |refusal| Claim::Refused(refuse::login(refusal, Shown::Certificate));
    let Some(shown) = certificates::shown(der) else { return refused(Refusal::CertificateUnknown) };
    match faces.device_auth.by_certificate(&shown, settings.client_dates, origin, None).await {
        Ok(device) => welcome(device, origin, faces).await,
        Err(refusal) => refused(refusal),
    }
}

/// The three words of a CONNECT. A password that is not text is nobody's; it is kept so that it stays wrong.
fn login(connect: &Connect) -> Login {
    let password = connect.password.as_ref().map(|password| String::from_utf8_lossy(password.expose()));
    Login {
        client_id: connect.client_id.clone(),
        user_name: Secret::new(connect.user_name.as_ref().map_or("", wire::Secret::expose)),
        password: Secret::new(password.unwrap_or_default()),
    }
}

fn shown(login: &Login) -> Shown {
    if !login.user_name.expose().is_empty() || !login.password.expose().is_empty() {
        return Shown::Words;
    }
    if login.client_id.trim().is_empty() { Shown::Nothing } else { Shown::ClientId }
}

fn provisioning(origin: Origin, settings: Settings) -> Claim {
    Claim::Welcome(Welcome { device: None, session: Box::new(ProvisionSession::new(origin, settings)) })
}

async fn welcome(device: Connected, origin: Origin, faces: &Faces) -> Claim {
    traced::did(&device, origin, "CONNECT", b"", Decision::Accepted, b"", faces).await;
    Claim::Welcome(Welcome { device: Some(device), session: Box::new(DeviceSession::new(device, origin)) })
}
