//! Where things lie: `DIR/db`, `DIR/keys`, `DIR/run`.

use std::fs::{self, DirBuilder};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::Context;

/// The paths of one server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// The data directory, and all that a backup copies.
    pub db: PathBuf,
    /// Keys, readable by the owner alone; never part of a backup.
    pub keys: PathBuf,
    /// The key-encryption key.
    pub kek: PathBuf,
    /// The first admin's secret.
    pub admin_secret: PathBuf,
    /// Says which server runs on this folder.
    pub server_json: PathBuf,
}

impl Layout {
    /// The paths below `directory`; an empty `kek` means the file in the keys folder.
    pub fn new(directory: &Path, kek: &Path) -> Layout {
        let keys = directory.join("keys");
        Layout {
            db: directory.join("db"),
            kek: if kek.as_os_str().is_empty() { keys.join("kek") } else { kek.to_owned() },
            admin_secret: keys.join("admin-secret"),
            server_json: directory.join("run").join("server.json"),
            keys,
        }
    }

    /// Makes the folders that are not there; the keys folder is the owner's alone.
    ///
    /// # Errors
    /// If one cannot be made, or the keys folder is open to others.
    pub fn make(&self) -> anyhow::Result<()> {
        let run = self.server_json.parent().unwrap_or(&self.db);
        for folder in [self.db.as_path(), run] {
            make_folder(folder, 0o750)?;
        }
        make_folder(&self.keys, 0o700)?;
        let mode = fs::metadata(&self.keys)?.permissions().mode() & 0o777;
        anyhow::ensure!(
            mode & 0o077 == 0,
            "{} is open to others (mode {mode:03o}); close it with: chmod 700 {}",
            self.keys.display(),
            self.keys.display()
        );
        Ok(())
    }
}

fn make_folder(folder: &Path, mode: u32) -> anyhow::Result<()> {
    let made = make_lasting(folder, mode);
    made.with_context(|| format!("cannot make the folder {}", folder.display()))
}

/// A folder outlasts a power cut only once the folder that it stands in is synced. That is done for one
/// that is there already too: an earlier start may have ended in between.
fn make_lasting(folder: &Path, mode: u32) -> io::Result<()> {
    let above = folder_of(folder);
    if !above.is_dir() {
        make_lasting(above, mode)?;
    }
    match DirBuilder::new().mode(mode).create(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    fs::File::open(above)?.sync_all()
}

/// Writes a file of mode 0600 so that it is there whole or not at all, also after a power cut.
///
/// # Errors
/// Those of the file system.
pub fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let draft = path.with_extension("new");
    write_draft(&draft, bytes)?;
    fs::rename(&draft, path)?;
    sync_folder_of(path)
}

/// As [`write_private`], but on a full disk the bytes take the place of those of an older file: their room
/// is there already. For what may be lost, but should be said.
///
/// # Errors
/// Those of the file system.
pub fn say_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    match write_private(path, bytes) {
        Err(error) if error.kind() == io::ErrorKind::StorageFull => {
            let mut file = fs::OpenOptions::new().write(true).open(path)?;
            file.write_all(bytes)?;
            file.set_len(bytes.len() as u64)
        }
        written => written,
    }
}

/// As [`write_private`], but a file that is there already stays as it is: another start may have made it
/// meanwhile, and gone on with it.
///
/// # Errors
/// Those of the file system.
pub fn make_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let draft = path.with_extension(format!("new-{}", std::process::id()));
    write_draft(&draft, bytes)?;
    let made = fs::hard_link(&draft, path);
    fs::remove_file(&draft)?;
    match made {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => sync_folder_of(path),
    }
}

fn write_draft(draft: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(draft)?;
    file.set_permissions(fs::Permissions::from_mode(0o600))?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn sync_folder_of(path: &Path) -> io::Result<()> {
    fs::File::open(folder_of(path))?.sync_all()
}

/// The folder that a path stands in; a bare name stands in the working directory.
fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keys_folder_is_the_owners_alone() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path(), Path::new(""));
        layout.make().unwrap();
        assert_eq!(fs::metadata(&layout.keys).unwrap().permissions().mode() & 0o777, 0o700);
        fs::set_permissions(&layout.keys, fs::Permissions::from_mode(0o750)).unwrap();
        assert!(layout.make().unwrap_err().to_string().contains("chmod 700"));
    }

    #[test]
    fn a_bare_name_stands_in_the_working_directory() {
        assert_eq!(folder_of(Path::new("kek")), Path::new("."));
        assert_eq!(folder_of(Path::new("keys/kek")), Path::new("keys"));
    }

    #[test]
    fn a_private_file_is_readable_by_its_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        write_private(&path, b"one").unwrap();
        write_private(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
