//! Where the data lies and how fast it can be synced there.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

/// The file is as long as a write-ahead log that has found its size: it is overwritten, not lengthened.
const LENGTH: u64 = 4 << 20;
/// What is written before each sync: about as much as a batch of 64 provisionings.
const BLOCK: usize = 32 << 10;

/// The kind of file system of a folder.
///
/// # Errors
/// If it lives in memory: what is measured there says nothing.
pub fn file_system(folder: &Path) -> Result<String> {
    let kind = rustix::fs::statfs(folder)?.f_type as u64 & 0xffff_ffff;
    let name = match kind {
        0xef53 => "ext4",
        0x5846_5342 => "xfs",
        0x9123_683e => "btrfs",
        0xf2f5_2010 => "f2fs",
        0x794c_7630 => "overlay",
        0x2fc1_2fc1 => "zfs",
        0x0102_1994 => "tmpfs",
        0x8584_58f6 => "ramfs",
        _ => return Ok(format!("unknown kind {kind:#x}")),
    };
    let in_memory = matches!(name, "tmpfs" | "ramfs");
    ensure!(!in_memory, "{} is a {name}: choose a folder on a disk with --dir", folder.display());
    Ok(name.to_owned())
}

/// Writes of 32 KiB that are synced, a second.
///
/// # Errors
/// Those of the file system.
pub fn syncs_per_second(folder: &Path, duration: Duration) -> Result<f64> {
    let path = folder.join("fdatasync");
    let file = File::create(&path)?;
    let block = [0x5a; BLOCK];
    for offset in (0..LENGTH).step_by(BLOCK) {
        file.write_all_at(&block, offset)?;
    }
    file.sync_all()?;
    let (began, mut count) = (Instant::now(), 0_u64);
    while began.elapsed() < duration {
        file.write_all_at(&block, count * BLOCK as u64 % LENGTH)?;
        file.sync_data()?;
        count += 1;
    }
    let rate = count as f64 / began.elapsed().as_secs_f64();
    std::fs::remove_file(path)?;
    Ok(rate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_system_in_memory_is_refused() {
        let error = file_system(Path::new("/dev/shm")).unwrap_err();
        assert!(error.to_string().contains("tmpfs"), "{error}");
    }
}
