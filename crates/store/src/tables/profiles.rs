//! Profiles and their group secrets.

use domain::profile::{NamePattern, PreProvisionedCredentials};
use domain::{
    CredentialKeys, GroupSecret, Profile, ProfileId, Reprovision, Secret, SecretId, Strategy, TenantId,
    Timestamp, Verifier, Version,
};
use ipnet::IpNet;
use rusqlite::{Connection, OptionalExtension, Row, params};
use zeroize::Zeroizing;

use super::{Change, View};
use crate::StoreError;
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
    pre_provisioned_credentials, provision_key, version, created_at";

impl View<'_> {
    /// The profiles of a tenant, by name.
    ///
    /// # Errors
    /// What the database says.
    pub fn profiles(&self, tenant: TenantId) -> Result<Vec<ProfileRow>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM profiles WHERE tenant = ? ORDER BY name");
        let mut statement = self.connection.prepare_cached(&sql)?;
        let mut rows = statement.query([tenant.0.cast_signed()])?;
        let mut profiles = Vec::new();
        while let Some(row) = rows.next()? {
            profiles.push(read(self.connection, row)?);
        }
        Ok(profiles)
    }

    /// The profile of that name.
    ///
    /// # Errors
    /// What the database says.
    pub fn profile_by_name(&self, tenant: TenantId, name: &str) -> Result<Option<ProfileRow>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM profiles WHERE tenant = ? AND name = ?");
        let mut statement = self.connection.prepare_cached(&sql)?;
        let mut rows = statement.query((tenant.0.cast_signed(), name))?;
        rows.next()?.map(|row| read(self.connection, row)).transpose()
    }

    /// The profile of that number, of whatever tenant.
    ///
    /// # Errors
    /// What the database says.
    pub fn profile_by_id(&self, id: ProfileId) -> Result<Option<ProfileRow>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM profiles WHERE id = ?");
        let mut statement = self.connection.prepare_cached(&sql)?;
        let mut rows = statement.query([id.0.cast_signed()])?;
        rows.next()?.map(|row| read(self.connection, row)).transpose()
    }

    /// Whether a profile of any tenant has this provision key.
    ///
    /// # Errors
    /// What the database says.
    pub fn provision_key_is_taken(&self, key: &str) -> Result<bool, StoreError> {
        Ok(self.connection.prepare_cached("SELECT 1 FROM profiles WHERE provision_key = ?")?.exists([key])?)
    }
}

impl Change<'_> {
    /// Makes a profile whose name and provision key are free.
    ///
    /// # Errors
    /// What the database says, also where name or key are taken.
    pub fn create_profile(&mut self, new: &NewProfile<'_>, now: Timestamp) -> Result<ProfileId, StoreError> {
        let sql = "INSERT INTO profiles (tenant, name, strategy, reprovision, redelivery_window_ms,
                       pre_provisioned_credentials, provision_key, version, created_at)
                   VALUES (?, ?, ?, ?, ?, ?, ?, 1, ?)";
        self.connection.execute(
            sql,
            params![
                new.tenant.0.cast_signed(),
                storable(new.name, "the profile's name")?,
                new.strategy.word(),
                new.reprovision.word(),
                new.redelivery_window_ms.cast_signed(),
                new.pre_provisioned_credentials.word(),
                storable(new.provision_key, "the provision key")?,
                now.0,
            ],
        )?;
        Ok(ProfileId(self.connection.last_insert_rowid().cast_unsigned()))
    }

    /// Writes the settings of a profile (not its name, key or secrets) if it still is at `profile.version`,
    /// which rises. `false` where it is not, or where there is none.
    ///
    /// # Errors
    /// What the database says.
    pub fn update_profile(&mut self, profile: &Profile) -> Result<bool, StoreError> {
        let sql = "UPDATE profiles SET strategy = ?, reprovision = ?, redelivery_window_ms = ?,
                       pre_provisioned_credentials = ?, version = version + 1
                   WHERE id = ? AND tenant = ? AND version = ?";
        let changed = self.connection.execute(
            sql,
            params![
                profile.strategy.word(),
                profile.reprovision.word(),
                profile.redelivery_window_ms.cast_signed(),
                profile.pre_provisioned_credentials.word(),
                profile.id.0.cast_signed(),
                profile.tenant.0.cast_signed(),
                profile.version.0.cast_signed(),
            ],
        )?;
        Ok(changed > 0)
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
                   VALUES (?, ?, ?, ?, ?)";
        let (tenant_bits, profile_bits) = (tenant.0.cast_signed(), profile.0.cast_signed());
        self.connection
            .execute(sql, params![tenant_bits, profile_bits, verifier.0, generation.cast_signed(), now.0])?;
        let id = SecretId(self.connection.last_insert_rowid().cast_unsigned());
        write_limits(self.connection, tenant, id, limits)?;
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
        write_limits(self.connection, tenant, secret, limits)?;
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
        self.connection.execute(sql, (secret.0.cast_signed(), tenant.0.cast_signed()))?;
        self.raise_version(tenant, profile)?;
        self.voided.push(Place::of_group_secret(tenant, secret, generation));
        Ok(true)
    }

    fn profile_of(&self, tenant: TenantId, secret: SecretId) -> Result<Option<(ProfileId, u64)>, StoreError> {
        let sql = "SELECT profile, generation FROM group_secrets WHERE id = ? AND tenant = ?";
        let read = |row: &Row<'_>| {
            let (profile, generation): (i64, i64) = (row.get(0)?, row.get(1)?);
            Ok((ProfileId(profile.cast_unsigned()), generation.cast_unsigned()))
        };
        let key = (secret.0.cast_signed(), tenant.0.cast_signed());
        Ok(self.connection.query_row(sql, key, read).optional()?)
    }

    fn raise_version(&self, tenant: TenantId, profile: ProfileId) -> Result<(), StoreError> {
        let sql = "UPDATE profiles SET version = version + 1 WHERE id = ? AND tenant = ?";
        match self.connection.execute(sql, (profile.0.cast_signed(), tenant.0.cast_signed()))? {
            0 => Err(StoreError::corrupt("a secret of a profile that is not there", profile)),
            _ => Ok(()),
        }
    }
}

/// The profile that a device names by its provision key.
pub(crate) fn by_provision_key(connection: &Connection, key: &str) -> Result<Option<Profile>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM profiles WHERE provision_key = ?");
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query([key])?;
    Ok(rows.next()?.map(|row| read(connection, row)).transpose()?.map(|row| row.profile))
}

/// The version at which a profile stands, and its name; `None` where it is gone.
pub(crate) fn standing(
    connection: &Connection,
    tenant: TenantId,
    profile: ProfileId,
) -> Result<Option<(Version, String)>, StoreError> {
    let sql = "SELECT version, name FROM profiles WHERE id = ? AND tenant = ?";
    let key = (profile.0.cast_signed(), tenant.0.cast_signed());
    let read = |row: &Row<'_>| Ok((Version(row.get::<_, i64>(0)?.cast_unsigned()), row.get(1)?));
    Ok(connection.prepare_cached(sql)?.query_row(key, read).optional()?)
}

/// The uses that a secret has left; `None` where it is not limited, or gone.
pub(crate) fn uses_left(connection: &Connection, secret: SecretId) -> Result<Option<u64>, StoreError> {
    let mut statement = connection.prepare_cached("SELECT uses_left FROM group_secrets WHERE id = ?")?;
    let left =
        statement.query_row([secret.0.cast_signed()], |row| row.get::<_, Option<i64>>(0)).optional()?;
    Ok(left.flatten().map(i64::cast_unsigned))
}

/// Takes uses away that were counted before, in the same transaction.
pub(crate) fn spend(connection: &Connection, secret: SecretId, left: u64) -> Result<(), StoreError> {
    let sql = "UPDATE group_secrets SET uses_left = ? WHERE id = ?";
    connection.prepare_cached(sql)?.execute((left.cast_signed(), secret.0.cast_signed()))?;
    Ok(())
}

/// Whether a group secret's row names a sealed value.
pub(crate) fn names(connection: &Connection, place: Place) -> Result<bool, StoreError> {
    let sql = "SELECT 1 FROM group_secrets WHERE id = ? AND tenant = ? AND generation = ?";
    let key = (place.record.cast_signed(), place.tenant.cast_signed(), place.generation.cast_signed());
    Ok(connection.prepare_cached(sql)?.exists(key)?)
}

fn write_limits(
    connection: &Connection,
    tenant: TenantId,
    secret: SecretId,
    limits: &SecretLimits,
) -> Result<(), StoreError> {
    let sql = "UPDATE group_secrets SET expires_at = ?, uses_left = ?, networks = ?, name_pattern = ?
               WHERE id = ? AND tenant = ?";
    let pattern = limits.name_pattern.as_ref().map(|pattern| storable(pattern.text(), "the name pattern"));
    connection.execute(
        sql,
        params![
            limits.expires_at.map(|end| end.0),
            limits.uses_left.map(u64::cast_signed),
            joined(&limits.networks),
            pattern.transpose()?,
            secret.0.cast_signed(),
            tenant.0.cast_signed(),
        ],
    )?;
    Ok(())
}

fn joined(networks: &[IpNet]) -> Option<String> {
    let texts: Vec<String> = networks.iter().map(ToString::to_string).collect();
    (!texts.is_empty()).then(|| texts.join(","))
}

fn read(connection: &Connection, row: &Row<'_>) -> Result<ProfileRow, StoreError> {
    let (strategy, reprovision, keep): (String, String, String) = (row.get(3)?, row.get(4)?, row.get(6)?);
    let (id, tenant) = (ProfileId(unsigned(row, 0)?), TenantId(unsigned(row, 1)?));
    let (secrets, secrets_created_at) = secrets(connection, tenant, id)?.into_iter().unzip();
    let profile = Profile {
        id,
        tenant,
        name: row.get(2)?,
        strategy: word("strategy", &strategy, Strategy::from_word)?,
        reprovision: word("re-provisioning policy", &reprovision, Reprovision::from_word)?,
        redelivery_window_ms: unsigned(row, 5)?,
        pre_provisioned_credentials: word("credentials policy", &keep, PreProvisionedCredentials::from_word)?,
        provision_key: row.get(7)?,
        secrets,
        version: Version(unsigned(row, 8)?),
    };
    Ok(ProfileRow { profile, created_at: Timestamp(row.get(9)?), secrets_created_at })
}

fn secrets(
    connection: &Connection,
    tenant: TenantId,
    profile: ProfileId,
) -> Result<Vec<(GroupSecret, Timestamp)>, StoreError> {
    let sql = "SELECT id, verifier, expires_at, uses_left, networks, name_pattern, created_at
               FROM group_secrets WHERE tenant = ? AND profile = ? ORDER BY id DESC";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query((tenant.0.cast_signed(), profile.0.cast_signed()))?;
    let mut secrets = Vec::new();
    while let Some(row) = rows.next()? {
        secrets.push((read_secret(row)?, Timestamp(row.get(6)?)));
    }
    Ok(secrets)
}

fn read_secret(row: &Row<'_>) -> Result<GroupSecret, StoreError> {
    let networks: Option<String> = row.get(4)?;
    let pattern: Option<String> = row.get(5)?;
    let mut secret = GroupSecret {
        id: SecretId(unsigned(row, 0)?),
        verifier: Verifier(row.get(1)?),
        expires_at: row.get::<_, Option<i64>>(2)?.map(Timestamp),
        uses_left: row.get::<_, Option<i64>>(3)?.map(i64::cast_unsigned),
        networks: Vec::new(),
        name_pattern: None,
    };
    for network in networks.iter().flat_map(|joined| joined.split(',')) {
        secret.networks.push(network.parse().map_err(|_| StoreError::corrupt("the network", network))?);
    }
    if let Some(text) = pattern {
        let parsed = NamePattern::parse(&text).map_err(|_| StoreError::corrupt("the name pattern", &text))?;
        secret.name_pattern = Some(parsed);
    }
    Ok(secret)
}

fn word<T>(what: &str, word: &str, parse: impl FnOnce(&str) -> Option<T>) -> Result<T, StoreError> {
    parse(word).ok_or_else(|| StoreError::corrupt(what, word))
}

fn unsigned(row: &Row<'_>, column: usize) -> Result<u64, StoreError> {
    Ok(row.get::<_, i64>(column)?.cast_unsigned())
}
