//! Signing on by the word of an OpenID provider. Whoever it vouches for gets an account without a password, which
//! follows the provider's word: role and tenant are what the last one made them.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use domain::sign_on::{Mapping, Rules, Vouched, judge};
use domain::{Kind, SignOnRefusal, TenantId, Timestamp};
use parking_lot::Mutex;
use serde_json::json;
use store::{Account, Change, Link};

use super::journal::Deed;
use super::operators::AuthenticationRefusal;
use super::sessions::{not_recorded, operator};
use super::{Operator, Registry, RegistryError, Session, What};
use crate::throttle::site;

/// How long a session may go on without a new word of the provider, where nothing else is said: a working day.
const USUAL_LIFE_MS: u64 = 12 * 3_600_000;
/// How often the journal hears of equal refusals.
const TOLD_EVERY_MS: u64 = 10_000;
/// The most sources whose refusals are counted apart: memory does not grow with an attack.
const MOST_SOURCES: usize = 10_000;
/// The most characters of what a token claims that are journalled.
const MOST_CLAIMED_CHARS: usize = 255;

/// What the registry keeps about signing on.
#[derive(Clone)]
pub(super) struct SignOn {
    life_ms: u64,
    refusals: Arc<Mutex<HashMap<(IpAddr, &'static str), Counted>>>,
}

#[derive(Clone, Copy)]
struct Counted {
    told_at: Timestamp,
    since: u64,
}

impl Default for SignOn {
    fn default() -> SignOn {
        SignOn { life_ms: USUAL_LIFE_MS, refusals: Arc::default() }
    }
}

/// What a refused token claims. Whether that is true nobody knows.
#[derive(Clone, Debug, Default)]
pub struct Claimed {
    /// Who is said to have made it.
    pub issuer: Option<String>,
    /// Whom it is said to be about.
    pub subject: Option<String>,
}

impl Registry {
    /// The same, where sessions go on for so long after a provider's word, in milliseconds.
    #[must_use]
    pub fn with_sign_on_life(mut self, life_ms: u64) -> Registry {
        self.sign_on.life_ms = life_ms;
        self
    }

    /// Lets somebody in for whom a provider vouches. `anew` says that this word was not given before: it is
    /// journalled, and makes sessions go on.
    ///
    /// # Errors
    /// Why not.
    pub fn sign_on(
        &self,
        rules: &Rules,
        vouched: &Vouched,
        source: Option<IpAddr>,
        anew: bool,
    ) -> Result<Session, AuthenticationRefusal> {
        let (issuer, subject) = (&vouched.issuer, &vouched.subject);
        let mapping = judge(rules, vouched, self.now()).inspect_err(|refusal| {
            if refusal.kind() == Kind::Forbidden {
                self.withdraw(vouched);
            }
        })?;
        let tenant = self.tenant_of(mapping)?;
        let (found, removed_at) = self.store.read(|view| {
            Ok((view.account_of_subject(issuer, subject)?, view.subject_removed_at(issuer, subject)?))
        })?;
        if removed_at.is_some_and(|at| vouched.issued_at <= at) {
            return Err(SignOnRefusal::AccountRemoved.into());
        }
        let counts_as_it_is = |account: &Account| {
            let same = (account.role, account.tenant) == (mapping.role, tenant);
            !anew && (same || is_older(vouched, account))
        };
        let account = match found {
            Some(account) if account.disabled_at.is_some() => return Err(AuthenticationRefusal::Disabled),
            Some(account) if counts_as_it_is(&account) => account,
            // Another server may have made the account in this moment.
            None => self
                .vouched_for(vouched, mapping, tenant, source)
                .or_else(|_| self.vouched_for(vouched, mapping, tenant, source))?,
            Some(_) => self.vouched_for(vouched, mapping, tenant, source)?,
        };
        let operator = operator(&account, source);
        let (name, epoch, id) = (account.name, account.epoch, self.random_id());
        Ok(Session { operator, account: account.id, name, epoch, id })
    }

    /// Somebody whom the provider let in before has no role any more: sessions end, and earlier words count no more.
    fn withdraw(&self, vouched: &Vouched) {
        let now = self.now();
        let withdrawn = self.store.write(|change: &mut Change<'_>| {
            let found = change.account_of_subject(&vouched.issuer, &vouched.subject)?;
            let Some(account) = found.filter(|account| !is_older(vouched, account)) else { return Ok(()) };
            let removed_at = change.subject_removed_at(&vouched.issuer, &vouched.subject)?;
            if removed_at.is_some_and(|at| vouched.issued_at <= at) {
                return Ok(());
            }
            change.withdraw(&account, vouched.issued_at, now)?;
            let detail = json!({ "account": account.id, "name": account.name, "issuer": vouched.issuer,
                "subject": vouched.subject });
            let deed = Deed::of(account.tenant, "operator-role-withdrawn", detail);
            self.journal(change, &Operator::server("sign-on"), &deed)
        });
        if let Err(error) = withdrawn {
            tracing::warn!(%error, "the sessions of somebody without a role could not be ended");
        }
    }

    fn tenant_of(&self, mapping: &Mapping) -> Result<Option<TenantId>, AuthenticationRefusal> {
        let Some(name) = &mapping.tenant else { return Ok(None) };
        let found = self.store.read(|view| view.tenant_by_name(name))?;
        let tenant = found.ok_or(SignOnRefusal::TenantUnknown)?;
        Ok(Some(tenant.id))
    }

    /// The account that follows this word, made where there is none. Whether it may be is looked at again: it may
    /// have been removed or shut out in this moment.
    fn vouched_for(
        &self,
        vouched: &Vouched,
        mapping: &Mapping,
        tenant: Option<TenantId>,
        source: Option<IpAddr>,
    ) -> Result<Account, AuthenticationRefusal> {
        let now = self.now();
        let (issuer, subject) = (&vouched.issuer, &vouched.subject);
        let kept = self.store.write(|change: &mut Change<'_>| {
            // In this order: where the account is being deleted, that is waited for.
            let found = change.account_of_subject(issuer, subject)?;
            if change.subject_removed_at(issuer, subject)?.is_some_and(|at| vouched.issued_at <= at) {
                return Ok(Err(SignOnRefusal::AccountRemoved.into()));
            }
            if found.as_ref().is_some_and(|account| account.disabled_at.is_some()) {
                return Ok(Err(AuthenticationRefusal::Disabled));
            }
            let older = found.as_ref().is_some_and(|account| is_older(vouched, account));
            let id = match found {
                Some(account) => account.id,
                None => match made(change, vouched, mapping, tenant, now)? {
                    Ok(id) => id,
                    Err(refusal) => return Ok(Err(refusal.into())),
                },
            };
            if !older {
                change.vouch(id, mapping.role, tenant, vouched.issued_at, now)?;
            }
            let account = change.account(id)?;
            let account = account.ok_or_else(|| RegistryError::not_found(What::Account, subject))?;
            let detail = json!({ "account": id, "name": account.name, "issuer": issuer, "subject": subject,
                "group": mapping.group, "role": account.role.word() });
            let deed = Deed::of(account.tenant, "operator-signed-on", detail);
            self.journal(change, &operator(&account, source), &deed)?;
            Ok::<_, RegistryError>(Ok(account))
        });
        kept.map_err(not_recorded)?
    }

    /// Notes in the journal that somebody was not let in by a provider's word. Of equal refusals it hears every ten
    /// seconds how many there were.
    pub fn sign_on_refused(
        &self,
        refusal: &AuthenticationRefusal,
        claimed: &Claimed,
        source: Option<IpAddr>,
    ) {
        if let AuthenticationRefusal::Store(_) | AuthenticationRefusal::TooMany = refusal {
            return;
        }
        if let AuthenticationRefusal::SignOn { refusal: SignOnRefusal::Pending, .. } = refusal {
            return;
        }
        let Some(failures) = self.sign_on.counted(refusal.code(), source, self.now()) else { return };
        let plain = |text: &Option<String>| {
            let text = text.as_deref()?;
            Some(text.chars().filter(|c| !c.is_control()).take(MOST_CLAIMED_CHARS).collect::<String>())
        };
        let (issuer, subject) = (plain(&claimed.issuer), plain(&claimed.subject));
        tracing::warn!(code = refusal.code(), ?issuer, ?subject, ?source, failures, "nobody was signed on");
        let detail = json!({ "code": refusal.code(), "claimed_issuer": issuer, "claimed_subject": subject,
            "failures": failures });
        let nobody = Operator { source, ..Operator::server("sign-on") };
        let written = self.store.write(|change: &mut Change<'_>| {
            self.journal(change, &nobody, &Deed::of(None, "operator-sign-on-failed", detail.clone()))
        });
        if let Err(error) = written {
            tracing::warn!(%error, "a refused sign-on is not in the journal");
        }
    }

    /// Whether a session may not go on without a new word.
    pub(super) fn word_is_over(&self, link: &Link) -> bool {
        link.vouched_at.plus_ms(self.sign_on.life_ms) <= self.now()
    }
}

/// Whether the provider has given a later word.
fn is_older(vouched: &Vouched, account: &Account) -> bool {
    account.link.as_ref().is_some_and(|link| vouched.issued_at < link.vouched_at)
}

/// An account for whom nobody has vouched before, by the first name that is free.
fn made(
    change: &mut Change<'_>,
    vouched: &Vouched,
    mapping: &Mapping,
    tenant: Option<TenantId>,
    now: Timestamp,
) -> Result<Result<u64, SignOnRefusal>, RegistryError> {
    let (issuer, subject) = (&vouched.issuer, &vouched.subject);
    for name in &vouched.names() {
        if change.account_by_name(name)?.is_some() {
            continue;
        }
        let new = store::NewAccount { tenant, name, password: None, role: mapping.role };
        let id = change.create_account(new, now)?;
        let link = Link { issuer: issuer.clone(), subject: subject.clone(), vouched_at: vouched.issued_at };
        change.link_account(id, &link)?;
        return Ok(Ok(id));
    }
    Ok(Err(SignOnRefusal::NameTaken))
}

impl SignOn {
    /// How many refusals the journal has to hear of now, if any.
    fn counted(&self, code: &'static str, source: Option<IpAddr>, now: Timestamp) -> Option<u64> {
        let mut refusals = self.refusals.lock();
        let nobody = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
        let mut key = (source.map_or(nobody, site), code);
        if refusals.len() >= MOST_SOURCES && !refusals.contains_key(&key) {
            refusals.retain(|_, counted| now.since_ms(counted.told_at) < TOLD_EVERY_MS);
            if refusals.len() >= MOST_SOURCES {
                key.0 = nobody;
            }
        }
        match refusals.get_mut(&key) {
            Some(counted) if now.since_ms(counted.told_at) < TOLD_EVERY_MS => {
                counted.since += 1;
                None
            }
            before => {
                let since = before.map_or(0, |counted| counted.since);
                refusals.insert(key, Counted { told_at: now, since: 0 });
                Some(since + 1)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_000_000);

    #[test]
    fn the_journal_hears_of_the_first_refusal_and_then_of_how_many_there_were() {
        let sign_on = SignOn::default();
        let source = |last: u8| Some(IpAddr::from([10, 0, 0, last]));
        let count = |last, code, now| sign_on.counted(code, source(last), now);
        assert_eq!(count(1, "a", NOW), Some(1));
        assert_eq!((count(1, "a", NOW), count(1, "a", NOW)), (None, None));
        assert_eq!((count(1, "b", NOW), count(2, "a", NOW)), (Some(1), Some(1)));
        assert_eq!(count(1, "a", NOW.plus_ms(TOLD_EVERY_MS)), Some(3));
    }
}
