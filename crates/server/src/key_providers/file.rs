//! A key-encryption key in a file of mode 0600: 32 bytes, or 64 hexadecimal digits.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, bail, ensure};
use zeroize::Zeroizing;

use crate::layout::{Layout, make_private};

/// The name that sealed values carry for this key.
pub const ID: &str = "file";

/// The key of a folder; on the first start it is made, with a warning that it must be copied elsewhere.
///
/// # Errors
/// If it cannot be read or is open to others, or if it is missing although there are secrets sealed with it.
pub fn open(layout: &Layout) -> anyhow::Result<Zeroizing<[u8; 32]>> {
    if !layout.kek.exists() {
        make(layout)?;
    }
    if layout.kek.starts_with(&layout.db) {
        tracing::warn!(
            path = %layout.kek.display(),
            "the key-encryption key lies inside the data directory: every backup carries it"
        );
    }
    read(&layout.kek)
}

fn make(layout: &Layout) -> anyhow::Result<()> {
    let path = layout.kek.display();
    ensure!(
        !layout.db.join("secrets.db").exists(),
        "the key-encryption key {path} is missing, and there are secrets sealed with it: put your copy back"
    );
    let mut key = Zeroizing::new([0; 32]);
    if aws_lc_rs::rand::fill(&mut *key).is_err() {
        bail!("the operating system has no random numbers");
    }
    make_private(&layout.kek, &*key).with_context(|| format!("cannot write {path}"))?;
    tracing::warn!(
        "a new key-encryption key was made: {path}. Without it no secret can be read again. \
         Keep a copy apart from the backups, for example: cp -p {path} /media/safe/muster-kek"
    );
    Ok(())
}

fn read(path: &Path) -> anyhow::Result<Zeroizing<[u8; 32]>> {
    let told = path.display();
    let mode =
        fs::metadata(path).with_context(|| format!("cannot read {told}"))?.permissions().mode() & 0o777;
    ensure!(
        mode & 0o077 == 0,
        "the key-encryption key {told} is open to others (mode {mode:03o}); close it with: chmod 600 {told}"
    );
    let bytes = Zeroizing::new(fs::read(path).with_context(|| format!("cannot read {told}"))?);
    parse(&bytes).with_context(|| format!("{told} holds neither 32 bytes nor 64 hexadecimal digits"))
}

fn parse(bytes: &[u8]) -> Option<Zeroizing<[u8; 32]>> {
    if let Ok(raw) = <[u8; 32]>::try_from(bytes) {
        return Some(Zeroizing::new(raw));
    }
    let digits = bytes.trim_ascii_end();
    let mut key = Zeroizing::new([0; 32]);
    if digits.len() != 2 * key.len() {
        return None;
    }
    for (byte, pair) in key.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = pair.iter().try_fold(0_u8, |byte, digit| {
            let nibble = char::from(*digit).to_digit(16)?;
            Some(byte << 4 | u8::try_from(nibble).ok()?)
        })?;
    }
    Some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout() -> (tempfile::TempDir, Layout) {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path(), Path::new(""));
        layout.make().unwrap();
        (dir, layout)
    }

    #[test]
    fn the_key_is_made_once_and_read_again() {
        let (_dir, layout) = layout();
        let first = open(&layout).unwrap();
        assert_eq!(fs::metadata(&layout.kek).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(*first, *open(&layout).unwrap());
    }

    #[test]
    fn a_key_that_another_start_has_made_meanwhile_stays() {
        let (_dir, layout) = layout();
        make(&layout).unwrap();
        let first = read(&layout.kek).unwrap();
        make(&layout).unwrap();
        assert_eq!(*read(&layout.kek).unwrap(), *first);
        assert_eq!(fs::read_dir(&layout.keys).unwrap().count(), 1);
    }

    #[test]
    fn a_key_that_others_can_read_is_refused() {
        let (_dir, layout) = layout();
        open(&layout).unwrap();
        fs::set_permissions(&layout.kek, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(open(&layout).unwrap_err().to_string().contains("chmod 600"));
    }

    #[test]
    fn a_lost_key_is_not_replaced_while_secrets_are_sealed_with_it() {
        let (_dir, layout) = layout();
        fs::write(layout.db.join("secrets.db"), b"x").unwrap();
        assert!(open(&layout).unwrap_err().to_string().contains("put your copy back"));
        assert!(!layout.kek.exists());
    }

    #[test]
    fn hexadecimal_digits_are_a_key_too_and_anything_else_is_none() {
        let hex = "000102030405060708090a0b0c0d0e0f101112131415161718191A1B1C1D1E1F\n";
        assert_eq!(parse(hex.as_bytes()).unwrap()[31], 0x1f);
        assert_eq!(*parse(&[b'a'; 32]).unwrap(), [b'a'; 32]);
        for bad in [&b""[..], &[b'a'; 31], &[b'g'; 64], &[b'a'; 66]] {
            assert!(parse(bad).is_none());
        }
    }
}
