//! Local accounts of operators: people who sign on with a password.

use std::collections::HashMap;

use domain::sign_on::LEEWAY_MS;
use domain::{Power, Role, Secret, TenantId, Timestamp};
use serde_json::json;
use store::{Account, Change};

use super::journal::Deed;
use super::tenants::not_dots;
use super::{Operator, Registry, RegistryError, Unique, What, Who, passwords, tenants};

pub(super) const MOST_NAME_CHARS: usize = 255;
/// The shortest password, in characters.
pub const LEAST_PASSWORD_CHARS: usize = 12;
/// The longest one: far more than anybody types. A bound, for what is hashed is given by strangers.
pub const MOST_PASSWORD_CHARS: usize = 256;

/// An account as it is listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountView {
    /// Its number.
    pub id: u64,
    /// What it signs on with.
    pub name: String,
    /// The name of the tenant it is limited to; `None` for the whole server.
    pub tenant: Option<String>,
    /// What it may do.
    pub role: Role,
    /// Whether a password opens it.
    pub has_password: bool,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was changed last.
    pub changed_at: Timestamp,
    /// Since when it is shut out.
    pub disabled_at: Option<Timestamp>,
    /// The provider whose word opens it.
    pub issuer: Option<String>,
}

/// What a new account is to be.
#[derive(Clone, Debug)]
pub struct NewAccount<'a> {
    /// What it signs on with: an e-mail address or another name, on the whole server its only one.
    pub name: &'a str,
    /// The tenant it is limited to; `None` for the whole server.
    pub tenant: Option<&'a str>,
    /// What it may do.
    pub role: Role,
    /// Its password; `None` where none opens it.
    pub password: Option<Secret>,
}

/// What is to change of an account; what is `None` stays.
#[derive(Clone, Debug, Default)]
pub struct AccountChange {
    /// What it may do.
    pub role: Option<Role>,
    /// Whether it is shut out.
    pub disabled: Option<bool>,
    /// Its password.
    pub password: Option<Secret>,
    /// Only if it still is in the state in which somebody has shown its password.
    pub epoch: Option<u64>,
}

/// Why an account gets no password: who loses the provider's word would come in by it all the same.
const FOLLOWS: &str = "the account follows an OpenID provider's word, and no password opens it. Delete it, and make \
                       another one.";

impl Registry {
    /// Makes an account.
    ///
    /// # Errors
    /// `role-insufficient`, `right-missing` for the whole server; `tenant-not-found`; `account-exists`;
    /// `value-invalid` for a name or a password that breaks the rules.
    pub fn create_account(
        &self,
        operator: &Operator,
        new: &NewAccount<'_>,
    ) -> Result<AccountView, RegistryError> {
        operator.require(Power::Administer)?;
        let name = checked_name(new.name)?;
        let tenant = match new.tenant {
            Some(name) => Some(self.tenant(operator, Some(name))?.id),
            None => operator.require_server().map(|()| None)?,
        };
        let password = new.password.as_ref().map(|password| self.kept_password(password)).transpose()?;
        let now = self.now();
        self.store.write(|change: &mut Change<'_>| {
            if change.account_by_name(name)?.is_some() {
                return Err(RegistryError::Exists { what: Unique::Account, name: name.to_owned() });
            }
            let row = store::NewAccount { tenant, name, password: password.as_ref(), role: new.role };
            let id = change.create_account(row, now)?;
            let detail = json!({ "account": id, "name": name, "role": new.role.word() });
            self.journal(change, operator, &Deed::of(tenant, "account-created", detail))?;
            viewed(change, id, name)
        })
    }

    /// The accounts that an operator may see, by name.
    ///
    /// # Errors
    /// `role-insufficient`; what the store says.
    pub fn accounts(&self, operator: &Operator) -> Result<Vec<AccountView>, RegistryError> {
        operator.require(Power::Administer)?;
        let (accounts, names) = self.store.read(|view| Ok((view.accounts()?, tenants::names(view)?)))?;
        let seen = accounts.into_iter().filter(|account| operator.reaches(account.tenant));
        Ok(seen.map(|account| view(account, &names)).collect())
    }

    /// Changes an account. Its sessions end.
    ///
    /// # Errors
    /// `role-insufficient`, `account-not-found`, `value-invalid` for a password that breaks the rules, or that is for
    /// an account which follows a provider's word.
    pub fn change_account(
        &self,
        operator: &Operator,
        name: &str,
        wanted: &AccountChange,
    ) -> Result<AccountView, RegistryError> {
        operator.require(Power::Administer)?;
        self.edit_account(operator, name, wanted)
    }

    pub(super) fn edit_account(
        &self,
        operator: &Operator,
        name: &str,
        wanted: &AccountChange,
    ) -> Result<AccountView, RegistryError> {
        let password = wanted.password.as_ref().map(|password| self.kept_password(password)).transpose()?;
        let now = self.now();
        self.store.write(|change: &mut Change<'_>| {
            let mut account = reachable(change, operator, name)?;
            if wanted.epoch.is_some_and(|epoch| epoch != account.epoch) {
                return Err(RegistryError::invalid("present", "the account was changed meanwhile."));
            }
            if password.is_some() && account.link.is_some() {
                return Err(RegistryError::invalid("password", FOLLOWS));
            }
            account.role = wanted.role.unwrap_or(account.role);
            account.password = password.clone().or(account.password);
            if let Some(disabled) = wanted.disabled {
                account.disabled_at = disabled.then(|| account.disabled_at.unwrap_or(now));
            }
            change.set_account(&account, now)?;
            let detail = json!({ "account": account.id, "name": name, "role": account.role.word(),
                "disabled": account.disabled_at.is_some(), "password_set": password.is_some() });
            self.journal(change, operator, &Deed::of(account.tenant, "account-changed", detail))?;
            viewed(change, account.id, name)
        })
    }

    /// Makes an admin's account for the whole server, or makes an account that: whoever asks is at home on the
    /// server's own machine, and has no other way in.
    ///
    /// # Errors
    /// `value-invalid` for a name or a password that breaks the rules.
    pub fn recover_account(&self, name: &str, password: &Secret) -> Result<AccountView, RegistryError> {
        let name = checked_name(name)?;
        let password = self.kept_password(password)?;
        let (server, now) = (Operator::server("recover"), self.now());
        self.store.write(|change: &mut Change<'_>| {
            if let Some(present) = change.account_by_name(name)? {
                change.delete_account(present.id, said_until(now))?;
            }
            let row = store::NewAccount { tenant: None, name, password: Some(&password), role: Role::Admin };
            let id = change.create_account(row, now)?;
            let detail = json!({ "account": id, "name": name });
            self.journal(change, &server, &Deed::of(None, "account-recovered", detail))?;
            viewed(change, id, name)
        })
    }

    /// Deletes an account. Until a provider's leeway is over, its word does not open another one for the same person:
    /// it may be one of before, by a clock that is ahead.
    ///
    /// # Errors
    /// `role-insufficient`, `account-not-found`.
    pub fn delete_account(&self, operator: &Operator, name: &str) -> Result<(), RegistryError> {
        operator.require(Power::Administer)?;
        let now = self.now();
        self.store.write(|change: &mut Change<'_>| {
            let account = reachable(change, operator, name)?;
            change.delete_account(account.id, said_until(now))?;
            let detail = json!({ "account": account.id, "name": name });
            self.journal(change, operator, &Deed::of(account.tenant, "account-deleted", detail))
        })
    }

    fn kept_password(&self, password: &Secret) -> Result<Secret, RegistryError> {
        let chars = password.expose().chars().count();
        if !(LEAST_PASSWORD_CHARS..=MOST_PASSWORD_CHARS).contains(&chars) {
            let rule = format!("a password has {LEAST_PASSWORD_CHARS} to {MOST_PASSWORD_CHARS} characters.");
            return Err(RegistryError::invalid("password", rule));
        }
        Ok(passwords::kept(self.store.keys()?, password, &mut *self.entropy())?)
    }
}

/// The account of that name, where the operator may change it; one that it may not see is not there.
fn reachable(change: &Change<'_>, operator: &Operator, name: &str) -> Result<Account, RegistryError> {
    let found = change.account_by_name(name)?.filter(|account| operator.reaches(account.tenant));
    let account = found.ok_or_else(|| RegistryError::not_found(What::Account, name))?;
    if operator.who != Who::Account(account.id) {
        operator.require(Power::Administer)?;
    }
    Ok(account)
}

fn viewed(change: &Change<'_>, id: u64, name: &str) -> Result<AccountView, RegistryError> {
    let account = change.account(id)?.ok_or_else(|| RegistryError::not_found(What::Account, name))?;
    Ok(view(account, &tenants::names(change)?))
}

fn view(account: Account, names: &HashMap<TenantId, String>) -> AccountView {
    AccountView {
        id: account.id,
        name: account.name,
        tenant: account.tenant.map(|tenant| names.get(&tenant).cloned().unwrap_or_default()),
        role: account.role,
        has_password: account.password.is_some(),
        created_at: account.created_at,
        changed_at: account.changed_at,
        disabled_at: account.disabled_at,
        issuer: account.link.map(|link| link.issuer),
    }
}

/// By which of its moments a provider may have spoken before this one of ours.
fn said_until(now: Timestamp) -> Timestamp {
    now.plus_ms(LEEWAY_MS)
}

fn checked_name(name: &str) -> Result<&str, RegistryError> {
    let fits = !name.is_empty()
        && name.trim() == name
        && name.chars().count() <= MOST_NAME_CHARS
        && !name.chars().any(char::is_control);
    let rule = "1 to 255 characters, no blank before or after it, no control character.";
    if !fits {
        return Err(RegistryError::invalid("name", rule));
    }
    not_dots("name", name)?;
    Ok(name)
}
