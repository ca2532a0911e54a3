//! Profiles as operators save them: whole.

use domain::{Profile, ProfileId, SecretId, TenantId, Version};

use super::{COLUMNS, Change, ProfileRow, View, read, settings};
use crate::StoreError;
use crate::driver::params;
use crate::error::storable;
use crate::secrets::Place;

impl View<'_> {
    /// The profile of devices for which none was named.
    ///
    /// # Errors
    /// What the database says.
    pub fn default_profile(&self, tenant: TenantId) -> Result<Option<ProfileRow>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM profiles WHERE tenant = ? AND is_default IS NOT NULL");
        self.sql.first(&sql, params![tenant], |row| read(self.sql, row))
    }

    /// Whether a device belongs to a profile. Walks over the devices until one does.
    ///
    /// # Errors
    /// What the database says.
    pub fn profile_has_devices(&self, tenant: TenantId, profile: ProfileId) -> Result<bool, StoreError> {
        let sql = "SELECT 1 FROM devices WHERE tenant = ? AND namespace = '' AND profile = ? LIMIT 1";
        self.sql.exists(sql, params![tenant, profile])
    }
}

impl Change<'_> {
    /// Keeps what operators' programs say of a profile; its version stays.
    ///
    /// # Errors
    /// What the database says.
    pub fn keep_profile_notes(
        &mut self,
        tenant: TenantId,
        profile: ProfileId,
        notes: &str,
    ) -> Result<(), StoreError> {
        let sql = "UPDATE profiles SET notes = ? WHERE id = ? AND tenant = ?";
        self.sql.execute(sql, params![storable(notes, "what is kept with a profile")?, profile, tenant])?;
        Ok(())
    }

    /// Writes all of a profile but its secrets, if it still is at `profile.version`, which rises. Its name and its
    /// provision key are free. `false` where it is not, or where there is none.
    ///
    /// # Errors
    /// What the database says, also where name or key are taken.
    pub fn save_profile(&mut self, profile: &Profile, notes: Option<&str>) -> Result<bool, StoreError> {
        let sql = "UPDATE profiles SET name = ?, provision_key = ?, strategy = ?, reprovision = ?,
                       redelivery_window_ms = ?, pre_provisioned_credentials = ?, settings = ?, notes = ?,
                       version = version + 1, saves = coalesce(saves, 0) + 1
                   WHERE id = ? AND tenant = ? AND version = ?";
        let settings = settings::write(&profile.joining, profile.grace_period_ms)?;
        let notes = notes.map(|notes| storable(notes, "what is kept with a profile")).transpose()?;
        let params = params![
            storable(&profile.name, "the profile's name")?,
            storable(&profile.provision_key, "the provision key")?,
            profile.strategy.word(),
            profile.reprovision.word(),
            profile.redelivery_window_ms,
            profile.pre_provisioned_credentials.word(),
            settings.as_deref(),
            notes,
            profile.id,
            profile.tenant,
            profile.version,
        ];
        Ok(self.sql.execute(sql, params)? > 0)
    }

    /// From now on devices for which no profile was named belong to this one.
    ///
    /// # Errors
    /// What the database says.
    pub fn set_default_profile(&mut self, tenant: TenantId, profile: ProfileId) -> Result<(), StoreError> {
        let none = "UPDATE profiles SET is_default = NULL WHERE tenant = ? AND is_default IS NOT NULL";
        self.sql.execute(none, params![tenant])?;
        let this = "UPDATE profiles SET is_default = 1, saves = coalesce(saves, 0) + 1
                    WHERE id = ? AND tenant = ?";
        self.sql.execute(this, params![profile, tenant])?;
        Ok(())
    }

    /// The tenant's first default profile; its revision stays.
    ///
    /// # Errors
    /// What the database says, also where another server made one first.
    pub fn mark_default_profile(&mut self, tenant: TenantId, profile: ProfileId) -> Result<(), StoreError> {
        let sql = "UPDATE profiles SET is_default = 1 WHERE id = ? AND tenant = ?";
        self.sql.execute(sql, params![profile, tenant])?;
        Ok(())
    }

    /// Deletes a profile to which no device belongs, and its secrets. `false` where there is none.
    ///
    /// # Errors
    /// What the database says.
    pub fn delete_profile(&mut self, tenant: TenantId, profile: ProfileId) -> Result<bool, StoreError> {
        let secrets = "SELECT id, generation FROM group_secrets WHERE tenant = ? AND profile = ?";
        let places = self.sql.query(secrets, params![tenant, profile], |row| {
            Ok(Place::of_group_secret(tenant, SecretId(row.unsigned(0)?), row.unsigned(1)?))
        })?;
        for sql in [
            "DELETE FROM group_secrets WHERE tenant = ? AND profile = ?",
            "DELETE FROM questions WHERE tenant = ? AND profile = ?",
            "DELETE FROM freezes WHERE tenant = ? AND profile = ?",
        ] {
            self.sql.execute(sql, params![tenant, profile])?;
        }
        self.voided.extend(places);
        let sql = "DELETE FROM profiles WHERE tenant = ? AND id = ?";
        Ok(self.sql.execute(sql, params![tenant, profile])? > 0)
    }

    /// The version of a profile as it stands in this transaction.
    ///
    /// # Errors
    /// What the database says; [`StoreError::Corrupt`] where there is no such profile.
    pub fn profile_version(&self, tenant: TenantId, profile: ProfileId) -> Result<Version, StoreError> {
        let sql = "SELECT version FROM profiles WHERE id = ? AND tenant = ?";
        self.sql.one(sql, params![profile, tenant], |row| row.unsigned(0).map(Version))
    }
}
