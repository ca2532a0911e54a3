//! Programs that only write files, for the tests of the power-cut layer: `power-cut-scenario NAME` plays one of them
//! in the folder where it is started.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::process::Command;

const SECTOR: usize = 512;

type Scenario = fn() -> io::Result<()>;

const SCENARIOS: [(&str, Scenario); 10] = [
    ("append", append),
    ("overwrite", overwrite),
    ("new-names", new_names),
    ("rename", rename),
    ("remove", remove),
    ("truncate", truncate),
    ("shared-memory", shared_memory),
    ("descriptors", descriptors),
    ("threads", threads),
    ("past-the-layer", past_the_layer),
];

fn main() -> io::Result<()> {
    let name = std::env::args().nth(1).unwrap_or_default();
    let unknown = || io::Error::other(format!("`{name}` is no scenario"));
    let (_, scenario) = SCENARIOS.iter().find(|(known, _)| *known == name).ok_or_else(unknown)?;
    scenario()
}

/// Ten records of two and a half sectors, each synced; the folder first.
fn append() -> io::Result<()> {
    let mut log = OpenOptions::new().append(true).create(true).open("log")?;
    sync_folder(".")?;
    for record in 0..10 {
        log.write_all(&[b'0' + record; 1280])?;
        log.sync_data()?;
    }
    Ok(())
}

/// Eight sectors overwritten without a sync, then another file's sync.
fn overwrite() -> io::Result<()> {
    let file = OpenOptions::new().write(true).open("old")?;
    for sector in 0..8 {
        file.write_all_at(&[b'n'; SECTOR], sector * SECTOR as u64)?;
    }
    File::create("other")?.sync_all()
}

/// A file and a folder with a file, all synced but not their names; then `here`, with its name.
fn new_names() -> io::Result<()> {
    fs::create_dir("folder")?;
    for name in ["nameless", "folder/below", "here"] {
        let mut file = File::create(name)?;
        file.write_all(b"synced")?;
        file.sync_all()?;
        if name == "folder/below" {
            File::create("mark")?.sync_all()?;
        }
    }
    fs::set_permissions("here", fs::Permissions::from_mode(0o600))?;
    sync_folder("folder")?;
    sync_folder(".")?;
    File::create("end")?.sync_all()
}

/// A synced file takes the name of another.
fn rename() -> io::Result<()> {
    let mut file = File::create("draft")?;
    file.write_all(b"new")?;
    file.sync_all()?;
    fs::rename("draft", "old")?;
    File::create("mark")?.sync_all()?;
    sync_folder(".")?;
    File::create("end")?.sync_all()
}

/// A file is removed while it is open, and made anew under its name.
fn remove() -> io::Result<()> {
    let mut held = OpenOptions::new().append(true).open("old")?;
    fs::remove_file("old")?;
    held.write_all(b"late")?;
    held.sync_all()?;
    File::create("mark")?.sync_all()?;
    fs::write("old", "second")?;
    File::open("old")?.sync_all()?;
    sync_folder(".")?;
    drop(held);
    File::create("end")?.sync_all()
}

/// Cut to two sectors, grown again by one, not synced.
fn truncate() -> io::Result<()> {
    let file = OpenOptions::new().write(true).open("old")?;
    file.set_len(2 * SECTOR as u64)?;
    file.write_all_at(&[b'n'; SECTOR], 2 * SECTOR as u64)?;
    File::create("mark")?.sync_all()?;
    file.sync_all()?;
    File::create("end")?.sync_all()
}

/// A shared-memory file, with everything synced that can be.
fn shared_memory() -> io::Result<()> {
    let mut file = File::create("main.db-shm")?;
    file.write_all(b"index")?;
    file.sync_all()?;
    sync_folder(".")?;
    File::create("end")?.sync_all()
}

/// Writes through a duplicate, a cursor, and a file emptied on opening; syncs through another.
fn descriptors() -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).truncate(true).open("old")?;
    let mut copy = file.try_clone()?;
    file.seek(SeekFrom::Start(700))?;
    copy.write_all(&[b'a'; 700])?;
    drop(file);
    fs::copy("old", "twin")?;
    copy.write_all(b"z")?;
    File::open("old")?.sync_all()?;
    File::open("twin")?.sync_all()?;
    sync_folder(".")?;
    File::create("end")?.sync_all()
}

/// Four threads, each with a file of its own: a record, its sync, and only then the word of it.
fn threads() -> io::Result<()> {
    for thread in 0..4 {
        File::create(format!("log-{thread}"))?;
    }
    sync_folder(".")?;
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..4).map(|thread| scope.spawn(move || acknowledge_records(thread))).collect();
        running.into_iter().try_for_each(|thread| thread.join().map_err(|_| io::Error::other("a panic"))?)
    })
}

fn acknowledge_records(thread: usize) -> io::Result<()> {
    let mut log = OpenOptions::new().append(true).open(format!("log-{thread}"))?;
    for record in 1..=500_u16 {
        log.write_all(&[record.to_le_bytes(); 150].concat())?;
        log.sync_data()?;
        // One write: whole lines only, whatever the other threads say.
        io::stderr().write_all(format!("acknowledged {thread} {record}\n").as_bytes())?;
    }
    Ok(())
}

/// Another program writes to the folder: the layer below this one cannot see that.
fn past_the_layer() -> io::Result<()> {
    let written = Command::new("sh").args(["-c", "printf past | dd of=old conv=notrunc"]).status()?;
    if !written.success() {
        return Err(io::Error::other("dd failed"));
    }
    File::create("end")?.sync_all()
}

/// Makes the names in a folder durable.
fn sync_folder(path: &str) -> io::Result<()> {
    File::open(path)?.sync_all()
}
