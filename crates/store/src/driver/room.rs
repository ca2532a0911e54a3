//! Room on the disk: the reserve file, and whether there is room for anything that grows.
//!
//! SQLite cannot even open a database on a full disk. So 8 MiB are kept in a file of their own and given
//! up at the first write that finds the disk full: opening, reading, deleting and a checkpoint then go
//! on. Until they are taken back, nothing that grows is written.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::StoreError;

const RESERVE_BYTES: u64 = 8 << 20;
/// With less than this the disk counts as full.
const FULL_BELOW_BYTES: u64 = 1 << 20;
/// With this much the reserve is taken back, even where a quarter of the file system is more.
const PLENTY_BYTES: u64 = 64 << 20;
/// The reserve and half as much again: the least with which it is taken back.
const LEAST_BYTES: u64 = 12 << 20;

/// The room on the disk that holds the databases.
pub(crate) struct Room {
    dir: PathBuf,
    short: AtomicBool,
}

impl Room {
    /// Looks at the disk. A full one gets the reserve at once, so that the databases can be opened.
    pub(crate) fn open(dir: &Path) -> Result<Room, StoreError> {
        let room = Room { dir: dir.to_owned(), short: AtomicBool::new(true) };
        if room.is_out() {
            room.give_up();
        } else if room.reserve_is_whole() {
            room.short.store(false, Ordering::Release);
        } else {
            room.take_back()?;
        }
        Ok(room)
    }

    /// The room of a database that is elsewhere: it says itself when it is full.
    pub(crate) fn elsewhere() -> Room {
        Room { dir: PathBuf::new(), short: AtomicBool::new(false) }
    }

    /// Whether nothing that grows may be written.
    pub(crate) fn is_short(&self) -> bool {
        self.short.load(Ordering::Acquire)
    }

    /// # Errors
    /// [`StoreError::Full`] while nothing that grows may be written.
    pub(crate) fn to_grow(&self) -> Result<(), StoreError> {
        if self.is_short() { Err(StoreError::Full) } else { Ok(()) }
    }

    /// What an error means on this disk: with no room left, every failed write is a full disk.
    pub(crate) fn judge(&self, error: StoreError) -> StoreError {
        let full = matches!(error, StoreError::Full) || self.is_out();
        if full {
            self.give_up();
        }
        match error {
            StoreError::Unavailable(_) if full => StoreError::Full,
            error => error,
        }
    }

    /// Takes the reserve back once there is plenty of room.
    pub(crate) fn take_back(&self) -> Result<(), StoreError> {
        if self.is_short() && self.free_bytes()? >= self.plenty_bytes()? {
            match write_reserve(&self.reserve()) {
                Ok(()) => self.short.store(false, Ordering::Release),
                Err(error) => self.discard(&error),
            }
        }
        Ok(())
    }

    /// The size a write-ahead log may reach before it is cut: small disks get small logs.
    pub(crate) fn share(&self, wanted_bytes: u64) -> u64 {
        let total = rustix::fs::statvfs(&self.dir).map_or(u64::MAX, |disk| disk.f_blocks * disk.f_frsize);
        wanted_bytes.min(total / 16)
    }

    fn give_up(&self) {
        if self.short.swap(true, Ordering::AcqRel) && !self.reserve().exists() {
            return;
        }
        tracing::error!(
            "the disk is full: the reserve is given up, nothing new is recorded until there is room"
        );
        if let Err(error) = fs::remove_file(self.reserve()) {
            tracing::warn!(%error, "the reserve file could not be removed");
        }
    }

    fn discard(&self, error: &io::Error) {
        tracing::warn!(%error, "the reserve could not be taken back");
        if let Err(error) = fs::remove_file(self.reserve()) {
            tracing::warn!(%error, "the reserve file could not be removed");
        }
    }

    fn is_out(&self) -> bool {
        self.free_bytes().is_ok_and(|free| free < FULL_BELOW_BYTES)
    }

    fn free_bytes(&self) -> Result<u64, StoreError> {
        let disk = rustix::fs::statvfs(&self.dir).map_err(io::Error::from)?;
        Ok(disk.f_bavail * disk.f_frsize)
    }

    fn plenty_bytes(&self) -> Result<u64, StoreError> {
        let disk = rustix::fs::statvfs(&self.dir).map_err(io::Error::from)?;
        let quarter = disk.f_blocks * disk.f_frsize / 4;
        Ok(quarter.clamp(LEAST_BYTES, PLENTY_BYTES))
    }

    fn reserve_is_whole(&self) -> bool {
        fs::metadata(self.reserve()).is_ok_and(|file| file.len() == RESERVE_BYTES)
    }

    fn reserve(&self) -> PathBuf {
        self.dir.join("reserve")
    }
}

/// Written out, not only declared: a hole in a file holds no room.
fn write_reserve(path: &Path) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    let block = vec![0; 1 << 20];
    for _ in 0..RESERVE_BYTES >> 20 {
        file.write_all(&block)?;
    }
    file.sync_all()
}
