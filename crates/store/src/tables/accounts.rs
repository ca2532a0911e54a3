//! Local accounts of operators, and the sessions that they left before their end.

use domain::{Role, Secret, TenantId, Timestamp};

use super::{Change, View};
use crate::StoreError;
use crate::driver::{Row, Sql, params};
use crate::error::storable;

/// A person who may sign on.
#[derive(Clone, Debug)]
pub struct Account {
    /// Its number, never used twice.
    pub id: u64,
    /// The tenant it is limited to; `None` for the whole server.
    pub tenant: Option<TenantId>,
    /// What it signs on with: an e-mail address or another name, as it was typed.
    pub name: String,
    /// What its password is recognised by (Argon2id, as PHC text); `None` where no password opens it.
    pub password: Option<Secret>,
    /// What it may do.
    pub role: Role,
    /// Rises with every change that ends its sessions.
    pub epoch: u64,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was changed last.
    pub changed_at: Timestamp,
    /// Since when it is shut out.
    pub disabled_at: Option<Timestamp>,
    /// Whose word opens it, where it belongs to somebody whom a provider vouches for.
    pub link: Option<Link>,
}

/// By whose word an account is opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The provider, as it calls itself.
    pub issuer: String,
    /// What it calls the account's owner.
    pub subject: String,
    /// When it last gave its word.
    pub vouched_at: Timestamp,
}

/// What a new account is to be.
#[derive(Clone, Copy, Debug)]
pub struct NewAccount<'a> {
    /// As [`Account::tenant`].
    pub tenant: Option<TenantId>,
    /// As [`Account::name`].
    pub name: &'a str,
    /// As [`Account::password`].
    pub password: Option<&'a Secret>,
    /// As [`Account::role`].
    pub role: Role,
}

const COLUMNS: &str = "id, tenant, name, password, role, epoch, created_at, changed_at, disabled_at, \
                       issuer, subject, vouched_at";

impl View<'_> {
    /// All accounts, by name.
    ///
    /// # Errors
    /// What the database says.
    pub fn accounts(&self) -> Result<Vec<Account>, StoreError> {
        self.sql.query(&format!("SELECT {COLUMNS} FROM accounts ORDER BY name"), params![], read)
    }

    /// The account of that name.
    ///
    /// # Errors
    /// What the database says.
    pub fn account_by_name(&self, name: &str) -> Result<Option<Account>, StoreError> {
        // No name holds what the database cannot keep.
        let Ok(name) = storable(name, "an account's name") else { return Ok(None) };
        let sql = format!("SELECT {COLUMNS} FROM accounts WHERE name = ?{}", self.held);
        self.sql.first(&sql, params![name], read)
    }

    /// The account of that number.
    ///
    /// # Errors
    /// What the database says.
    pub fn account(&self, id: u64) -> Result<Option<Account>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM accounts WHERE id = ?{}", self.held);
        self.sql.first(&sql, params![id], read)
    }

    /// The account that a provider's word about a subject opens.
    ///
    /// # Errors
    /// What the database says.
    pub fn account_of_subject(&self, issuer: &str, subject: &str) -> Result<Option<Account>, StoreError> {
        let Ok(subject) = storable(subject, "a subject") else { return Ok(None) };
        let sql = format!("SELECT {COLUMNS} FROM accounts WHERE issuer = ? AND subject = ?{}", self.held);
        self.sql.first(&sql, params![issuer, subject], read)
    }

    /// Until when what a provider said of a subject counts no more: its account was removed, or lost its role.
    ///
    /// # Errors
    /// What the database says.
    pub fn subject_removed_at(&self, issuer: &str, subject: &str) -> Result<Option<Timestamp>, StoreError> {
        let Ok(subject) = storable(subject, "a subject") else { return Ok(None) };
        let sql = "SELECT removed_at FROM removed_subjects WHERE issuer = ? AND subject = ?";
        self.sql.first(sql, params![issuer, subject], |row| row.time(0))
    }

    /// Whether a session was left before its end.
    ///
    /// # Errors
    /// What the database says.
    pub fn session_has_ended(&self, session: &str) -> Result<bool, StoreError> {
        let Ok(session) = storable(session, "a session") else { return Ok(true) };
        self.sql.exists("SELECT 1 FROM ended_sessions WHERE session = ?", params![session])
    }
}

/// Ends the sessions of all accounts. An epoch is a moment, so that none comes again, whatever was restored or deleted.
pub(crate) fn end_sessions(sql: Sql<'_>, now: Timestamp) -> Result<(), StoreError> {
    sql.execute("UPDATE accounts SET epoch = ? WHERE epoch < ?", params![now, now])?;
    Ok(())
}

impl Change<'_> {
    /// Makes an account whose name is free, and returns its number.
    ///
    /// # Errors
    /// What the database says, also where the name is taken.
    pub fn create_account(&mut self, new: NewAccount<'_>, now: Timestamp) -> Result<u64, StoreError> {
        let sql = "INSERT INTO accounts (tenant, name, password, role, epoch, created_at, changed_at)
                   VALUES (?, ?, ?, ?, ?, ?, ?) RETURNING id";
        let name = storable(new.name, "an account's name")?;
        let password = new.password.map(Secret::expose);
        let row = params![new.tenant, name, password, new.role.word(), now, now, now];
        self.sql.one(sql, row, |row| row.unsigned(0))
    }

    /// Keeps an account as it is now: password, role, and whether it is shut out. Its sessions end.
    ///
    /// # Errors
    /// What the database says.
    pub fn set_account(&mut self, account: &Account, now: Timestamp) -> Result<(), StoreError> {
        let sql = "UPDATE accounts SET password = ?, role = ?, disabled_at = ?, changed_at = ?,
                   epoch = CASE WHEN epoch < ? THEN ? ELSE epoch + 1 END WHERE id = ?";
        let password = account.password.as_ref().map(Secret::expose);
        let row = params![password, account.role.word(), account.disabled_at, now, now, now, account.id];
        self.sql.execute(sql, row)?;
        Ok(())
    }

    /// Opens an account by a provider's word from now on.
    ///
    /// # Errors
    /// What the database says, also where another account is opened by the same word.
    pub fn link_account(&mut self, id: u64, link: &Link) -> Result<(), StoreError> {
        let sql = "UPDATE accounts SET issuer = ?, subject = ?, vouched_at = ? WHERE id = ?";
        let subject = storable(&link.subject, "a subject")?;
        self.sql.execute(sql, params![link.issuer.as_str(), subject, link.vouched_at, id])?;
        Ok(())
    }

    /// Takes an account from its owner until the provider gives a later word than the one of `at`. Its sessions end.
    ///
    /// # Errors
    /// What the database says.
    pub fn withdraw(&mut self, account: &Account, at: Timestamp, now: Timestamp) -> Result<(), StoreError> {
        if let Some(link) = &account.link {
            self.remove_subject(&link.issuer, &link.subject, at)?;
            self.set_account(account, now)?;
        }
        Ok(())
    }

    /// What was said of a subject until `at` counts no more; what counted no more before stays so.
    fn remove_subject(&mut self, issuer: &str, subject: &str, at: Timestamp) -> Result<(), StoreError> {
        let sql = "INSERT INTO removed_subjects (issuer, subject, removed_at) VALUES (?, ?, ?)
                   ON CONFLICT (issuer, subject) DO UPDATE SET removed_at = excluded.removed_at
                   WHERE removed_subjects.removed_at < excluded.removed_at";
        self.sql.execute(sql, params![issuer, subject, at])?;
        Ok(())
    }

    /// Notes a word of the provider, given at `said_at`. Where that changes the account's role or tenant, its
    /// sessions end.
    ///
    /// # Errors
    /// What the database says.
    pub fn vouch(
        &mut self,
        account: u64,
        role: Role,
        tenant: Option<TenantId>,
        said_at: Timestamp,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let Some(present) = self.account(account)? else { return Ok(()) };
        let sql = "UPDATE accounts SET vouched_at = ? WHERE id = ?";
        self.sql.execute(sql, params![said_at, account])?;
        if (present.role, present.tenant) != (role, tenant) {
            let sql = "UPDATE accounts SET role = ?, tenant = ?, changed_at = ?,
                       epoch = CASE WHEN epoch < ? THEN ? ELSE epoch + 1 END WHERE id = ?";
            self.sql.execute(sql, params![role.word(), tenant, now, now, now, account])?;
        }
        Ok(())
    }

    /// Deletes an account. Its number is not used again, and what a provider has said of its owner until `said_until`
    /// by its own clock does not open another one, nor does what it had said when the account last followed it.
    ///
    /// # Errors
    /// What the database says.
    pub fn delete_account(&mut self, id: u64, said_until: Timestamp) -> Result<(), StoreError> {
        if let Some(link) = self.account(id)?.and_then(|account| account.link) {
            self.remove_subject(&link.issuer, &link.subject, said_until.max(link.vouched_at))?;
        }
        self.sql.execute("DELETE FROM accounts WHERE id = ?", params![id])?;
        Ok(())
    }

    /// Ends a session before its time, and forgets those whose time is over anyway.
    ///
    /// # Errors
    /// What the database says.
    pub fn end_session(
        &mut self,
        session: &str,
        ends_at: Timestamp,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.sql.execute("DELETE FROM ended_sessions WHERE ends_at < ?", params![now])?;
        let sql = "INSERT INTO ended_sessions (session, ends_at) VALUES (?, ?) ON CONFLICT DO NOTHING";
        self.sql.execute(sql, params![storable(session, "a session")?, ends_at])?;
        Ok(())
    }
}

fn read(row: &Row<'_>) -> Result<Account, StoreError> {
    let link = match (row.opt_string(9)?, row.opt_string(10)?, row.opt_time(11)?) {
        (Some(issuer), Some(subject), Some(vouched_at)) => Some(Link { issuer, subject, vouched_at }),
        _ => None,
    };
    Ok(Account {
        id: row.unsigned(0)?,
        tenant: row.opt_unsigned(1)?.map(TenantId),
        name: row.string(2)?,
        password: row.opt_string(3)?.map(Secret::new),
        role: role(row, 4)?,
        epoch: row.unsigned(5)?,
        created_at: row.time(6)?,
        changed_at: row.time(7)?,
        disabled_at: row.opt_time(8)?,
        link,
    })
}

/// The role in a column.
pub(super) fn role(row: &Row<'_>, column: usize) -> Result<Role, StoreError> {
    let word = row.text(column)?;
    Role::from_word(word).ok_or_else(|| StoreError::corrupt("a role", word))
}
