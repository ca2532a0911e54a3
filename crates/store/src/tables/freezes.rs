//! Where provisioning is stopped: a tenant, one of its profiles, or one group secret of a profile.

use domain::{ProfileId, SecretId, TenantId, Timestamp};

use super::{Change, View};
use crate::StoreError;
use crate::driver::{Row, Sql, params};
use crate::error::storable;

/// What is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frozen {
    /// The tenant.
    pub tenant: TenantId,
    /// One of its profiles; `None` for all of them.
    pub profile: Option<ProfileId>,
    /// One of the profile's group secrets; `None` for all of them.
    pub secret: Option<SecretId>,
}

/// A stop, with who pulled it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Freeze {
    /// What is stopped.
    pub frozen: Frozen,
    /// Since when.
    pub since: Timestamp,
    /// Who stopped it.
    pub actor: String,
    /// Why, in the operator's words.
    pub reason: String,
}

impl Frozen {
    fn key(&self) -> (TenantId, u64, u64) {
        (self.tenant, self.profile.map_or(0, |profile| profile.0), self.secret.map_or(0, |secret| secret.0))
    }
}

impl View<'_> {
    /// What is stopped in a tenant, the widest first.
    ///
    /// # Errors
    /// What the database says.
    pub fn freezes(&self, tenant: TenantId) -> Result<Vec<Freeze>, StoreError> {
        let sql = "SELECT profile, secret, since, actor, reason FROM freezes WHERE tenant = ?
                   ORDER BY profile, secret";
        self.sql.query(sql, params![tenant], |row| read(tenant, row))
    }
}

impl Change<'_> {
    /// Stops something; what is stopped already stays as it is. Whatever is being decided now is decided anew.
    ///
    /// # Errors
    /// What the database says.
    pub fn freeze(&mut self, freeze: &Freeze) -> Result<(), StoreError> {
        let (tenant, profile, secret) = freeze.frozen.key();
        let sql =
            "INSERT INTO freezes (tenant, profile, secret, since, actor, reason) VALUES (?, ?, ?, ?, ?, ?)
                   ON CONFLICT DO NOTHING";
        let actor = storable(&freeze.actor, "an actor")?;
        let reason = storable(&freeze.reason, "a reason")?;
        self.sql.execute(sql, params![tenant, profile, secret, freeze.since, actor, reason])?;
        self.raise_versions(&freeze.frozen)
    }

    /// Lets something go on. `false` where it was not stopped.
    ///
    /// # Errors
    /// What the database says.
    pub fn thaw(&mut self, frozen: &Frozen) -> Result<bool, StoreError> {
        let (tenant, profile, secret) = frozen.key();
        let sql = "DELETE FROM freezes WHERE tenant = ? AND profile = ? AND secret = ?";
        let thawed = self.sql.execute(sql, params![tenant, profile, secret])? > 0;
        self.raise_versions(frozen)?;
        Ok(thawed)
    }

    fn raise_versions(&mut self, frozen: &Frozen) -> Result<(), StoreError> {
        let sql = "UPDATE profiles SET version = version + 1 WHERE tenant = ?";
        match frozen.profile {
            None => self.sql.execute(sql, params![frozen.tenant])?,
            Some(profile) => {
                self.sql.execute(&format!("{sql} AND id = ?"), params![frozen.tenant, profile])?
            }
        };
        Ok(())
    }
}

/// What of a profile is stopped: all of it, and by their numbers which of its secrets.
pub(super) fn of_profile(
    sql: Sql<'_>,
    tenant: TenantId,
    profile: ProfileId,
) -> Result<(bool, Vec<SecretId>), StoreError> {
    let text = "SELECT secret FROM freezes WHERE tenant = ? AND profile IN (0, ?)";
    let found = sql.query(text, params![tenant, profile], |row| row.unsigned(0))?;
    let secrets = found.iter().copied().filter(|secret| *secret != 0).map(SecretId).collect();
    Ok((found.contains(&0), secrets))
}

fn read(tenant: TenantId, row: &Row<'_>) -> Result<Freeze, StoreError> {
    let named = |number: u64| (number != 0).then_some(number);
    Ok(Freeze {
        frozen: Frozen {
            tenant,
            profile: named(row.unsigned(0)?).map(ProfileId),
            secret: named(row.unsigned(1)?).map(SecretId),
        },
        since: row.time(2)?,
        actor: row.string(3)?,
        reason: row.string(4)?,
    })
}
