//! What a refusal is in ThingsBoard's words: the one place where it is translated.

use domain::{Kind, Refusal};
use wire::mqtt::{ReasonCode, return_code};
use wire::thingsboard::{PLAIN_FAILURE_MESSAGE, ProvisionResponse};

use crate::mqtt::Refused;

/// How a refused provision request is answered (thingsboard page, sections 3.3, 4.2 and 5.4).
#[derive(Debug)]
pub(super) enum Refusing {
    /// With an answer that says so: the device need not ask again.
    Answer(ProvisionResponse),
    /// Not now: the device must try again, not give up.
    Later,
    /// Too often.
    TooMany,
}

/// Translates a refusal of a provision request.
pub(super) fn provision(refusal: Refusal, error_detail: bool) -> Refusing {
    match refusal.kind() {
        Kind::Unproven => Refusing::Answer(ProvisionResponse::NotFound),
        Kind::TooMany => Refusing::TooMany,
        Kind::Unavailable | Kind::Internal => Refusing::Later,
        Kind::Malformed | Kind::Forbidden | Kind::NotFound | Kind::Conflict => {
            let text = if error_detail { detail(refusal) } else { PLAIN_FAILURE_MESSAGE };
            Refusing::Answer(ProvisionResponse::failure(text))
        }
    }
}

/// The texts of section 3.4. They are seen only by who knew key and secret.
fn detail(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::DeviceExists | Refusal::NameOfOtherProfile | Refusal::DeviceAnnounced => {
            "Device with this name already exists"
        }
        Refusal::DeviceUnknown | Refusal::DeviceOfOtherProfile => "Device not found",
        Refusal::AlreadyProvisioned => "Device is already provisioned",
        Refusal::CredentialsInUse => "Device credentials are already assigned to another device!",
        Refusal::BasicIdentityMissing => "Both mqtt client id and user name are empty!",
        Refusal::BasicPasswordWithoutUser => "Password cannot be specified along with client id",
        Refusal::Lwm2mUnsupported => "LWM2M is not supported",
        _ => PLAIN_FAILURE_MESSAGE,
    }
}

/// The answer to a request that the device's own words make useless; without details as [`provision`].
pub(super) fn unreadable(response: ProvisionResponse, error_detail: bool) -> ProvisionResponse {
    match response {
        ProvisionResponse::Failure { .. } if !error_detail => {
            ProvisionResponse::failure(PLAIN_FAILURE_MESSAGE)
        }
        response => response,
    }
}

/// What a CONNECT brought to be known by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    /// User name and password, or one of them.
    Words,
    /// A certificate.
    Certificate,
    /// Only a client id.
    ClientId,
    /// Nothing.
    Nothing,
}

/// The CONNACK of a refused login (section 7.2).
pub(super) fn login(refusal: Refusal, shown: Shown) -> Refused {
    match refusal.kind() {
        Kind::Unavailable | Kind::Internal => {
            Refused { v3: return_code::SERVER_UNAVAILABLE, v5: ReasonCode::SERVER_UNAVAILABLE }
        }
        Kind::TooMany => {
            Refused { v3: return_code::SERVER_UNAVAILABLE, v5: ReasonCode::CONNECTION_RATE_EXCEEDED }
        }
        Kind::Malformed | Kind::Unproven | Kind::Forbidden | Kind::NotFound | Kind::Conflict => {
            unknown(shown)
        }
    }
}

fn unknown(shown: Shown) -> Refused {
    match shown {
        Shown::Words => {
            Refused { v3: return_code::NOT_AUTHORIZED, v5: ReasonCode::BAD_USER_NAME_OR_PASSWORD }
        }
        Shown::ClientId => {
            Refused { v3: return_code::IDENTIFIER_REJECTED, v5: ReasonCode::CLIENT_IDENTIFIER_NOT_VALID }
        }
        Shown::Certificate | Shown::Nothing => {
            Refused { v3: return_code::NOT_AUTHORIZED, v5: ReasonCode::NOT_AUTHORIZED }
        }
    }
}

/// The reason with which an MQTT connection ends when a request could not be taken (sections 4.2 and 5.4).
pub(super) fn mqtt_reason(refusal: Refusal) -> ReasonCode {
    match refusal.kind() {
        Kind::TooMany => ReasonCode::QUOTA_EXCEEDED,
        _ => ReasonCode::IMPLEMENTATION_SPECIFIC_ERROR,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(refusal: Refusal, error_detail: bool) -> String {
        match provision(refusal, error_detail) {
            Refusing::Answer(response) => String::from_utf8(response.to_json()).unwrap(),
            Refusing::Later => "later".into(),
            Refusing::TooMany => "too many".into(),
        }
    }

    #[test]
    fn what_proves_nothing_is_never_told_why() {
        for refusal in Refusal::ALL.iter().filter(|refusal| refusal.kind() == Kind::Unproven) {
            assert_eq!(
                said(*refusal, true),
                r#"{"errorMsg":"Provision data was not found!","status":"NOT_FOUND"}"#
            );
        }
    }

    #[test]
    fn without_details_every_failure_says_the_same() {
        for refusal in Refusal::ALL {
            let said = said(*refusal, false);
            assert!(!said.contains("FAILURE") || said.contains("Failed to provision device!"), "{said}");
        }
    }

    #[test]
    fn credentials_of_another_tenants_device_are_not_told_to_be_there() {
        assert!(said(Refusal::CredentialsInUseElsewhere, true).contains("Failed to provision device!"));
    }
}
