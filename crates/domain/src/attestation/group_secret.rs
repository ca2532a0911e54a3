//! Attestation by group secret: one secret for all devices of a profile.
//!
//! The device sends the profile's provision key, an identifier, and the provision secret. What is
//! compared are keyed verifiers, in constant time, with every secret of the profile, so the time taken
//! does not tell which one matched. An expired secret still proves; admission then refuses it by name.

use crate::{Profile, Refusal, SecretId, Verifier};

/// Which of the profile's secrets was offered.
pub(super) fn prove(key: &str, offered: &Verifier, profile: &Profile) -> Result<SecretId, Refusal> {
    if key != profile.provision_key {
        return Err(Refusal::ProfileUnknown);
    }
    let matching = profile.secrets.iter().fold(None, |found, secret| {
        let matches = secret.verifier == *offered;
        if matches && found.is_none() { Some(secret.id) } else { found }
    });
    matching.ok_or(Refusal::ProofInvalid)
}
