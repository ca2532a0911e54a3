//! Opening a store: its files or schemas, its keys, its place in the journal.

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::sync::{Arc, OnceLock};

use domain::{Secret, Timestamp};
use parking_lot::{FairMutex, Mutex};

use crate::chain::Shared;
use crate::changes::Seen;
use crate::driver::postgres::{self, Address, Waiter};
use crate::driver::{Database, MAIN, Room, SECRETS, Setup, Sql, Synchronous, TELEMETRY, params};
use crate::presence::Presence;
use crate::secrets::{KeySource, Vault};
use crate::tables::{devices, journal, tenants};
use crate::{Backend, Inner, Options, Postgres, Store, StoreError, TelemetryStore};

/// Page caches: the writer of `main.db` holds the index of names, which is what decides its speed.
const MAIN_CACHE_KIB: u32 = 128 << 10;
const TELEMETRY_CACHE_KIB: u32 = 32 << 10;
const SECRETS_CACHE_KIB: u32 = 8 << 10;
/// Connections for secrets, and for telemetry: one writes, the others read.
const FEW_CONNECTIONS: usize = 4;
const PRESENCE_CONNECTIONS: usize = 2;

/// The databases of a store.
struct Databases {
    main: Database,
    secrets: Database,
    telemetry: Database,
    room: Arc<Room>,
    lock: Option<File>,
}

pub(crate) fn open(
    options: &Options,
    keks: Arc<dyn KeySource>,
    now: Timestamp,
    synchronous: Synchronous,
) -> Result<Store, StoreError> {
    match &options.backend {
        Backend::Directory => {
            let databases = directory(&options.dir, synchronous)?;
            let store = assemble(databases, None, keks, &options.server, now)?;
            // New files have their names only once their directory is synced.
            File::open(&options.dir)?.sync_all()?;
            Ok(store)
        }
        Backend::Postgres(place) => connect(place, keks, &options.server, now),
    }
}

fn directory(dir: &Path, synchronous: Synchronous) -> Result<Databases, StoreError> {
    let lock = enter(dir)?;
    let room = Arc::new(Room::open(dir)?);
    let setup =
        |cache_kib, secure_delete| Setup { dir: dir.to_owned(), cache_kib, secure_delete, synchronous };
    Ok(Databases {
        secrets: Database::open(&setup(SECRETS_CACHE_KIB, true), &SECRETS, &room)?,
        main: Database::open(&setup(MAIN_CACHE_KIB, false), &MAIN, &room)?,
        telemetry: Database::open(&setup(TELEMETRY_CACHE_KIB, false), &TELEMETRY, &room)?,
        lock: Some(lock),
        room,
    })
}

/// Servers that open the same database at once do so one after the other, and agree on what they find.
fn connect(
    place: &Postgres,
    keks: Arc<dyn KeySource>,
    server: &str,
    now: Timestamp,
) -> Result<Store, StoreError> {
    let root = place.root_certificate.as_deref();
    let parse = |url: &Secret| {
        let address = Address::parse(url, root, server).map_err(StoreError::Unavailable)?;
        if address.is_in_clear() {
            tracing::warn!("what is said to PostgreSQL may travel in clear: set sslmode=verify-full");
        }
        Ok::<_, StoreError>(address)
    };
    let address = parse(&place.url)?;
    let waiter = Waiter::start()?;
    let main = postgres::Database::open(&address, &MAIN, place.connections.max(2), &waiter)?;
    let secrets = place.secrets_url.as_ref().map(parse).transpose()?;
    let secrets = secrets.as_ref().unwrap_or(&address);
    let opening = main.opening()?;
    let presence = postgres::Database::join(&address, &MAIN, PRESENCE_CONNECTIONS, &waiter)?;
    let presence = Presence::enter(presence, server)?;
    let databases = Databases {
        secrets: Database::connect(secrets, &SECRETS, FEW_CONNECTIONS, &waiter)?,
        telemetry: Database::connect(&address, &TELEMETRY, FEW_CONNECTIONS, &waiter)?,
        main: Database::Postgres(main),
        room: Arc::new(Room::elsewhere()),
        lock: None,
    };
    let store = assemble(databases, Some(presence), keks, server, now);
    drop(opening);
    store
}

/// The schemas of a PostgreSQL, made where they are not there: main, secrets, telemetry.
pub(crate) fn schemas(place: &Postgres, server: &str) -> Result<[Database; 3], StoreError> {
    let root = place.root_certificate.as_deref();
    let parse = |url: &Secret| Address::parse(url, root, server).map_err(StoreError::Unavailable);
    let (address, waiter) = (parse(&place.url)?, Waiter::start()?);
    let secrets = place.secrets_url.as_ref().map(parse).transpose()?;
    Ok([
        Database::connect(&address, &MAIN, FEW_CONNECTIONS, &waiter)?,
        Database::connect(secrets.as_ref().unwrap_or(&address), &SECRETS, FEW_CONNECTIONS, &waiter)?,
        Database::connect(&address, &TELEMETRY, FEW_CONNECTIONS, &waiter)?,
    ])
}

fn assemble(
    Databases { main, secrets, telemetry, room, lock }: Databases,
    presence: Option<Presence>,
    keks: Arc<dyn KeySource>,
    server: &str,
    now: Timestamp,
) -> Result<Store, StoreError> {
    let vault = Vault::new(secrets, keks);
    let telemetry = TelemetryStore::new(telemetry, &room);
    must_belong_together(&main, &vault)?;
    let largest = vault.largest_device()?.max(telemetry.largest_device()?);
    let head = main.write(|sql| {
        tenants::ensure_default(sql, now)?;
        tenants::skip_device_keys(sql, largest.max(devices::largest_key(sql)?))?;
        journal::continue_chain(sql, server, now)
    })?;
    let seen = Seen::from(&main.read(journal::heads)?);
    let shared = presence.map(|presence| Shared { presence, seen: Mutex::new(seen), tied: Mutex::default() });
    let inner = Inner {
        main,
        vault,
        telemetry,
        keys: OnceLock::new(),
        locked: Mutex::default(),
        room,
        server: server.to_owned(),
        writer: head.position.writer,
        head: FairMutex::new(head),
        swept: Mutex::default(),
        told: Mutex::default(),
        shared,
        _lock: lock,
    };
    let store = Store(Arc::new(inner));
    match store.unlock(None, now) {
        Ok(()) | Err(StoreError::SecretUnreadable(_) | StoreError::Locked) => Ok(store),
        Err(error) => Err(error),
    }
}

/// Makes the directory and keeps other processes out of it.
pub(crate) fn enter(dir: &Path) -> Result<File, StoreError> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    let lock = OpenOptions::new().create(true).append(true).mode(0o600).open(dir.join("lock"))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(StoreError::InUse(dir.display().to_string())),
        Err(TryLockError::Error(error)) => Err(error.into()),
    }
}

fn must_belong_together(main: &Database, vault: &Vault) -> Result<(), StoreError> {
    let theirs = vault.instance()?;
    if main.read(instance)?.is_some_and(|ours| ours != theirs) {
        let what = "secrets.db does not belong to this main.db: restore the two that were copied together";
        return Err(StoreError::SecretUnreadable(what.to_owned()));
    }
    Ok(())
}

/// The word that ties the main database to its secrets; `None` before the first keys are made.
pub(crate) fn instance(sql: Sql<'_>) -> Result<Option<String>, StoreError> {
    sql.first("SELECT id FROM instance", params![], |row| row.string(0))
}
