//! What an operator may ask of a profile.

use domain::{CredentialKeys as _, Profile, Secret};
use ipnet::IpNet;

use super::{Registry, RegistryError, Tenant, found};

/// The most characters of a provision key or secret.
const MOST_KEY_CHARS: usize = 255;
/// The longest redelivery window and the longest overlap: a leap year, in milliseconds.
const LONGEST_MS: u64 = 366 * 24 * 60 * 60 * 1000;
/// The most networks of a group secret: a list that every request walks.
const MOST_NETWORKS: usize = 1000;
/// The most initial attributes, and their size as JSON.
const MOST_ATTRIBUTES: usize = 256;
const MOST_ATTRIBUTE_BYTES: usize = 64 << 10;

impl Registry {
    /// Whether a profile lets in by this key, and by this secret before all others.
    ///
    /// # Errors
    /// `profile-not-found`; what the store says.
    pub fn is_current(
        &self,
        tenant: &Tenant,
        profile: &str,
        key: &str,
        secret: &Secret,
    ) -> Result<bool, RegistryError> {
        let row = self.store.read(|view| view.profile_by_name(tenant.id, profile))?;
        let present = found(row, profile)?.profile;
        let verifier = self.store.keys()?.verifier(secret.expose());
        let is_newest = present.secrets.first().is_some_and(|newest| newest.verifier == verifier);
        Ok(is_newest && present.provision_key == key)
    }
}

pub(super) fn check_version(present: &Profile, wanted: Option<u64>) -> Result<(), RegistryError> {
    let present = present.version.0;
    if wanted.is_none_or(|wanted| wanted == present) {
        Ok(())
    } else {
        Err(RegistryError::VersionChanged { present })
    }
}

/// A key or secret that devices send as text.
pub(super) fn check_key(field: &'static str, text: &str) -> Result<(), RegistryError> {
    let fits =
        !text.is_empty() && text.chars().count() <= MOST_KEY_CHARS && !text.chars().any(char::is_control);
    let rule = "it has 1 to 255 characters, none of them a control character.";
    if fits { Ok(()) } else { Err(RegistryError::invalid(field, rule)) }
}

pub(super) fn check_length(field: &'static str, ms: u64) -> Result<(), RegistryError> {
    if ms <= LONGEST_MS { Ok(()) } else { Err(RegistryError::invalid(field, "it is at most 366 days.")) }
}

pub(super) fn check_networks(networks: &[IpNet]) -> Result<(), RegistryError> {
    if networks.len() <= MOST_NETWORKS {
        return Ok(());
    }
    Err(RegistryError::invalid("networks", format!("there are at most {MOST_NETWORKS}.")))
}

pub(super) fn check_known(
    field: &'static str,
    what: &str,
    name: &str,
    known: &[&str],
) -> Result<(), RegistryError> {
    if known.contains(&name) {
        return Ok(());
    }
    let there = if known.is_empty() { "there is none".to_owned() } else { known.join(", ") };
    let detail = format!("the configuration has no {what} `{name}` (there: {there}).");
    Err(RegistryError::invalid(field, detail))
}

/// Initial attributes are a JSON object of bounded size.
pub(super) fn check_attributes(text: &str) -> Result<(), RegistryError> {
    let parsed = serde_json::from_str::<crate::ports::Attributes>(text);
    let fits = |object: &crate::ports::Attributes| {
        object.len() <= MOST_ATTRIBUTES && object.keys().all(|key| !key.is_empty() && !key.contains('\0'))
    };
    if text.len() <= MOST_ATTRIBUTE_BYTES && !text.contains("\\u0000") && parsed.as_ref().is_ok_and(fits) {
        return Ok(());
    }
    let rule =
        format!("it is a JSON object of at most {MOST_ATTRIBUTES} members and {MOST_ATTRIBUTE_BYTES} bytes.");
    Err(RegistryError::invalid("initial_attributes", rule))
}
