//! A device's word that its owner will come for it (thingsboard page, section 9.4).

use serde::Deserialize;

use crate::Secret;

/// How long a claim stands where the device does not say: a day.
pub const USUAL_DURATION_MS: u64 = 86_400_000;

/// A claim.
#[derive(Debug)]
pub struct Claim {
    /// What the owner will know; may be empty.
    pub secret_key: Secret,
    /// For how long, in milliseconds.
    pub duration_ms: u64,
}

/// Bytes that are no claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("payload is not a JSON object with a text `secretKey` and a whole `durationMs`")]
pub struct NoClaim;

impl Claim {
    /// Reads `{"secretKey":"…","durationMs":…}`; both may be missing, and so may all of it.
    ///
    /// # Errors
    /// [`NoClaim`].
    pub fn parse(payload: &[u8]) -> Result<Claim, NoClaim> {
        #[derive(Default, Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Given {
            secret_key: Option<Secret>,
            duration_ms: Option<u64>,
        }
        let payload = payload.trim_ascii();
        let given: Option<Given> = match payload.first() {
            None => Some(Given::default()),
            Some(b'{') => serde_json::from_slice(payload).ok(),
            Some(_) => None,
        };
        let given = given.ok_or(NoClaim)?;
        Ok(Claim {
            secret_key: given.secret_key.unwrap_or_default(),
            duration_ms: given.duration_ms.unwrap_or(USUAL_DURATION_MS),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_in_a_claim_may_be_missing() {
        let parsed =
            |text: &str| Claim::parse(text.as_bytes()).map(|it| (it.secret_key.is_empty(), it.duration_ms));
        assert_eq!(parsed(""), Ok((true, USUAL_DURATION_MS)));
        assert_eq!(parsed("{}"), Ok((true, USUAL_DURATION_MS)));
        assert_eq!(parsed(r#"{"secretKey":"k","durationMs":60000}"#), Ok((false, 60_000)));
        for wrong in ["{", "[]", "1", r#"{"durationMs":-1}"#, r#"{"secretKey":1}"#] {
            assert!(Claim::parse(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }
}
