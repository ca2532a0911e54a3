//! The keys of the house: key-encryption keys and what they seal. For operators of the whole server.

use domain::Secret;
use serde_json::json;
use store::{Change, Kek, Progress, StoreError, Verified, Walk};

use super::journal::Deed;
use super::{Operator, Registry, RegistryError, What};

/// How it stands with the secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretsView {
    /// Why they are locked; `None` where they are open.
    pub locked: Option<String>,
    /// The key-encryption keys that there are, and were.
    pub keks: Vec<Kek>,
    /// How far the walks over the sealed values have come.
    pub walks: Vec<Progress>,
}

/// What giving up on secrets costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reset {
    /// Sealed values that are dropped.
    pub dropped: u64,
    /// Whether the server's own keys are made anew, which voids every credential, group secret and token.
    pub keys_made: bool,
}

/// Values a second that a walk may change: more would fill the disk's time.
const MOST_RATE: u32 = 100_000;

impl Registry {
    /// Why the secrets are locked; `None` where they are open.
    pub fn why_locked(&self) -> Option<String> {
        self.store.why_locked()
    }

    /// Opens the secrets with the keys that are at hand, and lets the first admin in.
    ///
    /// # Errors
    /// What is missing; what the store says.
    pub fn unlock_by_itself(&self) -> Result<(), RegistryError> {
        self.open_secrets(None)
    }

    /// Opens the secrets, by a passphrase where there is one. Where they are open already, a passphrase brings
    /// back an older key.
    ///
    /// # Errors
    /// `right-missing`, `kek-unavailable`.
    pub fn unlock(&self, operator: &Operator, passphrase: Option<&Secret>) -> Result<(), RegistryError> {
        operator.require_server()?;
        let was_locked = self.why_locked().is_some();
        self.open_secrets(passphrase)?;
        if was_locked {
            self.note(operator, "secrets-unlocked", &json!({}))?;
        }
        Ok(())
    }

    /// The keys and the walks over what they seal. Answers while the secrets are locked, too.
    ///
    /// # Errors
    /// `right-missing`; what the store says.
    pub fn secrets(&self, operator: &Operator) -> Result<SecretsView, RegistryError> {
        operator.require_server()?;
        Ok(SecretsView { locked: self.why_locked(), keks: self.store.keks()?, walks: self.store.walks()? })
    }

    /// Takes another key-encryption key, which seals from now on. Its id.
    ///
    /// # Errors
    /// `right-missing`, `kek-unavailable`, `secrets-locked`.
    pub fn add_kek(&self, operator: &Operator, passphrase: Option<&Secret>) -> Result<String, RegistryError> {
        operator.require_server()?;
        self.store.keys()?;
        let id = self.store.add_kek(passphrase, self.now()).map_err(unavailable)?;
        self.note(operator, "kek-added", &json!({ "kek": id }))?;
        Ok(id)
    }

    /// Retires a key-encryption key that nothing needs. Backups from before still need it.
    ///
    /// # Errors
    /// `right-missing`, `kek-not-found`, `kek-needed`.
    pub fn retire_kek(&self, operator: &Operator, id: &str, dry_run: bool) -> Result<(), RegistryError> {
        operator.require_server()?;
        self.store.keys()?;
        let keks = self.store.keks()?;
        let kek = keks.into_iter().find(|kek| kek.id == id && kek.retired_at.is_none());
        let kek = kek.ok_or_else(|| RegistryError::not_found(What::Kek, id))?;
        if kek.values > 0 || kek.active {
            return Err(RegistryError::KekNeeded { id: kek.id, values: kek.values });
        }
        if dry_run {
            return Ok(());
        }
        match self.store.retire_kek(id, self.now())? {
            Some(values) => Err(RegistryError::KekNeeded { id: kek.id, values }),
            None => self.note(operator, "kek-retired", &json!({ "kek": id })),
        }
    }

    /// Begins a walk over the sealed values at so many a second, or stops it where there is no rate.
    ///
    /// # Errors
    /// `right-missing`, `value-invalid`, `secrets-locked`.
    pub fn walk(&self, operator: &Operator, walk: Walk, rate: Option<u32>) -> Result<(), RegistryError> {
        operator.require_server()?;
        let Some(rate) = rate else {
            self.store.stop_walk(walk, self.now())?;
            return self.note(operator, "walk-stopped", &json!({ "walk": walk.word() }));
        };
        if !(1..=MOST_RATE).contains(&rate) {
            return Err(RegistryError::invalid(
                "rate",
                format!("it takes 1 to {MOST_RATE} values a second."),
            ));
        }
        self.store.keys()?;
        self.store.begin_walk(walk, rate, self.now())?;
        self.note(operator, "walk-begun", &json!({ "walk": walk.word(), "rate": rate }))
    }

    /// Opens every sealed value, and tells which do not open.
    ///
    /// # Errors
    /// `right-missing`; what the store says.
    pub fn verify_secrets(&self, operator: &Operator) -> Result<Verified, RegistryError> {
        operator.require_server()?;
        Ok(self.store.verify_secrets()?)
    }

    /// Gives up what does not open: for a key that is lost for good.
    ///
    /// # Errors
    /// `right-missing`, `kek-unavailable`.
    pub fn reset_secrets(
        &self,
        operator: &Operator,
        passphrase: Option<&Secret>,
        dry_run: bool,
    ) -> Result<Reset, RegistryError> {
        operator.require_server()?;
        let (dropped, keys_made) = if dry_run {
            self.store.would_reset()?
        } else {
            self.store.reset_secrets(passphrase, self.now()).map_err(unavailable)?
        };
        if !dry_run {
            self.ensure_admin()?;
            (self.profiles_changed)();
            self.note(operator, "secrets-reset", &json!({ "dropped": dropped, "keys_made": keys_made }))?;
        }
        Ok(Reset { dropped, keys_made })
    }

    fn open_secrets(&self, passphrase: Option<&Secret>) -> Result<(), RegistryError> {
        let was_locked = self.why_locked().is_some();
        self.store.unlock(passphrase, self.now()).map_err(unavailable)?;
        if was_locked {
            self.ensure_admin()?;
            tracing::info!("the secrets are open");
        }
        Ok(())
    }

    fn note(
        &self,
        operator: &Operator,
        kind: &'static str,
        detail: &serde_json::Value,
    ) -> Result<(), RegistryError> {
        self.store.write(|change: &mut Change<'_>| {
            self.journal(change, operator, &Deed::of(None, kind, detail.clone()))
        })
    }
}

fn unavailable(error: StoreError) -> RegistryError {
    match error {
        StoreError::SecretUnreadable(why) => RegistryError::KekUnavailable(why),
        error => error.into(),
    }
}
