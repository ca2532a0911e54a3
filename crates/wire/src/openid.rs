//! What an OpenID provider says: its configuration, its keys, its tokens (OpenID Connect Core and Discovery 1.0,
//! RFC 6749, 7517, 7519, 8628).

use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use crate::Secret;

/// Where a provider publishes what it can, below its issuer.
pub const DISCOVERY_PATH: &str = ".well-known/openid-configuration";

/// The header of a signed token.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct TokenHeader {
    /// The algorithm, whatever it is called.
    pub alg: String,
    /// Which key.
    #[serde(default)]
    pub kid: Option<String>,
    /// What sort of token it is.
    #[serde(default)]
    pub typ: Option<String>,
    /// What has to be understood.
    #[serde(default)]
    pub crit: Option<Value>,
}

impl TokenHeader {
    /// Whether a token of this sort can say who somebody is. Others, such as one that ends sessions, carry the same
    /// claims.
    #[must_use]
    pub fn may_sign_on(&self) -> bool {
        let typ = self.typ.as_deref().unwrap_or("JWT");
        let typ = typ
            .get(..12)
            .filter(|start| start.eq_ignore_ascii_case("application/"))
            .map_or(typ, |_| &typ[12..]);
        self.crit.is_none() && ["jwt", "at+jwt"].iter().any(|known| known.eq_ignore_ascii_case(typ))
    }
}

/// A provider's configuration, as far as it concerns us.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Discovery {
    /// What it calls itself.
    pub issuer: String,
    /// Where people sign on.
    pub authorization_endpoint: String,
    /// Where tokens are given.
    pub token_endpoint: String,
    /// Where its keys are.
    pub jwks_uri: String,
    /// Where signing on with another machine begins.
    #[serde(default)]
    pub device_authorization_endpoint: Option<String>,
    /// How clients may show who they are; absent = by HTTP Basic.
    #[serde(default)]
    pub token_endpoint_auth_methods_supported: Option<Vec<String>>,
}

impl Discovery {
    /// Whether a client shows its secret by HTTP Basic, and not in the form.
    #[must_use]
    pub fn takes_basic(&self) -> bool {
        let methods = self.token_endpoint_auth_methods_supported.as_deref();
        methods.is_none_or(|methods| {
            let has = |wanted: &str| methods.iter().any(|method| method == wanted);
            has("client_secret_basic") || !has("client_secret_post")
        })
    }
}

/// A provider's keys, each as it is: there may be some that we have no use for.
#[derive(Debug, Clone, Deserialize)]
pub struct KeySet {
    /// The keys.
    pub keys: Vec<Value>,
}

/// What a token says.
#[derive(Debug, Clone, Deserialize)]
pub struct IdClaims {
    /// Who says so.
    pub iss: String,
    /// Of whom.
    pub sub: String,
    /// To whom.
    #[serde(deserialize_with = "one_or_many")]
    pub aud: Vec<String>,
    /// Who asked for it.
    #[serde(default)]
    pub azp: Option<String>,
    /// When it ends, in seconds since 1970.
    #[serde(deserialize_with = "date")]
    pub exp: i64,
    /// When it was made, in seconds since 1970.
    #[serde(deserialize_with = "date")]
    pub iat: i64,
    /// From when on it is valid, in seconds since 1970.
    #[serde(default, deserialize_with = "opt_date")]
    pub nbf: Option<i64>,
    /// What the one who asked sent along.
    #[serde(default)]
    pub nonce: Option<String>,
    #[serde(default)]
    email: Option<String>,
    #[serde(default)]
    email_verified: Option<Value>,
    /// Of tokens that tell of something else than signing on (RFC 8417).
    #[serde(default)]
    events: Option<Value>,
}

impl IdClaims {
    /// Reads what a token says; `None` where something is missing, or where it says something else.
    #[must_use]
    pub fn of(claims: &Map<String, Value>) -> Option<IdClaims> {
        let read: IdClaims = serde_json::from_value(Value::Object(claims.clone())).ok()?;
        read.events.is_none().then_some(read)
    }

    /// The e-mail address, if the provider says that it has verified it. Some say so in a text.
    #[must_use]
    pub fn verified_email(&self) -> Option<&str> {
        let verified = match self.email_verified.as_ref()? {
            Value::Bool(verified) => *verified,
            other => other == "true",
        };
        self.email.as_deref().filter(|_| verified)
    }
}

/// The values of a claim: a text, or a list of texts. A claim within a claim is named `outer.inner`, unless there is
/// one of exactly that name.
#[must_use]
pub fn values_of(claims: &Map<String, Value>, name: &str) -> Vec<String> {
    let found = claims.get(name).or_else(|| {
        let (first, rest) = name.split_once('.')?;
        rest.split('.').try_fold(claims.get(first)?, |value, part| value.get(part))
    });
    match found {
        Some(Value::String(text)) => vec![text.clone()],
        Some(Value::Array(items)) => items.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        _ => Vec::new(),
    }
}

/// What the token endpoint answers.
#[derive(Debug, Default, Deserialize)]
pub struct TokenReply {
    /// Says who somebody is.
    #[serde(default)]
    pub id_token: Option<Secret>,
    /// Why there is none: a word.
    #[serde(default)]
    pub error: Option<String>,
    /// Why there is none: for people.
    #[serde(default)]
    pub error_description: Option<String>,
}

/// What the device authorization endpoint answers.
#[derive(Debug, Deserialize)]
pub struct DeviceReply {
    /// What the token is asked for with.
    pub device_code: Secret,
    /// What somebody types.
    pub user_code: String,
    /// Where.
    pub verification_uri: String,
    /// The same with the code in it.
    #[serde(default)]
    pub verification_uri_complete: Option<String>,
    /// How long both codes are good, in seconds.
    pub expires_in: u64,
    /// How long to wait before asking again, in seconds.
    #[serde(default)]
    pub interval: Option<u64>,
}

fn one_or_many<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Audience {
        One(String),
        Many(Vec<String>),
    }
    Ok(match Audience::deserialize(from)? {
        Audience::One(one) => vec![one],
        Audience::Many(many) => many,
    })
}

/// A NumericDate may have a fraction (RFC 7519, section 2).
#[expect(
    clippy::cast_possible_truncation,
    reason = "a date beyond 64 bits is as good as the last one within"
)]
fn date<'de, D: Deserializer<'de>>(from: D) -> Result<i64, D::Error> {
    let number = serde_json::Number::deserialize(from)?;
    let seconds = number.as_i64().or_else(|| number.as_f64().map(|seconds| seconds.floor() as i64));
    seconds.ok_or_else(|| serde::de::Error::custom("not a date"))
}

fn opt_date<'de, D: Deserializer<'de>>(from: D) -> Result<Option<i64>, D::Error> {
    date(from).map(Some)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn claims(change: impl FnOnce(&mut Map<String, Value>)) -> Map<String, Value> {
        let json = json!({ "iss": "i", "sub": "s", "aud": "a", "exp": 20, "iat": 10.9, "email": "a@b",
            "email_verified": true, "groups": ["x", 7, "y"], "realm_access": { "roles": ["r"] }, "a.b": "c" });
        let Value::Object(mut claims) = json else { panic!("an object") };
        change(&mut claims);
        claims
    }

    #[test]
    fn one_audience_is_a_text_and_several_are_a_list() {
        let read = IdClaims::of(&claims(|_| ())).unwrap();
        assert_eq!((read.aud, read.exp, read.iat, read.nbf), (vec!["a".to_owned()], 20, 10, None));
        let two = claims(|claims| drop(claims.insert("aud".into(), json!(["a", "b"]))));
        assert_eq!(IdClaims::of(&two).unwrap().aud, ["a", "b"]);
    }

    #[test]
    fn what_lacks_a_part_or_tells_of_something_else_signs_nobody_on() {
        for part in ["iss", "sub", "aud", "exp", "iat"] {
            assert!(IdClaims::of(&claims(|claims| drop(claims.remove(part)))).is_none(), "{part}");
        }
        let logout = claims(|claims| drop(claims.insert("events".into(), json!({}))));
        assert!(IdClaims::of(&logout).is_none());
    }

    #[test]
    fn an_address_counts_once_it_is_verified() {
        let email = |verified: Value| {
            let claims = claims(|claims| drop(claims.insert("email_verified".into(), verified)));
            IdClaims::of(&claims).unwrap().verified_email().map(str::to_owned)
        };
        for verified in [json!(true), json!("true")] {
            assert_eq!(email(verified).as_deref(), Some("a@b"));
        }
        for verified in [json!(false), json!("false"), json!(1), Value::Null] {
            assert_eq!(email(verified), None);
        }
    }

    #[test]
    fn groups_are_found_by_name_and_within_other_claims() {
        let claims = claims(|_| ());
        assert_eq!(values_of(&claims, "groups"), ["x", "y"]);
        assert_eq!(values_of(&claims, "realm_access.roles"), ["r"]);
        assert_eq!(values_of(&claims, "a.b"), ["c"]);
        assert!(values_of(&claims, "none").is_empty() && values_of(&claims, "exp").is_empty());
    }

    #[test]
    fn a_token_of_another_sort_signs_nobody_on() {
        let may = |json: Value| serde_json::from_value::<TokenHeader>(json).unwrap().may_sign_on();
        for typ in ["JWT", "jwt", "at+jwt", "application/at+jwt"] {
            assert!(may(json!({ "alg": "RS256", "typ": typ })), "{typ}");
        }
        assert!(may(json!({ "alg": "RS256" })));
        for typ in ["logout+jwt", "secevent+jwt", "dpop+jwt", ""] {
            assert!(!may(json!({ "alg": "RS256", "typ": typ })), "{typ}");
        }
        assert!(!may(json!({ "alg": "RS256", "crit": ["b64"] })));
    }
}
