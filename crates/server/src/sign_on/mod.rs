//! Signing on by the word of an OpenID provider: its keys, its tokens, and the way from a person at a browser to
//! one of them. What a token is worth here is for `domain::sign_on` to say.

mod grants;
mod provider;
mod seen;
mod token;

use std::net::IpAddr;
use std::sync::Arc;

use anyhow::Context;
use domain::sign_on::{Rules, Vouched};
use domain::{Secret, SignOnRefusal, Timestamp};
use engine::registry::{AuthenticationRefusal, Claimed, Session};
use engine::{Fault, Registry};
use serde_json::{Map, Value};
use wire::openid::{IdClaims, values_of};

use crate::config::OpenId;

use provider::Provider;
use seen::Seen;

/// What our own sessions are signed by, and no provider's token that is taken.
const SESSION_ALGORITHM: &str = "HS512";

/// What a token is shown for.
#[derive(Clone, Copy, Debug)]
pub enum For<'a> {
    /// One call. Only the first one with it is journalled.
    Call,
    /// A session, with the nonce that it has to repeat.
    Session(Option<&'a str>),
}

/// How a token of the provider's becomes an operator.
pub struct SignOn {
    rules: Rules,
    config: OpenId,
    secret: Option<Secret>,
    provider: Provider,
    seen: Seen,
}

impl SignOn {
    /// What the configuration asks for; `None` without a provider. Nobody is called yet: a provider that is down keeps
    /// no server from starting.
    ///
    /// # Errors
    /// What is wrong with the configuration.
    pub fn new(config: &OpenId) -> anyhow::Result<Option<Arc<SignOn>>> {
        if !config.is_on() {
            return Ok(None);
        }
        Ok(Some(Arc::new(SignOn {
            rules: config.rules(),
            secret: config.client_secret().context("[sign_on.openid]")?,
            provider: Provider::new(config.clone()),
            seen: Seen::default(),
            config: config.clone(),
        })))
    }

    /// Whether a bearer's text looks like a token of the provider's, and not like one of our sessions'.
    pub fn is_meant_by(&self, token: &str) -> bool {
        token.matches('.').count() == 2
            && token::header(token).is_none_or(|header| header.alg != SESSION_ALGORITHM)
    }

    /// Who calls with a token of the provider's.
    ///
    /// # Errors
    /// Why it lets nobody in.
    pub async fn recognise(
        &self,
        registry: &Registry,
        token: &Secret,
        purpose: For<'_>,
        source: Option<IpAddr>,
    ) -> Result<Session, AuthenticationRefusal> {
        registry.may_try(source)?;
        let judged = self.judged(registry, token, purpose, source).await;
        if judged.as_ref().is_err_and(AuthenticationRefusal::is_against_source) {
            registry.has_failed(source);
        }
        judged
    }

    /// What becomes of a token; the journal hears of it, whether it counts is for the caller to say.
    async fn judged(
        &self,
        registry: &Registry,
        token: &Secret,
        purpose: For<'_>,
        source: Option<IpAddr>,
    ) -> Result<Session, AuthenticationRefusal> {
        let judged = self.signed_on(registry, token, purpose, source).await;
        if let Err(refusal) = &judged {
            self.refused(registry, refusal, token::claimed(token.expose()), source).await;
        }
        judged
    }

    async fn signed_on(
        &self,
        registry: &Registry,
        token: &Secret,
        purpose: For<'_>,
        source: Option<IpAddr>,
    ) -> Result<Session, AuthenticationRefusal> {
        let claims = token::verified(&self.provider, token.expose()).await?;
        let nonce = match purpose {
            For::Session(nonce) => nonce,
            For::Call => None,
        };
        let vouched = self.vouched(&claims, nonce)?;
        let is_new = self.seen.is_new(token, vouched.expires_at, registry.now());
        let anew = is_new || matches!(purpose, For::Session(_));
        let (rules, registry) = (self.rules.clone(), registry.clone());
        let work = move || registry.sign_on(&rules, &vouched, source, anew);
        let session = tokio::task::spawn_blocking(work).await;
        let session =
            session.unwrap_or_else(|_| Err(engine::StoreError::Unavailable("it ended".into()).into()));
        if session.is_err() {
            self.seen.forget(token);
        }
        session
    }

    fn vouched(&self, claims: &Map<String, Value>, nonce: Option<&str>) -> Result<Vouched, SignOnRefusal> {
        let groups = values_of(claims, &self.config.claim);
        let claims = IdClaims::of(claims).ok_or(SignOnRefusal::Malformed)?;
        if nonce.is_some_and(|nonce| claims.nonce.as_deref() != Some(nonce)) {
            return Err(SignOnRefusal::Audience);
        }
        let time = |seconds: i64| Timestamp(seconds.saturating_mul(1000));
        let verified_email = claims.verified_email().map(str::to_owned);
        Ok(Vouched {
            issuer: claims.iss,
            audiences: claims.aud,
            authorized_party: claims.azp,
            subject: claims.sub,
            issued_at: time(claims.iat),
            not_before: claims.nbf.map(time),
            expires_at: time(claims.exp),
            verified_email,
            groups,
        })
    }

    async fn refused(
        &self,
        registry: &Registry,
        refusal: &AuthenticationRefusal,
        claimed: Claimed,
        source: Option<IpAddr>,
    ) {
        metrics::counter!("muster_operator_failures_total", "code" => refusal.code()).increment(1);
        let refusal = match refusal {
            AuthenticationRefusal::SignOn { refusal, .. } => (*refusal).into(),
            AuthenticationRefusal::Disabled => AuthenticationRefusal::Disabled,
            _ => return,
        };
        let registry = registry.clone();
        let note = move || registry.sign_on_refused(&refusal, &claimed, source);
        // What could not be written is in the log.
        let _ = tokio::task::spawn_blocking(note).await;
    }
}

/// The provider does not answer as it should: nobody's fault who signs on.
fn unreachable(fault: &Fault) -> AuthenticationRefusal {
    let detail = Some(format!("{}.", fault.message.trim_end_matches('.')));
    AuthenticationRefusal::SignOn { refusal: SignOnRefusal::Unreachable, detail }
}
