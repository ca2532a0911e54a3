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
mod open;
mod record;
pub mod secrets;
mod tables;
pub mod telemetry;
mod unlocking;

use std::fs::File;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use domain::{
    DeviceKey, DeviceRecord, Profile, ProfileId, QuestionId, Secret, SecretId, StandingQuestion, TenantId,
    Timestamp, Verifier,
};
use parking_lot::{FairMutex, Mutex};

use driver::postgres::Address;
use driver::{Database, Room, Sql, Synchronous};
use record::Recorder;
use secrets::{AtHand, Keys, Kind, Place, Vault};
use tables::journal::Pen;
use tables::{devices, operations, profiles, questions, tenants};

#[cfg(feature = "test-durability")]
#[doc(hidden)]
pub use driver::Synchronous as TestSynchronous;
pub use error::StoreError;
pub use journal::{Head, NewEntry};
pub use record::{Entry, Lost, Recorded};
pub use secrets::{Kek, KekNote, KeyError, KeyProvider, KeySource, LocalKek, Progress, Verified, Walk};
pub use tables::devices::DeviceRow;
pub use tables::journal;
pub use tables::operations::{
    Advance, Advanced, Claim, ClaimedStep, Finished, NewOperation, OperationQuery, OperationRow,
    OperationStatus, StepFault, StepResult, StepRow,
};
pub use tables::operators::OperatorToken;
pub use tables::profiles::{NewProfile, ProfileRow, SecretLimits};
pub use tables::questions::{ClaimedQuestion, HookSaid, NewQuestion, QuestionRow, Said};
pub use tables::tenants::Tenant;
pub use tables::{Change, View};
pub use telemetry::{Latest, Sample, Scope, TelemetryStore, Value};

/// The rule that PostgreSQL names where an entry of the journal stands in the place of another one.
const JOURNAL_POSITION: &str = "journal_pkey";
/// Sealed values that one step of sweeping looks at, and how long it rests when it has seen all.
const SWEPT_AT_ONCE: u32 = 500;
const SWEEP_REST_MS: u64 = 10 * 60 * 1000;

/// Which store.
#[derive(Clone, Debug)]
pub struct Options {
    /// The directory; made, for its owner only, where it is not there. Not used with a PostgreSQL.
    pub dir: PathBuf,
    /// The name under which this server writes its part of the journal. On a PostgreSQL each has its own.
    pub server: String,
    /// What keeps the data.
    pub backend: Backend,
}

/// What keeps the data.
#[derive(Clone, Debug, Default)]
pub enum Backend {
    /// SQLite in files of the directory, for one server.
    #[default]
    Directory,
    /// A PostgreSQL, for one server or several.
    Postgres(Postgres),
}

/// How a PostgreSQL is reached.
#[derive(Clone, Debug)]
pub struct Postgres {
    /// `postgres://user:password@host/database?sslmode=…`, as `psql` takes it.
    pub url: Secret,
    /// The same for the sealed secrets, where they have a role or a database of their own.
    pub secrets_url: Option<Secret>,
    /// PEM certificates that the server's must lead to.
    pub root_certificate: Option<PathBuf>,
    /// Most connections for the main tables at a time; secrets and telemetry have a few of their own.
    pub connections: usize,
}

impl Postgres {
    /// Whether the addresses can be understood.
    ///
    /// # Errors
    /// Which is wrong and why, never the address itself: it may hold a password.
    pub fn check(&self) -> Result<(), (AddressField, String)> {
        let understood = |url: &Secret, field| {
            let address = Address::parse(url, self.root_certificate.as_deref(), "");
            address.map(drop).map_err(|told| (field, told))
        };
        understood(&self.url, AddressField::Url)?;
        self.secrets_url.as_ref().map_or(Ok(()), |url| understood(url, AddressField::SecretsUrl))
    }
}

/// Which address of a [`Postgres`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressField {
    /// That of the main tables.
    Url,
    /// That of the secrets.
    SecretsUrl,
}

/// The store. A clone is the same store; the last one to go closes it.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    main: Database,
    vault: Vault,
    telemetry: TelemetryStore,
    /// Not there while the secrets are locked.
    keys: OnceLock<Keys>,
    /// Held while they are being unlocked; why that failed last.
    locked: Mutex<String>,
    room: Arc<Room>,
    /// This server's name: in its journal, and on the leases it holds.
    server: String,
    /// Where the journal's chain ends in what is committed. Held by whoever appends to it.
    head: FairMutex<journal::Head>,
    swept: Mutex<Swept>,
    /// Keeps other processes out of the directory while we live.
    _lock: Option<File>,
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
    #[expect(clippy::needless_pass_by_value, reason = "who opens a store is done with its options")]
    pub fn open(options: Options, kek: Arc<dyn KeyProvider>, now: Timestamp) -> Result<Store, StoreError> {
        open::open(&options, Arc::new(AtHand(kek)), now, Synchronous::default())?.unlocked()
    }

    /// A store that does not wait for the disk, to show that the crash tests would notice.
    ///
    /// # Errors
    /// As [`Store::open`].
    #[cfg(feature = "test-durability")]
    #[doc(hidden)]
    #[expect(clippy::needless_pass_by_value, reason = "as `open`")]
    pub fn open_unsynced(
        options: Options,
        kek: Arc<dyn KeyProvider>,
        now: Timestamp,
        synchronous: TestSynchronous,
    ) -> Result<Store, StoreError> {
        open::open(&options, Arc::new(AtHand(kek)), now, synchronous)?.unlocked()
    }

    /// The keys behind tokens and verifiers.
    ///
    /// # Errors
    /// [`StoreError::Locked`] while the key-encryption key that opens them is not at hand.
    pub fn keys(&self) -> Result<&Keys, StoreError> {
        self.0.keys.get().ok_or(StoreError::Locked)
    }

    /// Whether calls wait for another process: then no thread that others need may make them.
    pub fn is_remote(&self) -> bool {
        self.0.main.is_remote()
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
        self.0.main.peek_before_write(|sql| match sql {
            Sql::Sqlite(_) => names.iter().map(|key| named(sql, key)).collect(),
            Sql::Postgres(_) => devices::batch::named(sql, names),
        })
    }

    /// The uses that group secrets have left; `None` where one is not limited, or gone.
    ///
    /// # Errors
    /// What the database says.
    pub fn uses_left(&self, secrets: &[SecretId]) -> Result<Vec<Option<u64>>, StoreError> {
        self.each(secrets, |sql, secret| profiles::uses_left(sql, *secret), profiles::all_uses_left)
    }

    /// Records decisions: one transaction, synced when this returns. What devices chose is sealed first.
    ///
    /// Each is recorded only if what it saw still stands: its name is free or its device unchanged, its
    /// profile is unchanged, its credentials are free, its secret has a use left. One loss leaves the
    /// others alone. One that the database does not take at all is found by halving, and is lost alone.
    /// Results are in the order of `entries`.
    ///
    /// # Errors
    /// [`StoreError::Full`], what the database says; then those that are not recorded are not.
    pub fn record(
        &self,
        entries: &[Entry<'_>],
        now: Timestamp,
    ) -> Result<Vec<Result<Recorded, Lost>>, StoreError> {
        self.0.room.to_grow()?;
        match (self.record_together(entries, now), entries) {
            (Err(StoreError::Unstorable(_)), [_]) => Ok(vec![Err(Lost::Unstorable)]),
            (Err(StoreError::Unstorable(_)), [_, _, ..]) => {
                let (front, back) = entries.split_at(entries.len() / 2);
                let mut results = self.record(front, now)?;
                results.extend(self.record_rest(back, now));
                Ok(results)
            }
            (outcome, _) => outcome,
        }
    }

    /// What comes behind others that are recorded: it cannot fail for them any more.
    fn record_rest(&self, entries: &[Entry<'_>], now: Timestamp) -> Vec<Result<Recorded, Lost>> {
        self.record(entries, now).unwrap_or_else(|error| {
            tracing::warn!(%error, "a part of a batch was not recorded; it is decided anew");
            vec![Err(Lost::DeviceChanged); entries.len()]
        })
    }

    fn record_together(
        &self,
        entries: &[Entry<'_>],
        now: Timestamp,
    ) -> Result<Vec<Result<Recorded, Lost>>, StoreError> {
        self.0.vault.seal(&record::to_seal(entries)?, now)?;
        self.chained(|sql, mut pen| {
            let results = Recorder::new(sql, &mut pen, now).record_all(entries)?;
            Ok((results, pen.finish()?))
        })
    }

    /// The questions that stand for names under profiles, in the order of `keys`.
    ///
    /// # Errors
    /// What the database says.
    pub fn standing_questions(
        &self,
        keys: &[(TenantId, ProfileId, &str)],
    ) -> Result<Vec<Option<StandingQuestion>>, StoreError> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        self.0.main.read(|sql| questions::standing(sql, keys))
    }

    /// What was said to questions, in the order of `ids`; `None` where one is gone.
    ///
    /// # Errors
    /// What the database says.
    pub fn verdicts(&self, ids: &[QuestionId]) -> Result<Vec<Option<StandingQuestion>>, StoreError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        self.0.main.read(|sql| questions::verdicts(sql, ids))
    }

    /// Records questions: one transaction, synced when this returns. One that stands already is joined. `None`
    /// where its tenant has too many that wait.
    ///
    /// # Errors
    /// [`StoreError::Full`], what the database says; then none of them is recorded.
    pub fn park(
        &self,
        questions: &[NewQuestion],
        now: Timestamp,
    ) -> Result<Vec<Option<QuestionId>>, StoreError> {
        self.0.room.to_grow()?;
        self.journalled(|sql, pen| questions::park(sql, pen, questions, now))
    }

    /// Records what hooks said, and claims at most `limit` questions whose hook is due, for `lease_ms`.
    ///
    /// # Errors
    /// What the database says; then nothing is recorded or claimed.
    pub fn advance_questions(
        &self,
        answers: &[HookSaid],
        claim: Claim,
        now: Timestamp,
    ) -> Result<Vec<ClaimedQuestion>, StoreError> {
        self.journalled(|sql, pen| {
            questions::answer(sql, pen, answers, now)?;
            questions::claim(sql, claim.limit, claim.lease_ms, now)
        })
    }

    /// Records results of steps, brings their operations and devices to where they stand, and claims what is
    /// due: one transaction, synced when this returns.
    ///
    /// # Errors
    /// What the database says; then nothing is recorded or claimed.
    pub fn advance(&self, advance: &Advance<'_>, now: Timestamp) -> Result<Advanced, StoreError> {
        self.journalled(|sql, pen| operations::advance(sql, pen, advance, &self.0.server, now))
    }

    /// Takes up at once what a process of this server's name held when it ended.
    ///
    /// # Errors
    /// What the database says.
    pub fn release_own_steps(&self, now: Timestamp) -> Result<(), StoreError> {
        self.0.main.write(|sql| operations::release_own(sql, &self.0.server, now))
    }

    /// Whether a step or a question can be taken up.
    ///
    /// # Errors
    /// What the database says.
    pub fn is_work_due(&self, now: Timestamp) -> Result<bool, StoreError> {
        self.0.main.read(|sql| operations::is_work_due(sql, now))
    }

    /// Where the joins of devices stand, in the order of `devices`; `None` where one's last operation is none.
    ///
    /// # Errors
    /// What the database says.
    pub fn operation_statuses(
        &self,
        devices: &[DeviceKey],
    ) -> Result<Vec<Option<OperationStatus>>, StoreError> {
        if devices.is_empty() {
            return Ok(Vec::new());
        }
        self.0.main.read(|sql| operations::statuses(sql, devices))
    }

    /// Devices have shown that they hold their credentials: what was owed to them until then is settled.
    ///
    /// # Errors
    /// What the database says.
    pub fn connected(&self, devices: &[DeviceKey], now: Timestamp) -> Result<(), StoreError> {
        self.0.main.write(|sql| operations::connected(sql, devices, now))
    }

    /// Ends at most `limit` leaves whose grace is over and whose neighbours all know. Returns how many.
    ///
    /// # Errors
    /// What the database says.
    pub fn complete_leaving(&self, limit: usize, now: Timestamp) -> Result<usize, StoreError> {
        let due = self.0.main.read(|sql| operations::is_leaving_due(sql, now))?;
        if !due {
            return Ok(0);
        }
        self.journalled(|sql, pen| operations::complete_leaving(sql, pen, limit, now))
    }

    /// The devices of these keys, of whatever tenant, in the order of `keys`.
    ///
    /// # Errors
    /// What the database says.
    pub fn devices_by_key(&self, keys: &[DeviceKey]) -> Result<Vec<Option<DeviceRecord>>, StoreError> {
        self.each(keys, |sql, key| devices::by_key(sql, *key), devices::batch::by_key)
    }

    /// The devices that chose the credentials of these verifiers, in their order.
    ///
    /// # Errors
    /// What the database says.
    pub fn devices_by_verifier(
        &self,
        verifiers: &[Verifier],
    ) -> Result<Vec<Option<DeviceRecord>>, StoreError> {
        self.each(verifiers, devices::by_verifier, devices::batch::by_verifier)
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
            Ok(((), pen.finish()?))
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
        let keys = self.keys()?;
        let mut refused = None;
        let written = self.chained(|sql, pen| {
            let mut change = Change::new(sql, keys, &self.0.vault, &self.0.room, pen);
            match f(&mut change) {
                Ok(value) => Ok(((value, std::mem::take(&mut change.voided)), change.pen.finish()?)),
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
            if inner.keys.get().is_some() { inner.vault.keep_fresh(now) } else { Ok(()) },
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
        journal::verify(self.keys()?, known.unwrap_or_default(), |f| main.read(f), &writers)
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
        all: impl Fn(Sql<'_>, &[K]) -> Result<Vec<T>, StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        self.0.main.peek(|sql| match sql {
            Sql::Sqlite(_) => keys.iter().map(|key| one(sql, key)).collect(),
            Sql::Postgres(_) => all(sql, keys),
        })
    }

    /// Runs `f` again where it failed because the disk was full and the reserve was given up for it.
    fn with_reserve<T, E>(&self, mut f: impl FnMut() -> Result<T, E>) -> Result<T, E> {
        let was_short = self.0.room.is_short();
        let done = f();
        if done.is_err() && !was_short && self.0.room.is_short() { f() } else { done }
    }

    /// As [`Store::chained`], for what needs no more than the pen.
    fn journalled<T>(
        &self,
        mut f: impl for<'c, 'p> FnMut(Sql<'c>, &'p mut Pen<'c>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.chained(|sql, mut pen| {
            let value = f(sql, &mut pen)?;
            Ok((value, pen.head()))
        })
    }

    /// A transaction that appends to the journal. The chain moves on only once it is committed.
    fn chained<T>(
        &self,
        mut f: impl for<'c> FnMut(Sql<'c>, Pen<'c>) -> Result<(T, journal::Head), StoreError>,
    ) -> Result<T, StoreError> {
        let keys = self.keys()?;
        let mut head = self.0.head.lock();
        let written = self.chained_from(keys, &mut head, &mut f);
        if !matches!(&written, Err(StoreError::Taken(rule)) if rule == JOURNAL_POSITION) {
            return written;
        }
        // A commit whose answer was lost was kept after all, so the chain ends elsewhere.
        let writer = head.position.writer;
        *head = self.0.main.read(|sql| journal::head(sql, writer))?;
        self.chained_from(keys, &mut head, &mut f)
    }

    fn chained_from<T>(
        &self,
        keys: &Keys,
        head: &mut journal::Head,
        f: &mut impl for<'c> FnMut(Sql<'c>, Pen<'c>) -> Result<(T, journal::Head), StoreError>,
    ) -> Result<T, StoreError> {
        let (value, end) = self.0.main.write(|sql| f(sql, Pen::new(sql, keys, head)))?;
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
