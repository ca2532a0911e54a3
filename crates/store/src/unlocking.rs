//! What operators do with the keys of a store: unlocking, rotating, giving up.

use std::sync::Arc;

use domain::{Secret, Timestamp};

use crate::driver::{Database, Synchronous, params};
use crate::open::instance;
use crate::secrets::{Kek, KeySource, Keys, Progress, Vault, Verified, Walk};
use crate::{Change, NewEntry, Options, Store, StoreError, journal, open, tables};

impl Store {
    /// As [`Store::open`], with keys that may be missing: then the store is locked, and can be read as far as
    /// that needs no secret, until [`Store::unlock`].
    ///
    /// # Errors
    /// As [`Store::open`], without those that a missing key-encryption key would be the reason of.
    #[expect(clippy::needless_pass_by_value, reason = "as `open`")]
    pub fn open_with(
        options: Options,
        keks: Arc<dyn KeySource>,
        now: Timestamp,
    ) -> Result<Store, StoreError> {
        open::open(&options, keks, now, Synchronous::default())
    }

    /// The first thing that a journal says after a restore is that there was one.
    fn note_restore(&self, now: Timestamp) -> Result<(), StoreError> {
        let text = "SELECT next FROM counters WHERE name = 'restored'";
        let Some(at) = self.0.main.read(|sql| sql.first(text, params![], |row| row.int(0)))? else {
            return Ok(());
        };
        self.write(|change: &mut Change<'_>| {
            change.sql.execute("DELETE FROM counters WHERE name = 'restored'", params![])?;
            let detail = serde_json::json!({ "restored_at_ms": at });
            let (kind, actor) = ("restored".to_owned(), "server:restore".to_owned());
            let what = journal::What::Audit { kind, actor, detail };
            change.append(&NewEntry { tenant: None, device: None, what }, now)
        })
    }

    pub(crate) fn unlocked(self) -> Result<Store, StoreError> {
        match self.why_locked() {
            Some(why) => Err(StoreError::SecretUnreadable(why)),
            None => Ok(self),
        }
    }

    /// Tries again to open the server's own keys, with whatever key-encryption keys are at hand now, and with
    /// a passphrase where there is one.
    ///
    /// # Errors
    /// [`StoreError::SecretUnreadable`] with what is missing; what the databases say.
    pub fn unlock(&self, passphrase: Option<&Secret>, now: Timestamp) -> Result<(), StoreError> {
        let mut locked = self.0.locked.lock();
        if self.0.keys.get().is_some() {
            // A key of before may still want its passphrase.
            return self.0.vault.offering(passphrase, || self.0.vault.refresh(now));
        }
        match self.0.vault.offering(passphrase, || open_keys(&self.0.main, &self.0.vault, now)) {
            Ok(keys) => {
                // Nobody else sets it: `locked` is held.
                let _ = self.0.keys.set(keys);
                locked.clear();
                self.note_restore(now)
            }
            Err(error) => {
                *locked = error.to_string();
                Err(error)
            }
        }
    }

    /// Why the secrets are locked; `None` where they are not.
    pub fn why_locked(&self) -> Option<String> {
        match self.0.keys.get() {
            Some(_) => None,
            None => Some(self.0.locked.lock().clone()),
        }
    }

    /// The key-encryption keys that there are, and were, in the order in which they were added.
    ///
    /// # Errors
    /// What the database says.
    pub fn keks(&self) -> Result<Vec<Kek>, StoreError> {
        self.0.vault.keks()
    }

    /// Takes another key-encryption key from where keys come from; it seals from now on. Its id.
    ///
    /// # Errors
    /// [`StoreError::SecretUnreadable`] with why there is none; what the database says.
    pub fn add_kek(&self, passphrase: Option<&Secret>, now: Timestamp) -> Result<String, StoreError> {
        self.0.vault.offering(passphrase, || self.0.vault.add_key(now))
    }

    /// Notes that a key-encryption key is used no more. `Some` with the number of values that need it, where
    /// there are any: then it stays.
    ///
    /// # Errors
    /// What the database says.
    pub fn retire_kek(&self, id: &str, now: Timestamp) -> Result<Option<u64>, StoreError> {
        self.0.vault.retire(id, now)
    }

    /// Begins a walk over the sealed values, or goes on with one that was stopped. [`Store::maintain`] takes
    /// it further, after a restart too.
    ///
    /// # Errors
    /// What the database says.
    pub fn begin_walk(&self, walk: Walk, rate: u32, now: Timestamp) -> Result<(), StoreError> {
        self.0.vault.begin_walk(walk, rate, now)
    }

    /// Stops a walk where it stands.
    ///
    /// # Errors
    /// What the database says.
    pub fn stop_walk(&self, walk: Walk, now: Timestamp) -> Result<(), StoreError> {
        self.0.vault.stop_walk(walk, now)
    }

    /// Takes the walks that are on a bit further: a `share`-th of what they may do in a second.
    ///
    /// # Errors
    /// What the database says; a walk goes on where it stood.
    pub fn walk_on(&self, share: u32, now: Timestamp) -> Result<(), StoreError> {
        if self.0.keys.get().is_some() { self.0.vault.walk_on(share, now) } else { Ok(()) }
    }

    /// How far the walks have come, those that ended among them.
    ///
    /// # Errors
    /// What the database says.
    pub fn walks(&self) -> Result<Vec<Progress>, StoreError> {
        self.0.vault.walks()
    }

    /// Opens every sealed value, and tells which do not open.
    ///
    /// # Errors
    /// What the database says.
    pub fn verify_secrets(&self) -> Result<Verified, StoreError> {
        self.0.vault.verify()
    }

    /// Gives up what does not open. Where the server's own keys are among it they are made anew, which voids
    /// every credential, group secret and operator token: devices are expected again, secrets and tokens gone.
    /// How many values were dropped, and whether the keys were made anew.
    ///
    /// # Errors
    /// What the databases say; it may be repeated then.
    pub fn reset_secrets(
        &self,
        passphrase: Option<&Secret>,
        now: Timestamp,
    ) -> Result<(u64, bool), StoreError> {
        let done = self.0.vault.offering(passphrase, || self.reset(now))?;
        self.unlock(None, now)?;
        Ok(done)
    }

    /// What [`Store::reset_secrets`] would give up.
    ///
    /// # Errors
    /// What the database says.
    pub fn would_reset(&self) -> Result<(u64, bool), StoreError> {
        let anew = self.0.keys.get().is_none() && !self.0.vault.own_keys_open()?;
        Ok((self.0.vault.verify()?.unreadable, anew))
    }

    fn reset(&self, now: Timestamp) -> Result<(u64, bool), StoreError> {
        self.0.vault.refresh(now)?;
        let anew = self.0.keys.get().is_none() && !self.0.vault.own_keys_open()?;
        if anew {
            // Rows first: what they name is gone already, and without them nothing names it.
            self.0.main.write(tables::void_credentials)?;
            self.0.vault.make_own_keys(now)?;
        }
        Ok((self.0.vault.drop_unreadable()?, anew))
    }
}

/// Opens the server's keys. They are made only where the main database has never been used with others:
/// new keys would make every credential void without anybody having said so.
fn open_keys(main: &Database, vault: &Vault, now: Timestamp) -> Result<Keys, StoreError> {
    vault.refresh(now)?;
    let ours = main.read(instance)?;
    if ours.is_none() {
        vault.first_key(now)?;
    }
    let keys = Keys::open(vault, ours.is_none(), now)?;
    if ours.is_none() {
        let theirs = vault.instance()?;
        main.write(|sql| {
            sql.execute("INSERT INTO instance (id) VALUES (?) ON CONFLICT DO NOTHING", params![&theirs])
        })?;
    }
    Ok(keys)
}
