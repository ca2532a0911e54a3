//! Profiles and their group secrets.

mod saving;
mod settings;

use std::collections::HashMap;

use domain::profile::{Joining, NamePattern, PreProvisionedCredentials};
use domain::{
    CredentialKeys, GroupSecret, Profile, ProfileId, Reprovision, Secret, SecretId, Strategy, TenantId,
    Timestamp, Verifier, Version,
};
use ipnet::IpNet;
use zeroize::Zeroizing;

use super::{Change, View, freezes};
use crate::StoreError;
use crate::driver::{Param, Row, Sql, params};
use crate::error::storable;
use crate::secrets::{Place, Unsealed, random};

/// A profile as it stands in the registry.
#[derive(Clone, Debug)]
pub struct ProfileRow {
    /// Its settings and its secrets, the newest first.
    pub profile: Profile,
    /// When it was made.
    pub created_at: Timestamp,
    /// When each of its secrets was made, in the same order.
    pub secrets_created_at: Vec<Timestamp>,
    /// What operators' programs keep with it, and we only give back.
    pub notes: Option<String>,
    /// How often operators saved it after it was made.
    pub saves: u64,
    /// Whether devices for which no profile was named belong to it.
    pub is_default: bool,
}

/// A profile to be made. Its first secret is added by [`Change::add_group_secret`].
#[derive(Clone, Copy, Debug)]
pub struct NewProfile<'a> {
    /// The tenant it belongs to.
    pub tenant: TenantId,
    /// Its name, unique in the tenant.
    pub name: &'a str,
    /// The identifier that devices send, unique over all tenants.
    pub provision_key: &'a str,
    /// Who may come in.
    pub strategy: Strategy,
    /// What happens when a provisioned device asks again.
    pub reprovision: Reprovision,
    /// For how long the same is told again, in milliseconds.
    pub redelivery_window_ms: u64,
    /// Whether an expected device may bring credentials of its own.
    pub pre_provisioned_credentials: PreProvisionedCredentials,
    /// What joining takes beside the proof.
    pub joining: &'a Joining,
    /// The grace period of leaving, in milliseconds.
    pub grace_period_ms: u64,
}

/// A group secret to be sealed, or new limits for one.
#[derive(Clone, Debug, Default)]
pub struct SecretLimits {
    /// The moment from which on it admits nobody.
    pub expires_at: Option<Timestamp>,
    /// How many devices it may provision from now on.
    pub uses_left: Option<u64>,
    /// The networks that may use it; empty means all.
    pub networks: Vec<IpNet>,
    /// What names must match, whole.
    pub name_pattern: Option<NamePattern>,
}

const COLUMNS: &str = "id, tenant, name, strategy, reprovision, redelivery_window_ms,
    pre_provisioned_credentials, provision_key, version, created_at, settings, notes, saves,
    is_default";

impl View<'_> {
    /// The profiles of a tenant, by name.
    ///
    /// # Errors
    /// What the database says.
    pub fn profiles(&self, tenant: TenantId) -> Result<Vec<ProfileRow>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM profiles WHERE tenant = ? ORDER BY name");
        self.sql.query(&sql, params![tenant], |row| read(self.sql, row))
    }

    /// The profile of that name.
    ///
    /// # Errors
    /// What the database says.
    pub fn profile_by_name(&self, tenant: TenantId, name: &str) -> Result<Option<ProfileRow>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM profiles WHERE tenant = ? AND name = ?");
        self.sql.first(&sql, params![tenant, name], |row| read(self.sql, row))
    }

    /// The profile of that number, of whatever tenant.
    ///
    /// # Errors
    /// What the database says.
    pub fn profile_by_id(&self, id: ProfileId) -> Result<Option<ProfileRow>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM profiles WHERE id = ?");
        self.sql.first(&sql, params![id], |row| read(self.sql, row))
    }

    /// Whether a profile of any tenant has this provision key.
    ///
    /// # Errors
    /// What the database says.
    pub fn provision_key_is_taken(&self, key: &str) -> Result<bool, StoreError> {
        self.sql.exists("SELECT 1 FROM profiles WHERE provision_key = ?", params![key])
    }
}

impl Change<'_> {
    /// Makes a profile whose name and provision key are free.
    ///
    /// # Errors
    /// What the database says, also where name or key are taken.
    pub fn create_profile(&mut self, new: &NewProfile<'_>, now: Timestamp) -> Result<ProfileId, StoreError> {
        let sql = "INSERT INTO profiles (tenant, name, strategy, reprovision, redelivery_window_ms,
                       pre_provisioned_credentials, provision_key, version, created_at, settings)
                   VALUES (?, ?, ?, ?, ?, ?, ?, 1, ?, ?) RETURNING id";
        let settings = settings::write(new.joining, new.grace_period_ms)?;
        let params = params![
            new.tenant,
            storable(new.name, "the profile's name")?,
            new.strategy.word(),
            new.reprovision.word(),
            new.redelivery_window_ms,
            new.pre_provisioned_credentials.word(),
            storable(new.provision_key, "the provision key")?,
            now,
            settings.as_deref(),
        ];
        self.sql.one(sql, params, |row| row.unsigned(0).map(ProfileId))
    }

    /// Writes the settings of a profile (not its name, key or secrets) if it still is at `profile.version`,
    /// which rises. `false` where it is not, or where there is none.
    ///
    /// # Errors
    /// What the database says.
    pub fn update_profile(&mut self, profile: &Profile) -> Result<bool, StoreError> {
        let sql = "UPDATE profiles SET strategy = ?, reprovision = ?, redelivery_window_ms = ?,
                       pre_provisioned_credentials = ?, settings = ?, version = version + 1,
                       saves = coalesce(saves, 0) + 1
                   WHERE id = ? AND tenant = ? AND version = ?";
        let settings = settings::write(&profile.joining, profile.grace_period_ms)?;
        let params = params![
            profile.strategy.word(),
            profile.reprovision.word(),
            profile.redelivery_window_ms,
            profile.pre_provisioned_credentials.word(),
            settings.as_deref(),
            profile.id,
            profile.tenant,
            profile.version,
        ];
        Ok(self.sql.execute(sql, params)? > 0)
    }

    /// Seals a new group secret and gives it to a profile, whose version rises.
    ///
    /// # Errors
    /// What the database says; [`StoreError::Corrupt`] where there is no such profile.
    pub fn add_group_secret(
        &mut self,
        tenant: TenantId,
        profile: ProfileId,
        clear: &Secret,
        limits: &SecretLimits,
        now: Timestamp,
    ) -> Result<SecretId, StoreError> {
        self.raise_version(tenant, profile)?;
        let verifier = self.keys.verifier(storable(clear.expose(), "the provision secret")?);
        let generation = u64::from_be_bytes(*random()?);
        let sql = "INSERT INTO group_secrets (tenant, profile, verifier, generation, created_at)
                   VALUES (?, ?, ?, ?, ?) RETURNING id";
        let params = params![tenant, profile, &verifier, generation, now];
        let id = self.sql.one(sql, params, |row| row.unsigned(0).map(SecretId))?;
        write_limits(self.sql, tenant, id, limits)?;
        // Synced in its own file before the row that names it can be committed.
        let clear = Zeroizing::new(clear.expose().as_bytes().to_vec());
        self.vault.seal(&[Unsealed { place: Place::of_group_secret(tenant, id, generation), clear }], now)?;
        Ok(id)
    }

    /// Sets the limits of a group secret anew; its profile's version rises. `false` where there is none.
    ///
    /// # Errors
    /// What the database says.
    pub fn limit_group_secret(
        &mut self,
        tenant: TenantId,
        secret: SecretId,
        limits: &SecretLimits,
    ) -> Result<bool, StoreError> {
        let Some((profile, _)) = self.profile_of(tenant, secret)? else { return Ok(false) };
        write_limits(self.sql, tenant, secret, limits)?;
        self.raise_version(tenant, profile)?;
        Ok(true)
    }

    /// Takes a group secret away; its profile's version rises and its sealed value goes. `false` where
    /// there is none.
    ///
    /// # Errors
    /// What the database says.
    pub fn remove_group_secret(&mut self, tenant: TenantId, secret: SecretId) -> Result<bool, StoreError> {
        let Some((profile, generation)) = self.profile_of(tenant, secret)? else { return Ok(false) };
        let sql = "DELETE FROM group_secrets WHERE id = ? AND tenant = ?";
        self.sql.execute(sql, params![secret, tenant])?;
        self.raise_version(tenant, profile)?;
        self.voided.push(Place::of_group_secret(tenant, secret, generation));
        Ok(true)
    }

    fn profile_of(&self, tenant: TenantId, secret: SecretId) -> Result<Option<(ProfileId, u64)>, StoreError> {
        let sql = "SELECT profile, generation FROM group_secrets WHERE id = ? AND tenant = ?";
        let read = |row: &Row<'_>| Ok((ProfileId(row.unsigned(0)?), row.unsigned(1)?));
        self.sql.first(sql, params![secret, tenant], read)
    }

    fn raise_version(&self, tenant: TenantId, profile: ProfileId) -> Result<(), StoreError> {
        let sql = "UPDATE profiles SET version = version + 1 WHERE id = ? AND tenant = ?";
        match self.sql.execute(sql, params![profile, tenant])? {
            0 => Err(StoreError::corrupt("a secret of a profile that is not there", profile)),
            _ => Ok(()),
        }
    }
}

/// The profile that a device names by its provision key.
pub(crate) fn by_provision_key(sql: Sql<'_>, key: &str) -> Result<Option<Profile>, StoreError> {
    let text = format!("SELECT {COLUMNS} FROM profiles WHERE provision_key = ?");
    Ok(sql.first(&text, params![key], |row| read(sql, row))?.map(|row| row.profile))
}

/// The version at which a profile stands, and its name; `None` where it is gone.
pub(crate) fn standing(
    sql: Sql<'_>,
    tenant: TenantId,
    profile: ProfileId,
) -> Result<Option<(Version, String)>, StoreError> {
    let text = "SELECT version, name FROM profiles WHERE id = ? AND tenant = ?";
    let read = |row: &Row<'_>| Ok((Version(row.unsigned(0)?), row.string(1)?));
    sql.first(text, params![profile, tenant], read)
}

/// The uses that a secret has left; `None` where it is not limited, or gone.
pub(crate) fn uses_left(sql: Sql<'_>, secret: SecretId) -> Result<Option<u64>, StoreError> {
    let text = "SELECT uses_left FROM group_secrets WHERE id = ?";
    Ok(sql.first(text, params![secret], |row| row.opt_unsigned(0))?.flatten())
}

/// As [`uses_left`], of many on PostgreSQL.
pub(crate) fn all_uses_left(sql: Sql<'_>, secrets: &[SecretId]) -> Result<Vec<Option<u64>>, StoreError> {
    let text = "SELECT id, uses_left FROM group_secrets WHERE id = ANY(?) AND uses_left IS NOT NULL";
    let wanted: Vec<i64> = secrets.iter().map(|secret| secret.0.cast_signed()).collect();
    let read = |row: &Row<'_>| Ok((SecretId(row.unsigned(0)?), row.unsigned(1)?));
    let found: HashMap<SecretId, u64> =
        sql.query(text, &[Param::array(&wanted)], read)?.into_iter().collect();
    Ok(secrets.iter().map(|secret| found.get(secret).copied()).collect())
}

/// Takes uses away that were counted before, in the same transaction.
pub(crate) fn spend(sql: Sql<'_>, secret: SecretId, left: u64) -> Result<(), StoreError> {
    sql.execute("UPDATE group_secrets SET uses_left = ? WHERE id = ?", params![left, secret])?;
    Ok(())
}

/// Whether a group secret's row names a sealed value.
pub(crate) fn names(sql: Sql<'_>, place: Place) -> Result<bool, StoreError> {
    let text = "SELECT 1 FROM group_secrets WHERE id = ? AND tenant = ? AND generation = ?";
    sql.exists(text, params![place.record, place.tenant, place.generation])
}

fn write_limits(
    sql: Sql<'_>,
    tenant: TenantId,
    secret: SecretId,
    limits: &SecretLimits,
) -> Result<(), StoreError> {
    let text = "UPDATE group_secrets SET expires_at = ?, uses_left = ?, networks = ?, name_pattern = ?
               WHERE id = ? AND tenant = ?";
    let pattern = limits.name_pattern.as_ref().map(|pattern| storable(pattern.text(), "the name pattern"));
    let networks = joined(&limits.networks);
    let pattern = pattern.transpose()?;
    let params = params![limits.expires_at, limits.uses_left, networks.as_ref(), pattern, secret, tenant];
    sql.execute(text, params)?;
    Ok(())
}

fn joined(networks: &[IpNet]) -> Option<String> {
    let texts: Vec<String> = networks.iter().map(ToString::to_string).collect();
    (!texts.is_empty()).then(|| texts.join(","))
}

fn read(sql: Sql<'_>, row: &Row<'_>) -> Result<ProfileRow, StoreError> {
    let (id, tenant) = (ProfileId(row.unsigned(0)?), TenantId(row.unsigned(1)?));
    let (mut secrets, secrets_created_at): (Vec<GroupSecret>, _) =
        secrets(sql, tenant, id)?.into_iter().unzip();
    let (frozen, frozen_secrets) = freezes::of_profile(sql, tenant, id)?;
    for secret in &mut secrets {
        secret.frozen = frozen_secrets.contains(&secret.id);
    }
    let (joining, grace_period_ms) = settings::read(row.opt_text(10)?)?;
    let profile = Profile {
        id,
        tenant,
        name: row.string(2)?,
        strategy: word("strategy", row.text(3)?, Strategy::from_word)?,
        reprovision: word("re-provisioning policy", row.text(4)?, Reprovision::from_word)?,
        redelivery_window_ms: row.unsigned(5)?,
        pre_provisioned_credentials: word(
            "credentials policy",
            row.text(6)?,
            PreProvisionedCredentials::from_word,
        )?,
        provision_key: row.string(7)?,
        secrets,
        joining,
        grace_period_ms,
        frozen,
        version: Version(row.unsigned(8)?),
    };
    Ok(ProfileRow {
        profile,
        created_at: row.time(9)?,
        secrets_created_at,
        notes: row.opt_string(11)?,
        saves: row.opt_unsigned(12)?.unwrap_or(0),
        is_default: row.opt_int(13)?.is_some(),
    })
}

fn secrets(
    sql: Sql<'_>,
    tenant: TenantId,
    profile: ProfileId,
) -> Result<Vec<(GroupSecret, Timestamp)>, StoreError> {
    let text = "SELECT id, verifier, expires_at, uses_left, networks, name_pattern, created_at
               FROM group_secrets WHERE tenant = ? AND profile = ? ORDER BY id DESC";
    sql.query(text, params![tenant, profile], |row| Ok((read_secret(row)?, row.time(6)?)))
}

fn read_secret(row: &Row<'_>) -> Result<GroupSecret, StoreError> {
    let mut secret = GroupSecret {
        id: SecretId(row.unsigned(0)?),
        verifier: Verifier(row.array(1)?),
        expires_at: row.opt_time(2)?,
        uses_left: row.opt_unsigned(3)?,
        networks: Vec::new(),
        name_pattern: None,
        frozen: false,
    };
    for network in row.opt_text(4)?.iter().flat_map(|joined| joined.split(',')) {
        secret.networks.push(network.parse().map_err(|_| StoreError::corrupt("the network", network))?);
    }
    if let Some(text) = row.opt_text(5)? {
        let parsed = NamePattern::parse(text).map_err(|_| StoreError::corrupt("the name pattern", text))?;
        secret.name_pattern = Some(parsed);
    }
    Ok(secret)
}

fn word<T>(what: &str, word: &str, parse: impl FnOnce(&str) -> Option<T>) -> Result<T, StoreError> {
    parse(word).ok_or_else(|| StoreError::corrupt(what, word))
}
