//! Operators' tokens. A token is shown once; what is kept of it is a keyed verifier.

use std::collections::HashMap;
use std::net::IpAddr;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use domain::{
    CredentialKeys, OperatorRefusal, Power, Refusal, Role, Said, Secret, SignOnRefusal, TenantId, Timestamp,
};
use serde_json::json;
use store::{Change, StoreError};

use super::journal::Deed;
use super::{Operator, Registry, RegistryError, Right, What, Who, tenants};
use crate::throttle::BucketKey;

/// Random characters in a token: 43 of 62 are 256 bits.
const TOKEN_CHARS: usize = 43;
const TOKEN_PREFIX: &str = "mst_";
const FIRST_ADMIN: &str = "first admin";
const MOST_LABEL_CHARS: usize = 255;

/// An operator token as it is listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperatorToken {
    /// Its number, by which it is revoked.
    pub id: u64,
    /// The operators' own note.
    pub label: String,
    /// What its holder may do.
    pub role: Role,
    /// The name of the tenant it is limited to; `None` for the whole server.
    pub tenant: Option<String>,
    /// When it ends by itself.
    pub expires_at: Option<Timestamp>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
}

/// What a new operator token is to be.
#[derive(Clone, Copy, Debug)]
pub struct NewOperatorToken<'a> {
    /// The tenant it is limited to; `None` for the whole server.
    pub tenant: Option<&'a str>,
    /// What its holder may do.
    pub role: Role,
    /// The operators' own note.
    pub label: &'a str,
    /// For how long it is good, in milliseconds; `None` for ever.
    pub life_ms: Option<u64>,
}

/// Why a bearer is not let in.
#[derive(Debug, thiserror::Error)]
pub enum AuthenticationRefusal {
    /// Nobody holds such a token.
    #[error("{}", OperatorRefusal::TokenUnknown.sentence())]
    Unknown,
    /// Its time is over.
    #[error("{}", OperatorRefusal::TokenExpired.sentence())]
    Expired,
    /// An operator revoked it.
    #[error("{}", OperatorRefusal::TokenRevoked.sentence())]
    Revoked,
    /// No account has this name and this password.
    #[error("{}", OperatorRefusal::PasswordWrong.sentence())]
    Password,
    /// The account is shut out.
    #[error("{}", OperatorRefusal::AccountDisabled.sentence())]
    Disabled,
    /// A provider's word does not let anybody in.
    #[error("{}{}", refusal.sentence(), told(detail.as_deref()))]
    SignOn {
        /// Why.
        refusal: SignOnRefusal,
        /// What was seen, where that helps; never a token.
        detail: Option<String>,
    },
    /// Too many wait to be let in.
    #[error("{}", OperatorRefusal::Busy.sentence())]
    Busy,
    /// Too many tokens from this source were not good.
    #[error("Too many failed authentications came from this address.")]
    TooMany,
    /// The store did not answer.
    #[error("{}", .0.refusal().sentence())]
    Store(#[from] StoreError),
}

// === impl AuthenticationRefusal ===

impl AuthenticationRefusal {
    /// What it is called in the manual.
    pub fn said(&self) -> Said {
        match self {
            AuthenticationRefusal::Unknown => OperatorRefusal::TokenUnknown.into(),
            AuthenticationRefusal::Expired => OperatorRefusal::TokenExpired.into(),
            AuthenticationRefusal::Revoked => OperatorRefusal::TokenRevoked.into(),
            AuthenticationRefusal::Password => OperatorRefusal::PasswordWrong.into(),
            AuthenticationRefusal::Disabled => OperatorRefusal::AccountDisabled.into(),
            AuthenticationRefusal::Busy => OperatorRefusal::Busy.into(),
            AuthenticationRefusal::SignOn { refusal, .. } => (*refusal).into(),
            AuthenticationRefusal::TooMany => Refusal::TooManyAttempts.into(),
            AuthenticationRefusal::Store(error) => error.refusal().into(),
        }
    }

    /// The stable word for it.
    pub fn code(&self) -> &'static str {
        self.said().code()
    }

    /// What to try.
    pub fn hint(&self) -> &'static str {
        match self {
            AuthenticationRefusal::TooMany => "Use a token that is good; the limit refills by itself.",
            _ => self.said().hint(),
        }
    }

    /// Whether it speaks against whoever came: the provider and the store may fail without anybody's fault.
    pub fn is_against_source(&self) -> bool {
        !matches!(
            self,
            AuthenticationRefusal::Store(_)
                | AuthenticationRefusal::Busy
                | AuthenticationRefusal::TooMany
                | AuthenticationRefusal::SignOn { refusal: SignOnRefusal::Unreachable, .. }
        )
    }
}

impl From<SignOnRefusal> for AuthenticationRefusal {
    fn from(refusal: SignOnRefusal) -> AuthenticationRefusal {
        AuthenticationRefusal::SignOn { refusal, detail: None }
    }
}

fn told(detail: Option<&str>) -> String {
    detail.map(|detail| format!(" {detail}")).unwrap_or_default()
}

// === impl Registry ===

impl Registry {
    /// Who holds this token. Failures count against their source (20 a second, 50 at once), and above that are not told
    /// apart. A token that is good is let in from anywhere: nobody guesses 256 random bits, and it is found by one read,
    /// so whoever fails behind the same address shuts nobody out.
    ///
    /// # Errors
    /// Why the bearer is not let in.
    pub fn authenticate(
        &self,
        bearer: &Secret,
        source: Option<IpAddr>,
    ) -> Result<Operator, AuthenticationRefusal> {
        let judged = self.holder(bearer, source, self.now());
        match &judged {
            // A store that does not answer says nothing against the bearer.
            Ok(_) | Err(AuthenticationRefusal::Store(_)) => {}
            Err(_) => {
                self.may_try(source)?;
                self.has_failed(source);
            }
        }
        judged
    }

    /// Whether a bearer from this source is looked at.
    ///
    /// # Errors
    /// `too-many-attempts`.
    pub fn may_try(&self, source: Option<IpAddr>) -> Result<(), AuthenticationRefusal> {
        let bucket = source.map(|source| BucketKey::new(source, None));
        let allowed = bucket.is_none_or(|bucket| self.failures.allows_strangers(bucket, self.now()));
        if allowed { Ok(()) } else { Err(AuthenticationRefusal::TooMany) }
    }

    /// Counts a try against its source before it is looked at, where that takes long or costs others something: many
    /// at once are not more than one after the other.
    ///
    /// # Errors
    /// `too-many-attempts`.
    pub fn count_try(&self, source: Option<IpAddr>) -> Result<(), AuthenticationRefusal> {
        let bucket = source.map(|source| BucketKey::new(source, None));
        let allowed = bucket.is_none_or(|bucket| self.failures.take(bucket, self.now()));
        if allowed { Ok(()) } else { Err(AuthenticationRefusal::TooMany) }
    }

    /// Gives a counted try back: it was good, or nothing speaks against whoever made it.
    pub fn give_back(&self, source: Option<IpAddr>) {
        if let Some(source) = source {
            self.failures.give_back(BucketKey::new(source, None), self.now());
        }
    }

    /// Notes a try that was not good; it counts against its source.
    pub fn has_failed(&self, source: Option<IpAddr>) {
        if let Some(source) = source {
            self.failures.unproven(BucketKey::new(source, None), self.now());
        }
    }

    /// Makes sure that the first admin's secret opens the whole server: the first operator token, made before
    /// there is anybody who could make one. One that was revoked stays revoked.
    ///
    /// # Errors
    /// What the store says.
    pub fn ensure_admin(&self) -> Result<(), RegistryError> {
        let Some(secret) = &self.admin else { return Ok(()) };
        let verifier = self.store.keys()?.verifier(secret.expose());
        let now = self.now();
        self.store.write(|change: &mut Change<'_>| {
            if change.operator_token_by_verifier(&verifier)?.is_some() {
                return Ok(());
            }
            let token = change.create_operator_token(
                &verifier,
                store::NewOperatorToken {
                    tenant: None,
                    role: Role::Admin,
                    label: FIRST_ADMIN,
                    expires_at: None,
                },
                now,
            )?;
            let server = Operator::server("start");
            let detail = json!({ "token": token, "label": FIRST_ADMIN });
            self.journal(change, &server, &Deed::of(None, "operator-token-created", detail))
        })
    }

    /// Makes an operator token. The answer is the only one that carries it.
    ///
    /// # Errors
    /// `right-missing` where it would open more than the operator's own; `tenant-not-found`;
    /// `value-invalid` for a label that is too long, or a life of nothing.
    pub fn create_operator_token(
        &self,
        operator: &Operator,
        wanted: NewOperatorToken<'_>,
    ) -> Result<(Secret, OperatorToken), RegistryError> {
        operator.require(Power::Administer)?;
        let label = checked_label(wanted.label)?;
        if wanted.life_ms == Some(0) {
            let rule = "a token lives for a second at least; without a life it has no end.";
            return Err(RegistryError::invalid("expires_in_s", rule));
        }
        let tenant = match wanted.tenant {
            Some(name) => Some(self.tenant(operator, Some(name))?),
            None => operator.require_server().map(|()| None)?,
        };
        let tenant_id = tenant.as_ref().map(|tenant| tenant.id);
        let secret = self.random_secret(TOKEN_PREFIX, TOKEN_CHARS);
        let verifier = self.store.keys()?.verifier(secret.expose());
        let now = self.now();
        let expires_at = wanted.life_ms.map(|life| now.plus_ms(life));
        let token = self.store.write(|change: &mut Change<'_>| {
            let row = store::NewOperatorToken { tenant: tenant_id, role: wanted.role, label, expires_at };
            let id = change.create_operator_token(&verifier, row, now)?;
            let role = wanted.role.word();
            let detail = json!({ "token": id, "label": label, "tenant": wanted.tenant, "role": role });
            self.journal(change, operator, &Deed::of(tenant_id, "operator-token-created", detail))?;
            Ok::<_, RegistryError>(id)
        })?;
        let tenant = tenant.map(|tenant| tenant.name);
        let listed = OperatorToken {
            id: token,
            label: label.to_owned(),
            role: wanted.role,
            tenant,
            expires_at,
            created_at: now,
            revoked_at: None,
        };
        Ok((secret, listed))
    }

    /// The operator tokens that an operator may see, the revoked ones among them.
    ///
    /// # Errors
    /// `role-insufficient`; what the store says.
    pub fn operator_tokens(&self, operator: &Operator) -> Result<Vec<OperatorToken>, RegistryError> {
        operator.require(Power::Administer)?;
        let (tokens, names) = self.store.read(|view| Ok((view.operator_tokens()?, tenants::names(view)?)))?;
        let seen = tokens.into_iter().filter(|token| operator.reaches(token.tenant));
        Ok(seen.map(|token| listed(token, &names)).collect())
    }

    /// Revokes an operator token at once; one that is revoked already stays so.
    ///
    /// # Errors
    /// `role-insufficient`, `operator-token-not-found`.
    pub fn revoke_operator_token(&self, operator: &Operator, id: u64) -> Result<(), RegistryError> {
        operator.require(Power::Administer)?;
        let now = self.now();
        self.store.write(|change: &mut Change<'_>| {
            let found = change.operator_token(id)?.filter(|token| operator.reaches(token.tenant));
            let token =
                found.ok_or_else(|| RegistryError::not_found(What::OperatorToken, &id.to_string()))?;
            change.revoke_operator_token(id, now)?;
            let deed = Deed::of(token.tenant, "operator-token-revoked", json!({ "token": id }));
            self.journal(change, operator, &deed)
        })
    }

    fn holder(
        &self,
        bearer: &Secret,
        source: Option<IpAddr>,
        now: Timestamp,
    ) -> Result<Operator, AuthenticationRefusal> {
        if self.why_locked().is_some() {
            return self.admin_alone(bearer, source);
        }
        let verifier = self.store.keys()?.verifier(bearer.expose());
        let found = self.store.read(|view| view.operator_token_by_verifier(&verifier))?;
        let token = found.ok_or(AuthenticationRefusal::Unknown)?;
        if token.revoked_at.is_some() {
            return Err(AuthenticationRefusal::Revoked);
        }
        if token.expires_at.is_some_and(|end| end <= now) {
            return Err(AuthenticationRefusal::Expired);
        }
        let right = token.tenant.map_or(Right::Server, Right::Tenant);
        Ok(Operator {
            actor: format!("operator:{}", token.id),
            right,
            role: token.role,
            who: Who::Token(token.id),
            source,
        })
    }
}

impl Registry {
    /// While the keys behind verifiers are locked only the secret that lies on this machine can be recognised.
    fn admin_alone(
        &self,
        bearer: &Secret,
        source: Option<IpAddr>,
    ) -> Result<Operator, AuthenticationRefusal> {
        let Some(admin) = &self.admin else { return Err(StoreError::Locked.into()) };
        let same = verify_slices_are_equal(admin.expose().as_bytes(), bearer.expose().as_bytes());
        if same.is_err() {
            return Err(StoreError::Locked.into());
        }
        let revoked = self.store.read(|view| {
            let tokens = view.operator_tokens()?;
            let mut firsts = tokens.iter().filter(|token| token.label == FIRST_ADMIN).peekable();
            Ok(firsts.peek().is_some() && firsts.all(|token| token.revoked_at.is_some()))
        })?;
        if revoked {
            return Err(AuthenticationRefusal::Revoked);
        }
        let actor = "operator:first-admin".to_owned();
        Ok(Operator { actor, right: Right::Server, role: Role::Admin, who: Who::Server, source })
    }
}

fn listed(token: store::OperatorToken, names: &HashMap<TenantId, String>) -> OperatorToken {
    OperatorToken {
        id: token.id,
        label: token.label,
        role: token.role,
        tenant: token.tenant.map(|tenant| names.get(&tenant).cloned().unwrap_or_default()),
        expires_at: token.expires_at,
        created_at: token.created_at,
        revoked_at: token.revoked_at,
    }
}

fn checked_label(label: &str) -> Result<&str, RegistryError> {
    let fits = label.chars().count() <= MOST_LABEL_CHARS && !label.chars().any(char::is_control);
    if fits {
        Ok(label)
    } else {
        Err(RegistryError::invalid("label", "at most 255 characters, none of them a control character."))
    }
}
