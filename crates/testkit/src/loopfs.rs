//! A small file system that can be filled to the last byte: an ext4 image mounted through a loop
//! device or, where the machine has none, a tmpfs of that size. Needs root.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use tempfile::TempDir;

/// Size of the file system, bytes: 64 MiB.
pub const SIZE: u64 = 64 << 20;

/// A mounted file system of [`SIZE`], unmounted on drop.
#[derive(Debug)]
pub struct SmallFileSystem {
    folder: TempDir,
    kind: &'static str,
}

impl SmallFileSystem {
    /// Makes and mounts it.
    ///
    /// # Errors
    /// If the test does not run as root, or nothing may be mounted here.
    pub fn new() -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("muster-small-").tempdir()?;
        fs::create_dir(folder.path().join("mounted"))?;
        let kind = mount(folder.path())?;
        Ok(Self { folder, kind })
    }

    /// Where it is mounted.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.folder.path().join("mounted")
    }

    /// What it is: `ext4` or `tmpfs`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        self.kind
    }

    /// Fills it until not one byte more can be written; returns the bytes it took. May be called
    /// again when something else has become free.
    ///
    /// # Errors
    /// For every failed write but the one that is wanted.
    pub fn fill(&self) -> Result<u64> {
        let mut ballast = File::options().append(true).create(true).open(self.ballast())?;
        let mut written = 0;
        for piece in [1 << 20, 4096, 512, 1] {
            written += fill_by(&mut ballast, &vec![0x5a; piece])?;
        }
        Ok(written)
    }

    /// Gives back the room that [`SmallFileSystem::fill`] took.
    ///
    /// # Errors
    /// If the ballast cannot be deleted.
    pub fn free(&self) -> Result<()> {
        match fs::remove_file(self.ballast()) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    fn ballast(&self) -> PathBuf {
        self.path().join("ballast")
    }
}

impl Drop for SmallFileSystem {
    fn drop(&mut self) {
        let mounted = self.path();
        if crate::run(Command::new("umount").arg(&mounted)).is_err() {
            // Somebody is still inside: the name goes at once, the rest when they leave.
            let _ = Command::new("umount").arg("--lazy").arg(&mounted).status();
        }
    }
}

fn mount(folder: &Path) -> Result<&'static str> {
    let Err(no_loop) = mount_ext4(folder) else { return Ok("ext4") };
    let mut tmpfs = Command::new("mount");
    tmpfs.args(["-t", "tmpfs", "-o", &format!("size={SIZE}"), "tmpfs"]).arg(folder.join("mounted"));
    crate::run(&mut tmpfs)
        .with_context(|| format!("a small file system needs root and the right to mount ({no_loop:#})"))?;
    Ok("tmpfs")
}

/// Without blocks kept for root, so that full is full for everyone.
fn mount_ext4(folder: &Path) -> Result<()> {
    let image = folder.join("image");
    File::create(&image)?.set_len(SIZE)?;
    crate::run(Command::new("mkfs.ext4").args(["-q", "-F", "-m", "0"]).arg(&image))?;
    crate::run(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(folder.join("mounted")))
}

/// Writes pieces until one does not fit. Synced each time, because a file system may promise room
/// that it does not have until it writes.
fn fill_by(ballast: &mut File, piece: &[u8]) -> Result<u64> {
    let mut written = 0;
    loop {
        match ballast.write(piece).and_then(|n| ballast.sync_data().map(|()| n)) {
            Ok(n) => written += n as u64,
            Err(error) if error.kind() == ErrorKind::StorageFull => return Ok(written),
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_file_system_takes_nothing_until_it_is_freed() {
        let small = SmallFileSystem::new().unwrap();
        let note = small.path().join("note");
        fs::write(&note, "before").unwrap();
        let took = small.fill().unwrap();
        assert!(took > SIZE / 2 && took < SIZE, "{took}");
        let refused = fs::write(small.path().join("more"), [1; 4096]).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::StorageFull);
        assert_eq!(fs::read_to_string(&note).unwrap(), "before");
        small.free().unwrap();
        fs::write(small.path().join("more"), [1; 4096]).unwrap();
    }

    #[test]
    fn nothing_stays_mounted() {
        let small = SmallFileSystem::new().unwrap();
        let mounted = small.path();
        drop(small);
        let mounts = fs::read_to_string("/proc/mounts").unwrap();
        assert!(!mounts.contains(mounted.to_str().unwrap()));
    }
}
