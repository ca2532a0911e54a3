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

pub mod backup;
mod chain;
mod changes;
mod driver;
mod error;
mod journal_chain;
mod open;
mod options;
mod presence;
mod record;
pub mod secrets;
mod tables;
pub mod telemetry;
mod unlocking;
mod upkeep;

use std::collections::HashSet;
use std::fs::File;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use domain::{
    DeviceKey, DeviceRecord, Generation, Profile, ProfileId, QuestionId, SecretId, StandingQuestion,
    TenantId, Timestamp, Verifier,
};
use parking_lot::{FairMutex, Mutex};

use chain::Shared;
use driver::{Database, Room, Sql, Synchronous};
use record::Recorder;
use secrets::{AtHand, Keys, Vault};
use tables::{attributes, devices, operations, profiles, questions, tenants};
use upkeep::Swept;

pub use changes::Changes;
#[cfg(feature = "test-durability")]
#[doc(hidden)]
pub use driver::Synchronous as TestSynchronous;
pub use error::StoreError;
pub use journal::{Head, NewEntry};
pub use options::{AddressField, Backend, Options, Postgres};
pub use record::{Entry, Lost, Recorded};
pub use secrets::{
    Kek, KekNote, KeyError, KeyProvider, KeySource, LocalKek, Progress, ToSeal, Verified, Walk,
};
pub use tables::accounts::{Account, Link, NewAccount};
pub use tables::attributes::{Attribute, AttributeScope};
pub use tables::devices::{
    Behind, DeviceOrder, DeviceRow, DeviceSearch, Searched, Selected, Selection, Told,
};
pub use tables::operations::{
    Advance, Advanced, Capacity, Claim, ClaimedStep, Finished, NewOperation, OperationQuery, OperationRow,
    OperationStatus, StepFault, StepResult, StepRow, Stranger,
};
pub use tables::operators::{NewOperatorToken, OperatorToken};
pub use tables::profiles::{NewProfile, ProfileRow, SecretLimits};
pub use tables::questions::{ClaimedQuestion, HookSaid, NewQuestion, QuestionRow, Said};
pub use tables::tenants::Tenant;
pub use tables::{Change, View};
pub use tables::{freezes::Freeze, freezes::Frozen, journal, once::Begun};
pub use telemetry::{LastValue, Latest, Sample, Scope, Stretch, TelemetryStore, Value};

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
    /// The number under which we write our part of the journal.
    writer: u64,
    /// Where the journal's chain ends in what is committed. Held by whoever appends to it.
    head: FairMutex<journal::Head>,
    swept: Mutex<Swept>,
    /// Words of newer servers of which the log has been told.
    told: Mutex<HashSet<String>>,
    /// On a PostgreSQL.
    shared: Option<Shared>,
    /// Keeps other processes out of the directory while we live.
    _lock: Option<File>,
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

    pub(crate) fn vault(&self) -> &Vault {
        &self.0.vault
    }

    /// Whether calls wait for another process: then no thread that others need may make them.
    pub fn is_remote(&self) -> bool {
        self.0.main.is_remote()
    }

    /// The name under which this server writes its part of the journal and holds leases.
    pub fn server(&self) -> &str {
        &self.0.server
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

    /// The attributes of a scope of a device, by key.
    ///
    /// # Errors
    /// What the database says.
    pub fn attributes_in(
        &self,
        device: DeviceKey,
        scope: AttributeScope,
    ) -> Result<Vec<Attribute>, StoreError> {
        self.0.main.peek(|sql| attributes::within(sql, device, scope))
    }

    /// Notes that whoever knows what `verifier` was made of may claim a device, until `expires_at`. The first
    /// claim stands until it has expired; `false` where one stands.
    ///
    /// # Errors
    /// [`StoreError::Full`], what the database says.
    pub fn claim(
        &self,
        (tenant, device): (TenantId, DeviceKey),
        verifier: &Verifier,
        expires_at: Timestamp,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        self.0.room.to_grow()?;
        if self.0.main.peek(|sql| attributes::is_claimed(sql, device, now))? {
            return Ok(false);
        }
        self.0.main.write(|sql| attributes::claim(sql, (tenant, device), verifier, expires_at, now))
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
        self.journalled(|sql, pen| Recorder::new(sql, pen, now).record_all(entries))
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

    /// Records what hooks said, and claims questions whose hook is due, as far as each has room.
    ///
    /// # Errors
    /// What the database says; then nothing is recorded or claimed.
    pub fn advance_questions(
        &self,
        answers: &[HookSaid],
        claim: Claim<'_>,
        now: Timestamp,
    ) -> Result<Vec<ClaimedQuestion>, StoreError> {
        self.journalled(|sql, pen| {
            questions::answer(sql, pen, answers, now)?;
            questions::claim(sql, claim, &self.0.server, now)
        })
    }

    /// Records results of steps, brings their operations and devices to where they stand, and claims what is
    /// due: one transaction, synced when this returns.
    ///
    /// # Errors
    /// What the database says; then nothing is recorded or claimed.
    pub fn advance(&self, advance: &Advance<'_>, now: Timestamp) -> Result<Advanced, StoreError> {
        let advanced =
            self.journalled(|sql, pen| operations::advance(sql, pen, advance, &self.0.server, now))?;
        self.tell_once(&advanced.strangers);
        Ok(advanced)
    }

    fn tell_once(&self, strangers: &[Stranger]) {
        for Stranger { key, word } in strangers {
            if self.0.told.lock().insert(word.clone()) {
                tracing::warn!(step = %key, word, "steps in a word of a newer server are left to that");
            }
        }
    }

    /// Takes up at once what a process of this server's name held when it ended.
    ///
    /// # Errors
    /// What the database says.
    pub fn release_own_steps(&self, now: Timestamp) -> Result<(), StoreError> {
        self.0.main.write(|sql| operations::release_own(sql, &self.0.server, now))
    }

    /// Lets hooks be asked again at once what a process of this server's name asked, or asks, and has no answer to.
    ///
    /// # Errors
    /// What the database says.
    pub fn release_own_questions(&self, now: Timestamp) -> Result<(), StoreError> {
        self.0.main.write(|sql| questions::release_own(sql, &self.0.server, now))
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

    /// Devices have shown that they hold credentials of a generation: what was owed to them until then is settled,
    /// unless they hold others by now.
    ///
    /// # Errors
    /// What the database says.
    pub fn connected(&self, logins: &[(DeviceKey, Generation)], now: Timestamp) -> Result<(), StoreError> {
        self.0.main.write(|sql| operations::connected(sql, logins, now))
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

    /// Reads for an operator: all of one moment. `f` may run again, so it only reads.
    ///
    /// # Errors
    /// What `f` says, what the database says.
    pub fn read<T>(&self, mut f: impl FnMut(&View<'_>) -> Result<T, StoreError>) -> Result<T, StoreError> {
        self.0.main.read(|sql| f(&View::of(sql)))
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
                Ok(value) => Ok(((value, change.voided), change.pen.entries())),
                Err(error) => {
                    refused = Some(error);
                    Err(StoreError::Unavailable("the change was not made".to_owned()))
                }
            }
        });
        match (written, refused) {
            (Ok(((value, voided), _)), _) => {
                self.delete_sealed(&voided);
                Ok(value)
            }
            (Err(_), Some(refused)) => Err(refused),
            (Err(error), None) => Err(error.into()),
        }
    }

    /// The moment it is by the clock that all servers share: the database's. On SQLite it is `local`.
    ///
    /// # Errors
    /// What the database says.
    pub fn now(&self, local: Timestamp) -> Result<Timestamp, StoreError> {
        self.0.main.peek(|sql| sql.now(local))
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
}
