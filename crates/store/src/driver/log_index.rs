//! The index of SQLite's write-ahead log: the `-shm` file, which is written through mapped memory.
//!
//! SQLite gives it room by one byte in each 4 KiB. Where the file system's blocks are smaller, as on a small
//! ext4, the rest is a hole until it is first written; and to write into a hole on a full disk is no error but a
//! signal (SIGBUS) that ends the process. So its room is taken beforehand.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::FallocateFlags;
use rustix::io::{Errno, retry_on_intr};

use super::sqlite::FRAME_BYTES;
use crate::StoreError;

/// One piece of the index, and the frames it tells of (SQLite's WAL format, section 2).
const PIECE_BYTES: u64 = 32 << 10;
const PIECE_FRAMES: u64 = 4096;

/// The index of one file's log.
///
/// The file stays open as long as the database is: closing it anywhere in the process gives up SQLite's own locks
/// on it, and the next program that opens the database would cut it under our hands.
pub(super) struct LogIndex {
    file: File,
    held_bytes: AtomicU64,
}

impl LogIndex {
    /// The index of the database at `path`, which is open in write-ahead mode.
    pub(super) fn open(path: &Path) -> Result<LogIndex, StoreError> {
        let file = File::options().read(true).write(true).open(beside(path, "-shm"))?;
        Ok(LogIndex { file, held_bytes: AtomicU64::new(0) })
    }

    /// Takes the room for a log of `log_bytes`, and for one twice as long, because it grows before the next look.
    ///
    /// # Errors
    /// [`StoreError::Full`] where there is none.
    pub(super) fn hold(&self, log_bytes: u64) -> Result<(), StoreError> {
        let wanted = (log_bytes / FRAME_BYTES / PIECE_FRAMES + 1) * 2 * PIECE_BYTES;
        if wanted <= self.held_bytes.load(Ordering::Relaxed) {
            return Ok(());
        }
        let asked = retry_on_intr(|| rustix::fs::fallocate(&self.file, FallocateFlags::empty(), 0, wanted));
        if matches!(asked, Err(Errno::NOSPC | Errno::DQUOT)) {
            return Err(StoreError::Full);
        }
        // With a file system that promises no room nothing is worse than without asking.
        self.held_bytes.store(wanted, Ordering::Relaxed);
        Ok(())
    }
}

/// A file that SQLite keeps beside the database at `path`.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.to_owned().into_os_string();
    name.push(suffix);
    name.into()
}
