//! Whether a token was signed by the provider (RFC 7515, 7519, 8725).
//!
//! The key decides by which algorithm a signature is checked; the token only says by which of them it claims to be
//! signed. Nothing symmetric is among them, so a public key is never taken for a shared secret.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::SignOnRefusal;
use engine::registry::{AuthenticationRefusal, Claimed};
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::{Map, Value};
use wire::openid::TokenHeader;

use super::provider::Provider;
use super::unreachable;

/// The longest token that is looked at, in bytes.
const MOST_BYTES: usize = 16 * 1024;

/// By which algorithm a token claims to be signed; `None` where it is no token.
pub(super) fn header(token: &str) -> Option<TokenHeader> {
    serde_json::from_slice(&decoded(token.split('.').next()?)?).ok()
}

/// What a token claims, whoever made it.
pub(super) fn claimed(token: &str) -> Claimed {
    let read = || -> Option<Map<String, Value>> {
        let claims = token.split('.').nth(1).filter(|claims| claims.len() <= MOST_BYTES)?;
        serde_json::from_slice(&decoded(claims)?).ok()
    };
    let claims = read().unwrap_or_default();
    let text = |name: &str| claims.get(name).and_then(Value::as_str).map(str::to_owned);
    Claimed { issuer: text("iss"), subject: text("sub") }
}

fn decoded(part: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(part).ok()
}

/// What a token says, if the provider has signed it. Keys that are not known yet are asked for.
pub(super) async fn verified(
    provider: &Provider,
    token: &str,
) -> Result<Map<String, Value>, AuthenticationRefusal> {
    if token.len() > MOST_BYTES {
        return Err(SignOnRefusal::Malformed.into());
    }
    let header = header(token).ok_or(SignOnRefusal::Malformed)?;
    let algorithm = algorithm(&header.alg).ok_or(SignOnRefusal::Algorithm)?;
    if !header.may_sign_on() {
        return Err(SignOnRefusal::Malformed.into());
    }
    let known = provider.known().await.map_err(|fault| unreachable(&fault))?;
    let mut keys = fitting(&known.keys, algorithm, header.kid.as_deref());
    let newer;
    if keys.is_empty() {
        newer = provider.newer(&known).await.map_err(|fault| unreachable(&fault))?;
        keys = fitting(&newer.keys, algorithm, header.kid.as_deref());
    }
    if keys.is_empty() {
        return Err(SignOnRefusal::KeyUnknown.into());
    }
    let signed = keys.into_iter().find_map(|key| signed_by(key, algorithm, token));
    Ok(signed.ok_or(SignOnRefusal::Signature)?)
}

/// The algorithms that are taken.
fn algorithm(name: &str) -> Option<Algorithm> {
    match name {
        "RS256" => Some(Algorithm::RS256),
        "ES256" => Some(Algorithm::ES256),
        "EdDSA" => Some(Algorithm::EdDSA),
        _ => None,
    }
}

/// The keys that may have made such a signature.
fn fitting<'a>(keys: &'a [Jwk], algorithm: Algorithm, kid: Option<&str>) -> Vec<&'a Jwk> {
    let fits = |key: &&Jwk| {
        let named = kid.is_none() || key.common.key_id.as_deref() == kid;
        let for_signing = matches!(key.common.public_key_use, None | Some(PublicKeyUse::Signature));
        let meant = key.common.key_algorithm.is_none_or(|meant| meant == algorithm.into());
        named && for_signing && meant && can(key, algorithm)
    };
    keys.iter().filter(fits).collect()
}

fn can(key: &Jwk, algorithm: Algorithm) -> bool {
    match (&key.algorithm, algorithm) {
        (AlgorithmParameters::RSA(_), Algorithm::RS256) => true,
        (AlgorithmParameters::EllipticCurve(key), Algorithm::ES256) => key.curve == EllipticCurve::P256,
        (AlgorithmParameters::OctetKeyPair(key), Algorithm::EdDSA) => key.curve == EllipticCurve::Ed25519,
        _ => false,
    }
}

/// Only the signature is looked at: what the claims are worth is judged by the rules.
fn signed_by(key: &Jwk, algorithm: Algorithm, token: &str) -> Option<Map<String, Value>> {
    let mut rules = Validation::new(algorithm);
    rules.required_spec_claims.clear();
    (rules.validate_exp, rules.validate_nbf, rules.validate_aud) = (false, false, false);
    let key = DecodingKey::from_jwk(key).ok()?;
    jsonwebtoken::decode(token, &key, &rules).ok().map(|read| read.claims)
}
