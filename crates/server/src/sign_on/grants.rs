//! From a person at a browser to a token: the provider is asked by this server, so that nobody else has to know the
//! client's secret (RFC 6749, section 4.1; RFC 7636; RFC 8252; RFC 8628).

use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domain::{Secret, SignOnRefusal};
use engine::Registry;
use engine::registry::{AuthenticationRefusal, Claimed, Session};
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{StatusCode, Url};
use wire::admin::{OpenIdDevice, OpenIdOffered, OpenIdShown};
use wire::openid::{DeviceReply, Discovery, TokenReply};

use super::provider::read;
use super::{For, SignOn, unreachable};
use crate::config::is_loopback;
use crate::outbound::Reply;

const DEVICE_GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";
/// How long to wait before asking again, where the provider does not say (RFC 8628, section 3.2).
const USUAL_INTERVAL_S: u64 = 5;
/// What a provider answers where it gives no token.
const REFUSED: [StatusCode; 3] = [StatusCode::BAD_REQUEST, StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN];
/// The most characters of a provider's reason that are shown.
const MOST_REASON_CHARS: usize = 200;

/// The members of a form, in order.
type Form<'a> = Vec<(&'a str, &'a str)>;

impl SignOn {
    /// Where people sign on.
    ///
    /// # Errors
    /// `openid-unreachable`.
    pub async fn offered(&self) -> Result<OpenIdOffered, AuthenticationRefusal> {
        let known = self.provider.known().await.map_err(|fault| unreachable(&fault))?;
        Ok(OpenIdOffered {
            issuer: self.config.issuer.clone(),
            client_id: self.config.client_id.clone(),
            authorization_endpoint: known.discovery.authorization_endpoint.clone(),
            redirect_uri: self.config.redirect_uri.clone(),
            scopes: self.config.scopes.clone(),
            device: known.discovery.device_authorization_endpoint.is_some(),
        })
    }

    /// Begins to sign somebody on at another machine. It counts as a try: each makes us call the provider.
    ///
    /// # Errors
    /// Why not.
    pub async fn begin_device(
        &self,
        registry: &Registry,
        source: Option<IpAddr>,
    ) -> Result<OpenIdDevice, AuthenticationRefusal> {
        registry.count_try(source)?;
        let known = self.provider.known().await.map_err(|fault| unreachable(&fault))?;
        let address = known.discovery.device_authorization_endpoint.as_deref();
        let address = address.ok_or(SignOnRefusal::DeviceUnsupported)?;
        let scopes = self.config.scopes.join(" ");
        let reply = self.post(&known.discovery, address, vec![("scope", &scopes)]).await?;
        if !reply.status.is_success() {
            return Err(refused(&reply));
        }
        let begun: DeviceReply = read(address, &reply).map_err(|fault| unreachable(&fault))?;
        Ok(OpenIdDevice {
            device_code: begun.device_code,
            user_code: begun.user_code,
            verification_uri: begun.verification_uri,
            verification_uri_complete: begun.verification_uri_complete,
            expires_in_s: begun.expires_in,
            interval_s: begun.interval.unwrap_or(USUAL_INTERVAL_S),
        })
    }

    /// Begins a session of whoever shows what the provider gave. The try is counted before the provider is asked,
    /// and given back where it was good or the provider did not answer; who has gone meanwhile has spent it. A
    /// device code whose owner has not signed on yet costs its try: whoever asks every few seconds never runs out.
    ///
    /// # Errors
    /// Why not.
    pub async fn exchange(
        &self,
        registry: &Registry,
        shown: OpenIdShown,
        source: Option<IpAddr>,
    ) -> Result<Session, AuthenticationRefusal> {
        registry.count_try(source)?;
        let exchanged = self.exchanged(registry, shown, source).await;
        if !exchanged.as_ref().is_err_and(AuthenticationRefusal::is_against_source) {
            registry.give_back(source);
        }
        exchanged
    }

    async fn exchanged(
        &self,
        registry: &Registry,
        shown: OpenIdShown,
        source: Option<IpAddr>,
    ) -> Result<Session, AuthenticationRefusal> {
        let nonce = match &shown {
            OpenIdShown::Code { nonce, .. } => Some(nonce.clone()),
            _ => None,
        };
        let token = self.token_for(shown).await;
        if let Err(refusal) = &token {
            self.refused(registry, refusal, Claimed::default(), source).await;
        }
        self.judged(registry, &token?, For::Session(nonce.as_deref()), source).await
    }

    async fn token_for(&self, shown: OpenIdShown) -> Result<Secret, AuthenticationRefusal> {
        match &shown {
            OpenIdShown::Token { token } => Ok(Secret::new(token.expose())),
            OpenIdShown::Device { device_code } => {
                self.token(vec![("grant_type", DEVICE_GRANT), ("device_code", device_code.expose())]).await
            }
            OpenIdShown::Code { code, code_verifier, redirect_uri, .. } => {
                if !may_return_to(&self.config.redirect_uri, redirect_uri) {
                    return Err(SignOnRefusal::RedirectForbidden.into());
                }
                let form = vec![
                    ("grant_type", "authorization_code"),
                    ("code", code.expose()),
                    ("code_verifier", code_verifier.expose()),
                    ("redirect_uri", redirect_uri),
                ];
                self.token(form).await
            }
        }
    }

    async fn token(&self, form: Form<'_>) -> Result<Secret, AuthenticationRefusal> {
        let known = self.provider.known().await.map_err(|fault| unreachable(&fault))?;
        let address = &known.discovery.token_endpoint;
        let reply = self.post(&known.discovery, address, form).await?;
        if !reply.status.is_success() {
            return Err(refused(&reply));
        }
        let given: TokenReply = read(address, &reply).map_err(|fault| unreachable(&fault))?;
        let token = given.id_token.map(|token| Secret::new(token.expose()));
        token.ok_or_else(|| code_refused("It gave no ID token: is `openid` among the scopes?"))
    }

    /// Posts a form as the client that we are there.
    async fn post(
        &self,
        discovery: &Discovery,
        address: &str,
        mut form: Form<'_>,
    ) -> Result<Reply, AuthenticationRefusal> {
        let id = self.config.client_id.as_str();
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        match &self.secret {
            Some(secret) if discovery.takes_basic() => {
                headers.insert(AUTHORIZATION, basic(id, secret).ok_or(SignOnRefusal::CodeRefused)?);
            }
            Some(secret) => form.extend([("client_id", id), ("client_secret", secret.expose())]),
            None => form.push(("client_id", id)),
        }
        let outbound = self.provider.outbound(address).map_err(|fault| unreachable(&fault))?;
        let body = encoded(&form).into_bytes();
        outbound.post(headers, body, &REFUSED).await.map_err(|fault| unreachable(&fault))
    }
}

/// Both are encoded before they are joined (RFC 6749, section 2.3.1).
fn basic(id: &str, secret: &Secret) -> Option<HeaderValue> {
    let joined = zeroize::Zeroizing::new(format!("{}:{}", escaped(id), escaped(secret.expose())));
    let mut value = HeaderValue::from_str(&format!("Basic {}", STANDARD.encode(joined.as_bytes()))).ok()?;
    value.set_sensitive(true);
    Some(value)
}

fn encoded(form: &[(&str, &str)]) -> String {
    let members: Vec<String> =
        form.iter().map(|(name, value)| format!("{name}={}", escaped(value))).collect();
    members.join("&")
}

fn escaped(text: &str) -> String {
    text.bytes().fold(String::new(), |escaped, byte| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
            escaped + &char::from(byte).to_string()
        }
        _ => escaped + &format!("%{byte:02X}"),
    })
}

/// A loopback address without a port stands for any port (RFC 8252, section 7.3).
fn may_return_to(configured: &str, shown: &str) -> bool {
    let (Ok(configured), Ok(mut shown)) = (Url::parse(configured), Url::parse(shown)) else { return false };
    if configured.port().is_none() && is_loopback(&shown) {
        // It is one of those that have a port.
        let _ = shown.set_port(None);
    }
    configured == shown
}

/// Why the provider gave no token, in its own words.
fn refused(reply: &Reply) -> AuthenticationRefusal {
    let told: TokenReply = serde_json::from_slice(&reply.body).unwrap_or_default();
    let word = told.error.unwrap_or_default();
    if matches!(word.as_str(), "authorization_pending" | "slow_down") {
        return SignOnRefusal::Pending.into();
    }
    let words = [Some(word), told.error_description].into_iter().flatten().collect::<Vec<_>>().join(": ");
    code_refused(&format!("It says: {words}"))
}

fn code_refused(detail: &str) -> AuthenticationRefusal {
    let plain = detail.chars().filter(|c| !c.is_control()).take(MOST_REASON_CHARS).collect();
    AuthenticationRefusal::SignOn { refusal: SignOnRefusal::CodeRefused, detail: Some(plain) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn somebody_is_sent_back_to_the_configured_address_at_whatever_port_of_this_machine() {
        let any = "http://127.0.0.1/callback";
        for shown in ["http://127.0.0.1/callback", "http://127.0.0.1:5000/callback"] {
            assert!(may_return_to(any, shown), "{shown}");
        }
        for shown in [
            "http://127.0.0.1:5000/other",
            "http://127.0.0.1:5000/callback?a=b",
            "http://localhost:5000/callback",
            "https://127.0.0.1:5000/callback",
            "http://evil.example/callback",
            "http://ann@127.0.0.1/callback",
            "",
        ] {
            assert!(!may_return_to(any, shown), "{shown}");
        }
        assert!(may_return_to("http://localhost:7777/callback", "http://localhost:7777/callback"));
        assert!(!may_return_to("http://localhost:7777/callback", "http://localhost:7778/callback"));
    }

    #[test]
    fn what_a_form_carries_comes_out_as_it_went_in() {
        assert_eq!(encoded(&[("a", "1 &=+"), ("b", "ä")]), "a=1%20%26%3D%2B&b=%C3%A4");
    }
}
