//! All SQL and all sealed secrets.
//!
//! A [`Store`] is a directory with three databases: `main.db` (tenants, operators, profiles, devices, the
//! journal), `secrets.db` (sealed secrets) and `telemetry.db` (what devices tell). Whatever a function here
//! has returned `Ok` for is synced to the disk.
//!
//! What devices reach takes slices and gives back many: one transaction, one read or one sync for all.
//! Operators' changes are closures over one transaction.
//!
//! Order between the files: a sealed value is synced before the row that names it is committed, and deleted
//! after that row is gone. A sealed value that no row names is swept after an hour.

mod driver;
mod error;
mod journal_chain;
mod record;
pub mod secrets;
mod tables;
pub mod telemetry;

use std::fs::{File, OpenOptions, TryLockError};
use std::ops::Range;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use domain::{DeviceKey, DeviceRecord, Profile, SecretId, TenantId, Timestamp, Verifier};
use parking_lot::{FairMutex, Mutex};

use driver::{Database, MAIN, Room, Setup, Sql, Synchronous, params};
use record::Recorder;
use secrets::{Keys, Kind, Place, Vault};
use tables::journal::Pen;
use tables::{devices, profiles, tenants};

#[cfg(feature = "test-durability")]
#[doc(hidden)]
pub use driver::Synchronous as TestSynchronous;
pub use error::StoreError;
pub use journal::{Head, NewEntry};
pub use record::{Entry, Lost, Recorded};
pub use secrets::{KeyProvider, LocalKek};
pub use tables::devices::DeviceRow;
pub use tables::journal;
pub use tables::operators::OperatorToken;
pub use tables::profiles::{NewProfile, ProfileRow, SecretLimits};
pub use tables::tenants::Tenant;
pub use tables::{Change, View};
pub use telemetry::{Latest, Sample, Scope, TelemetryStore, Value};

/// Page caches: the writer of `main.db` holds the index of names, which is what decides its speed.
const MAIN_CACHE_KIB: u32 = 128 << 10;
const TELEMETRY_CACHE_KIB: u32 = 32 << 10;
const SECRETS_CACHE_KIB: u32 = 8 << 10;
/// Sealed values that one step of sweeping looks at, and how long it rests when it has seen all.
const SWEPT_AT_ONCE: u32 = 500;
const SWEEP_REST_MS: u64 = 10 * 60 * 1000;

/// Which store.
#[derive(Clone, Debug)]
pub struct Options {
    /// The directory; made, for its owner only, where it is not there.
    pub dir: PathBuf,
    /// The name that this server's part of the journal is given at the first start.
    pub server: String,
}

/// The store. A clone is the same store; the last one to go closes it.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    main: Database,
    vault: Vault,
    telemetry: TelemetryStore,
    keys: Keys,
    room: Arc<Room>,
    /// Where the journal's chain ends in what is committed. Held by whoever appends to it.
    head: FairMutex<journal::Head>,
    swept: Mutex<Swept>,
    /// Keeps other processes out while we live.
    _lock: File,
}

/// How far sweeping has come, and until when it rests after a whole round.
#[derive(Default)]
struct Swept {
    place: Option<Place>,
    rests_until: Option<Timestamp>,
}

impl Store {
    /// Opens the store of a directory, or makes it.
    ///
    /// # Errors
    /// [`StoreError::InUse`] where another process has it open, [`StoreError::TooNew`] where a newer server
    /// has changed it, [`StoreError::SecretUnreadable`] where the key-encryption key or `secrets.db` do not
    /// belong to it.
    pub fn open(options: Options, kek: Arc<dyn KeyProvider>, now: Timestamp) -> Result<Store, StoreError> {
        open(options, kek, now, Synchronous::default())
    }

    /// A store that does not wait for the disk, to show that the crash tests would notice.
    ///
    /// # Errors
    /// As [`Store::open`].
    #[cfg(feature = "test-durability")]
    #[doc(hidden)]
    pub fn open_with(
        options: Options,
        kek: Arc<dyn KeyProvider>,
        now: Timestamp,
        synchronous: TestSynchronous,
    ) -> Result<Store, StoreError> {
        open(options, kek, now, synchronous)
    }

    /// The keys behind tokens and verifiers.
    pub fn keys(&self) -> &Keys {
        &self.0.keys
    }

    /// What devices tell.
    pub fn telemetry(&self) -> &TelemetryStore {
        &self.0.telemetry
    }

    /// Hands out numbers for new devices; none of them was ever handed out before, or will be again.
    ///
    /// # Errors
    /// What the database says.
    pub fn reserve_device_keys(&self, count: u64) -> Result<Range<u64>, StoreError> {
        self.with_reserve(|| self.0.main.write(|sql| tenants::reserve_device_keys(sql, count)))
    }

    /// The devices of these names; all of one moment, in the order of `names`.
    ///
    /// # Errors
    /// What the database says.
    pub fn gather(&self, names: &[(TenantId, &str)]) -> Result<Vec<Option<DeviceRecord>>, StoreError> {
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let named = |sql: Sql<'_>, (tenant, name): &(TenantId, &str)| devices::named(sql, *tenant, name);
        self.0.main.read_before_write(|sql| names.iter().map(|key| named(sql, key)).collect())
    }

    /// The uses that group secrets have left; `None` where one is not limited, or gone.
    ///
    /// # Errors
    /// What the database says.
    pub fn uses_left(&self, secrets: &[SecretId]) -> Result<Vec<Option<u64>>, StoreError> {
        self.each(secrets, |sql, secret| profiles::uses_left(sql, *secret))
    }

    /// Records decisions: one transaction, synced when this returns. What devices chose is sealed first.
    ///
    /// Each is recorded only if what it saw still stands: its name is free or its device unchanged, its
    /// profile is unchanged, its credentials are free, its secret has a use left. One loss leaves the
    /// others alone. Results are in the order of `entries`.
    ///
    /// # Errors
    /// [`StoreError::Full`], what the database says; then none of them is recorded.
    pub fn record(
        &self,
        entries: &[Entry<'_>],
        now: Timestamp,
    ) -> Result<Vec<Result<Recorded, Lost>>, StoreError> {
        self.0.room.to_grow()?;
        self.0.vault.seal(&record::to_seal(entries)?, now)?;
        self.chained(|sql, mut pen| {
            let results = Recorder::new(sql, &mut pen, now).record_all(entries)?;
            Ok((results, pen.head()))
        })
    }

    /// The devices of these keys, of whatever tenant, in the order of `keys`.
    ///
    /// # Errors
    /// What the database says.
    pub fn devices_by_key(&self, keys: &[DeviceKey]) -> Result<Vec<Option<DeviceRecord>>, StoreError> {
        self.each(keys, |sql, key| devices::by_key(sql, *key))
    }

    /// The devices that chose the credentials of these verifiers, in their order.
    ///
    /// # Errors
    /// What the database says.
    pub fn devices_by_verifier(
        &self,
        verifiers: &[Verifier],
    ) -> Result<Vec<Option<DeviceRecord>>, StoreError> {
        self.each(verifiers, devices::by_verifier)
    }

    /// The profile with this provision key, of whatever tenant.
    ///
    /// # Errors
    /// What the database says.
    pub fn profile_by_provision_key(&self, key: &str) -> Result<Option<Profile>, StoreError> {
        self.0.main.read(|sql| profiles::by_provision_key(sql, key))
    }

    /// Journals things that changed no device: one transaction, synced when this returns.
    ///
    /// # Errors
    /// [`StoreError::Full`], what the database says; then none of them is journalled.
    pub fn append(&self, entries: &[NewEntry], now: Timestamp) -> Result<(), StoreError> {
        self.0.room.to_grow()?;
        self.chained(|_, mut pen| {
            entries.iter().try_for_each(|entry| pen.append(entry, now))?;
            Ok(((), pen.head()))
        })
    }

    /// Reads for an operator: all of one moment. `f` may run again, so it only reads.
    ///
    /// # Errors
    /// What `f` says, what the database says.
    pub fn read<T>(&self, mut f: impl FnMut(&View<'_>) -> Result<T, StoreError>) -> Result<T, StoreError> {
        self.0.main.read(|sql| f(&View { sql }))
    }

    /// An operator's change: one transaction, synced when this returns. `f` may run again, so it only
    /// reads, decides and writes. Where it fails, nothing has happened.
    ///
    /// # Errors
    /// What `f` says, what the database says.
    pub fn write<T, E: From<StoreError>>(
        &self,
        mut f: impl FnMut(&mut Change<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        self.with_reserve(|| self.write_once(&mut f))
    }

    fn write_once<T, E: From<StoreError>>(
        &self,
        f: &mut impl FnMut(&mut Change<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut refused = None;
        let written = self.chained(|sql, pen| {
            let mut change = Change::new(sql, &self.0.keys, &self.0.vault, &self.0.room, pen);
            match f(&mut change) {
                Ok(value) => Ok(((value, std::mem::take(&mut change.voided)), change.pen.head())),
                Err(error) => {
                    refused = Some(error);
                    Err(StoreError::Unavailable("the change was not made".to_owned()))
                }
            }
        });
        match (written, refused) {
            (Ok((value, voided)), _) => {
                self.delete_sealed(&voided);
                Ok(value)
            }
            (Err(_), Some(refused)) => Err(refused),
            (Err(error), None) => Err(error.into()),
        }
    }

    /// Looks after the store: checkpoints, the reserve on the disk, orphaned sealed values, old telemetry.
    /// Meant to be called many times a second, on a thread that nobody waits for.
    ///
    /// # Errors
    /// The first thing that failed; the rest was done all the same.
    pub fn maintain(&self, now: Timestamp) -> Result<(), StoreError> {
        let inner = &*self.0;
        let done = [
            inner.main.tend(),
            inner.vault.tend(),
            inner.telemetry.tend(),
            inner.room.take_back(),
            self.sweep(now),
            inner.telemetry.prune(now),
        ];
        done.into_iter().collect()
    }

    /// Walks along the whole journal. With `known` heads it also sees whether its end was cut off.
    ///
    /// # Errors
    /// What the database says. What is wrong with the journal is no error but in the answer.
    pub fn verify_journal(&self, known: Option<&[Head]>) -> Result<journal::Verification, StoreError> {
        let main = &self.0.main;
        let writers = main.read(journal::writers)?;
        journal::verify(&self.0.keys, known.unwrap_or_default(), |f| main.read(f), &writers)
    }

    /// The ends of the journal's chains, to be kept elsewhere.
    ///
    /// # Errors
    /// What the database says.
    pub fn journal_heads(&self) -> Result<Vec<Head>, StoreError> {
        self.0.main.read(journal::heads)
    }

    /// Moves all logs into their files, as closing does.
    ///
    /// # Errors
    /// What the databases say.
    pub fn checkpoint(&self) -> Result<(), StoreError> {
        self.0.checkpoint()
    }

    fn each<K, T>(
        &self,
        keys: &[K],
        one: impl Fn(Sql<'_>, &K) -> Result<T, StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        self.0.main.read(|sql| keys.iter().map(|key| one(sql, key)).collect())
    }

    /// Runs `f` again where it failed because the disk was full and the reserve was given up for it.
    fn with_reserve<T, E>(&self, mut f: impl FnMut() -> Result<T, E>) -> Result<T, E> {
        let was_short = self.0.room.is_short();
        let done = f();
        if done.is_err() && !was_short && self.0.room.is_short() { f() } else { done }
    }

    /// A transaction that appends to the journal. The chain moves on only once it is committed.
    fn chained<T>(
        &self,
        mut f: impl for<'c> FnMut(Sql<'c>, Pen<'c>) -> Result<(T, journal::Head), StoreError>,
    ) -> Result<T, StoreError> {
        let mut head = self.0.head.lock();
        let (value, end) = self.0.main.write(|sql| f(sql, Pen::new(sql, &self.0.keys, &head)))?;
        *head = end;
        Ok(value)
    }

    /// Their rows are gone, so whatever fails here is swept later.
    fn delete_sealed(&self, places: &[Place]) {
        if let Err(error) = self.0.vault.delete(places) {
            tracing::warn!(%error, values = places.len(), "sealed values wait to be swept");
        }
    }

    /// Looks at the next sealed values and deletes those that no row names.
    fn sweep(&self, now: Timestamp) -> Result<(), StoreError> {
        let mut swept = self.0.swept.lock();
        if swept.rests_until.is_some_and(|until| now < until) {
            return Ok(());
        }
        let settled = self.0.vault.settled(swept.place, SWEPT_AT_ONCE, now)?;
        let orphans = self.0.main.read(|sql| orphans(sql, &settled))?;
        self.0.vault.delete(&orphans)?;
        swept.place = settled.last().copied();
        // A round reads every sealed value: often enough is once in a while.
        swept.rests_until = settled.is_empty().then(|| now.plus_ms(SWEEP_REST_MS));
        Ok(())
    }
}

impl Inner {
    fn checkpoint(&self) -> Result<(), StoreError> {
        self.vault.checkpoint()?;
        self.main.checkpoint()?;
        self.telemetry.checkpoint()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Err(error) = self.checkpoint() {
            // Nothing is lost: the logs are read at the next start.
            tracing::warn!(%error, "the databases' logs could not be moved into their files");
        }
    }
}

fn open(
    Options { dir, server }: Options,
    kek: Arc<dyn KeyProvider>,
    now: Timestamp,
    synchronous: Synchronous,
) -> Result<Store, StoreError> {
    let lock = enter(&dir)?;
    let room = Arc::new(Room::open(&dir)?);
    let setup = |cache_kib, secure_delete| Setup { dir: dir.clone(), cache_kib, secure_delete, synchronous };
    let vault = Vault::open(&setup(SECRETS_CACHE_KIB, true), &room, kek)?;
    let main = Database::open(&setup(MAIN_CACHE_KIB, false), &MAIN, &room)?;
    let telemetry = TelemetryStore::open(&setup(TELEMETRY_CACHE_KIB, false), &room)?;
    let keys = open_keys(&main, &vault, now)?;
    let largest = vault.largest_device()?.max(telemetry.largest_device()?);
    let head = main.write(|sql| {
        tenants::ensure_default(sql, now)?;
        tenants::skip_device_keys(sql, largest.max(devices::largest_key(sql)?))?;
        journal::continue_chain(sql, &server, now)
    })?;
    // New files have their names only once their directory is synced.
    File::open(&dir)?.sync_all()?;
    let inner = Inner {
        main,
        vault,
        telemetry,
        keys,
        room,
        head: FairMutex::new(head),
        swept: Mutex::default(),
        _lock: lock,
    };
    Ok(Store(Arc::new(inner)))
}

/// Makes the directory and keeps other processes out of it.
fn enter(dir: &Path) -> Result<File, StoreError> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    let lock = OpenOptions::new().create(true).append(true).mode(0o600).open(dir.join("lock"))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(StoreError::InUse(dir.display().to_string())),
        Err(TryLockError::Error(error)) => Err(error.into()),
    }
}

/// Opens the server's keys. They are made only where the main database has never been used with others:
/// new keys would make every credential void without anybody having said so.
fn open_keys(main: &Database, vault: &Vault, now: Timestamp) -> Result<Keys, StoreError> {
    let ours = main.read(instance)?;
    let theirs = vault.instance()?;
    if ours.as_ref().is_some_and(|ours| *ours != theirs) {
        let what = "secrets.db does not belong to this main.db: restore the two that were copied together";
        return Err(StoreError::SecretUnreadable(what.to_owned()));
    }
    let keys = Keys::open(vault, ours.is_none(), now)?;
    if ours.is_none() {
        main.write(|sql| sql.execute("INSERT INTO instance (id) VALUES (?)", params![&theirs]))?;
    }
    Ok(keys)
}

fn instance(sql: Sql<'_>) -> Result<Option<String>, StoreError> {
    sql.first("SELECT id FROM instance", params![], |row| row.string(0))
}

fn orphans(sql: Sql<'_>, places: &[Place]) -> Result<Vec<Place>, StoreError> {
    let mut orphans = Vec::new();
    for place in places {
        let named = match place.kind {
            Kind::GroupSecret => profiles::names(sql, *place)?,
            _ => devices::names(sql, *place)?,
        };
        if !named {
            orphans.push(*place);
        }
    }
    Ok(orphans)
}
