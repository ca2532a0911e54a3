//! Sessions of accounts: begun with a password, carried in signed tokens, ended by themselves, by leaving them,
//! or by any change of the account.

use std::net::IpAddr;

use domain::{Secret, TenantId, Timestamp};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use store::{Account, Change, StoreError};

use super::accounts::{AccountChange, MOST_NAME_CHARS, MOST_PASSWORD_CHARS};
use super::guesses::Try;
use super::journal::Deed;
use super::operators::AuthenticationRefusal;
use super::passwords::Lane;
use super::public_id::{self, IdKind};
use super::{Operator, Registry, RegistryError, Right, What, Who, passwords};

/// Random characters of a session's id: 32 of 62 are 190 bits.
const RANDOM_ID_CHARS: usize = 32;

/// A session that has begun.
#[derive(Clone, Debug)]
pub struct Session {
    /// Who signed on.
    pub operator: Operator,
    /// The account's number.
    pub account: u64,
    /// What it signs on with.
    pub name: String,
    /// The state of the account in which it was begun; a later one voids it.
    pub epoch: u64,
    /// Names this session; nobody can guess it.
    pub id: String,
}

/// What is wrong with a signed token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenFault {
    /// It is no such token.
    Malformed,
    /// It is not signed by this installation.
    Signature,
    /// The server's keys are not at hand.
    Locked,
}

impl Registry {
    /// Lets somebody in who knows the account's password. Whether there is such an account can neither be told
    /// from the answer nor from the time it takes.
    ///
    /// # Errors
    /// Why not.
    pub async fn log_in(
        &self,
        name: String,
        password: Secret,
        source: Option<IpAddr>,
    ) -> Result<Session, AuthenticationRefusal> {
        // What nobody can have is not kept waiting, nor is its bulk.
        if name.chars().count() > MOST_NAME_CHARS || password.expose().chars().count() > MOST_PASSWORD_CHARS {
            return Err(AuthenticationRefusal::Password);
        }
        let now = self.now();
        let this = self.guesses.admit(source, &name, now).ok_or(AuthenticationRefusal::TooMany)?;
        let registry = self.clone();
        let work = move || registry.judged(&name, &password, source, this);
        match self.doorkeepers.ask(this.lane, work).await {
            Some(judged) => judged,
            None => {
                self.guesses.not_judged(this, now);
                Err(AuthenticationRefusal::Busy)
            }
        }
    }

    fn judged(
        &self,
        name: &str,
        password: &Secret,
        source: Option<IpAddr>,
        this: Try,
    ) -> Result<Session, AuthenticationRefusal> {
        let judged = self.judge(name, password, source);
        let now = self.now();
        match &judged {
            Ok(_) | Err(AuthenticationRefusal::Disabled) => self.guesses.right(this, now),
            Err(AuthenticationRefusal::Password) => {
                let told = self.guesses.wrong(this, now);
                told.map(|failures| self.tell_of_failures(name, source, failures)).transpose()?;
            }
            // A store that does not answer says nothing against anybody.
            Err(_) => self.guesses.not_judged(this, now),
        }
        judged
    }

    /// Somebody was not let in: `failures` times since the journal last heard of it, the last time so.
    fn tell_of_failures(
        &self,
        name: &str,
        source: Option<IpAddr>,
        failures: u64,
    ) -> Result<(), AuthenticationRefusal> {
        tracing::warn!(failures, "somebody did not know the password of an account");
        let nobody = Operator { source, ..Operator::server("sign-on") };
        // What is no account's name may be a password that was typed in its place.
        let known = self.store.read(|view| view.account_by_name(name))?;
        let detail = json!({ "name": known.map(|account| account.name), "failures": failures });
        let told = self.store.write(|change: &mut Change<'_>| {
            self.journal(change, &nobody, &Deed::of(None, "operator-sign-on-failed", detail.clone()))
        });
        told.map_err(not_recorded)
    }

    fn judge(
        &self,
        name: &str,
        password: &Secret,
        source: Option<IpAddr>,
    ) -> Result<Session, AuthenticationRefusal> {
        let keys = self.store.keys()?;
        let account = self.store.read(|view| view.account_by_name(name))?;
        // One that follows a provider's word is opened by nothing else.
        let account = account.filter(|account| account.link.is_none());
        let kept = account.as_ref().and_then(|account| account.password.as_ref());
        let right = passwords::is_it(keys, password, kept)?;
        let account = account.filter(|_| right).ok_or(AuthenticationRefusal::Password)?;
        if account.disabled_at.is_some() {
            return Err(AuthenticationRefusal::Disabled);
        }
        self.begin(account, source)
    }

    /// Gives whoever knows the present password of its own account another one. Its sessions end.
    ///
    /// # Errors
    /// `Ok(Err(…))` where the new one breaks the rules, or who asks has no account; else why it is not let in.
    pub async fn change_password(
        &self,
        operator: Operator,
        present: Secret,
        new: Secret,
    ) -> Result<Result<(), RegistryError>, AuthenticationRefusal> {
        let Who::Account(account) = operator.who else {
            return Ok(Err(RegistryError::not_found(What::Account, &operator.actor)));
        };
        let registry = self.clone();
        let find = move || registry.store.read(|view| view.account(account));
        let found = self.doorkeepers.ask(Lane::Known, find).await.ok_or(AuthenticationRefusal::Busy)??;
        let name = found.ok_or(AuthenticationRefusal::Unknown)?.name;
        let session = self.log_in(name.clone(), present, operator.source).await?;
        let registry = self.clone();
        let wanted =
            AccountChange { password: Some(new), epoch: Some(session.epoch), ..AccountChange::default() };
        let work = move || registry.edit_account(&operator, &name, &wanted).map(drop);
        self.doorkeepers.ask(Lane::Known, work).await.ok_or(AuthenticationRefusal::Busy)
    }

    /// Begins a session of somebody who has shown who he is.
    fn begin(&self, account: Account, source: Option<IpAddr>) -> Result<Session, AuthenticationRefusal> {
        let operator = operator(&account, source);
        let id = self.random_id();
        self.store
            .write(|change: &mut Change<'_>| {
                let detail = json!({ "account": account.id, "name": account.name });
                self.journal(change, &operator, &Deed::of(account.tenant, "operator-signed-on", detail))
            })
            .map_err(|error| match error {
                RegistryError::Store(error) => AuthenticationRefusal::Store(error),
                _ => AuthenticationRefusal::Password,
            })?;
        Ok(Session { operator, account: account.id, name: account.name, epoch: account.epoch, id })
    }

    /// Who goes on with a session whose token was signed here and has not expired.
    ///
    /// # Errors
    /// Why not: the account was changed or is gone, or the session was left.
    pub fn resume(
        &self,
        account: u64,
        epoch: u64,
        session: &str,
        source: Option<IpAddr>,
    ) -> Result<Session, AuthenticationRefusal> {
        let (found, ended) =
            self.store.read(|view| Ok((view.account(account)?, view.session_has_ended(session)?)))?;
        let found = found.ok_or(AuthenticationRefusal::Unknown)?;
        if ended || found.epoch != epoch {
            return Err(AuthenticationRefusal::Revoked);
        }
        if found.disabled_at.is_some() {
            return Err(AuthenticationRefusal::Disabled);
        }
        if found.link.as_ref().is_some_and(|link| self.word_is_over(link)) {
            return Err(AuthenticationRefusal::Expired);
        }
        let operator = operator(&found, source);
        Ok(Session { operator, account, name: found.name, epoch, id: session.to_owned() })
    }

    /// Ends a session. `ends_at` is when the last token of it would have expired.
    ///
    /// # Errors
    /// What the store says.
    pub fn end_session(
        &self,
        operator: &Operator,
        session: &str,
        ends_at: Timestamp,
    ) -> Result<(), RegistryError> {
        let now = self.now();
        self.store.write(|change: &mut Change<'_>| {
            change.end_session(session, ends_at, now)?;
            let tenant = operator.tenant_id();
            self.journal(change, operator, &Deed::of(tenant, "operator-signed-off", json!({})))
        })
    }

    /// Signs what a token says (JWT, HS512), by a key that comes from the server's own.
    ///
    /// # Errors
    /// `secrets-locked`; what cannot be written as JSON.
    pub fn sign_token(&self, claims: &impl Serialize) -> Result<Secret, RegistryError> {
        let key = self.store.keys()?.session_key();
        let signed =
            jsonwebtoken::encode(&Header::new(Algorithm::HS512), claims, &EncodingKey::from_secret(&*key));
        signed.map(Secret::new).map_err(|error| RegistryError::invalid("claims", error.to_string()))
    }

    /// What a token says that was signed here. Whether it has expired is for the reader to see.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read_token<T: DeserializeOwned + Clone>(&self, token: &str) -> Result<T, TokenFault> {
        use jsonwebtoken::errors::ErrorKind;
        let key = self.store.keys().map_err(|_| TokenFault::Locked)?.session_key();
        let mut rules = Validation::new(Algorithm::HS512);
        rules.required_spec_claims.clear();
        rules.validate_exp = false;
        rules.validate_aud = false;
        let read = jsonwebtoken::decode::<T>(token, &DecodingKey::from_secret(&*key), &rules);
        read.map(|read| read.claims).map_err(|error| match error.kind() {
            ErrorKind::InvalidSignature => TokenFault::Signature,
            _ => TokenFault::Malformed,
        })
    }

    /// Since when an operator is known; `None` for the server itself.
    ///
    /// # Errors
    /// What the store says.
    pub fn holder_since(&self, operator: &Operator) -> Result<Option<Timestamp>, RegistryError> {
        let since = self.store.read(|view| match operator.who {
            Who::Server => Ok(None),
            Who::Account(id) => Ok(view.account(id)?.map(|account| account.created_at)),
            Who::Token(id) => Ok(view.operator_token(id)?.map(|token| token.created_at)),
        })?;
        Ok(since)
    }

    /// An id that nobody can guess.
    pub fn random_id(&self) -> String {
        domain::name::random_text(RANDOM_ID_CHARS, &mut *self.entropy())
    }

    /// The public id of a number of ours; empty while the server's keys are locked.
    pub fn public_id(&self, kind: IdKind, number: u64) -> String {
        self.store.keys().map(|keys| public_id::id_of(keys, kind, number)).unwrap_or_default()
    }

    /// The number that a public id stands for; `None` where it is none of that sort.
    pub fn number_of(&self, kind: IdKind, id: &str) -> Option<u64> {
        public_id::number_of(self.store.keys().ok()?, kind, id)
    }
}

pub(super) fn not_recorded(error: RegistryError) -> AuthenticationRefusal {
    match error {
        RegistryError::Store(error) => AuthenticationRefusal::Store(error),
        other => AuthenticationRefusal::Store(StoreError::Unavailable(other.to_string())),
    }
}

pub(super) fn operator(account: &Account, source: Option<IpAddr>) -> Operator {
    Operator {
        actor: format!("account:{}", account.name),
        right: account.tenant.map_or(Right::Server, Right::Tenant),
        role: account.role,
        who: Who::Account(account.id),
        source,
    }
}

impl Operator {
    /// The tenant that a call is about which names none: its own, or the default one.
    pub fn home(&self) -> TenantId {
        self.tenant_id().unwrap_or(TenantId::DEFAULT)
    }

    /// Whether what is limited to this tenant, or to none, is this operator's business.
    pub(super) fn reaches(&self, tenant: Option<TenantId>) -> bool {
        self.right == Right::Server || tenant.is_some() && tenant == self.tenant_id()
    }

    /// The tenant it is limited to.
    pub fn tenant_id(&self) -> Option<TenantId> {
        match self.right {
            Right::Server => None,
            Right::Tenant(own) => Some(own),
        }
    }
}
