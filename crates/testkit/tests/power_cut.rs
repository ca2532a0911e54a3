//! What the power-cut layer keeps and what it drops, seen from a program that only writes files.
//!
//! The program is `power-cut-scenario`, which plays what each test names.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;
use testkit::power_cut::{Cut, PowerCut, Side, SyncCounts};
use testkit::process::Process;

const SECTOR: usize = 512;
const SEEDS: u64 = 40;

/// Runs a scenario on a folder that already holds `old` (8 sectors of `o`) until the power fails.
fn cut(scenario: &str, seed: u64, file: &str, at: u64) -> TempDir {
    try_cut(scenario, seed, file, at).unwrap()
}

fn try_cut(scenario: &str, seed: u64, file: &str, at: u64) -> anyhow::Result<TempDir> {
    let root = root_folder();
    let layer = PowerCut::new(seed)?;
    let mut command = program_in(root.path(), scenario);
    layer.command(&mut command, root.path(), &Cut { file: file.to_owned(), at })?;
    let mut process = Process::start(&mut command)?;
    let status = process.wait(Duration::from_secs(60))?;
    assert_eq!(status.signal(), Some(9), "{}", process.transcript());
    let kept = tempfile::tempdir()?;
    layer.recovered(&kept.path().join("root"))?;
    Ok(kept)
}

fn root_folder() -> TempDir {
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join("old"), [b'o'; 8 * SECTOR]).unwrap();
    root
}

fn program_in(root: &Path, scenario: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_power-cut-scenario"));
    command.arg(scenario).current_dir(root);
    command
}

fn bytes(kept: &TempDir, name: &str) -> Option<Vec<u8>> {
    fs::read(kept.path().join("root").join(name)).ok()
}

#[test]
fn what_was_synced_is_there_and_what_was_not_may_be_torn() {
    let mut lengths = Vec::new();
    for seed in 0..SEEDS {
        let log = bytes(&cut("append", seed, "log", 6), "log").unwrap();
        for record in 0..5 {
            let at = record * 1280;
            assert!(log[at..at + 1280].iter().all(|byte| *byte == b'0' + record as u8), "seed {seed}");
        }
        assert!(log.len() <= 6 * 1280, "seed {seed}: the seventh record was not written yet");
        lengths.push(log.len());
    }
    assert!(lengths.contains(&(5 * 1280)) && lengths.contains(&(6 * 1280)), "{lengths:?}");
    assert!(lengths.iter().any(|length| (5 * 1280 + 1..6 * 1280).contains(length)), "{lengths:?}");
}

#[test]
fn the_same_seed_keeps_the_same_bytes() {
    let log = |seed| bytes(&cut("append", seed, "log", 6), "log");
    assert_eq!(log(7), log(7));
}

#[test]
fn a_cut_that_is_ordered_falls_on_its_side_of_the_sync() {
    let length = |side| {
        let root = root_folder();
        let layer = PowerCut::new(3).unwrap();
        layer.order(&Cut { file: "log".to_owned(), at: 6 }, side).unwrap();
        let mut command = program_in(root.path(), "append");
        layer.count_only(&mut command, root.path()).unwrap();
        let status = Process::start(&mut command).unwrap().wait(Duration::from_secs(60)).unwrap();
        assert_eq!(status.signal(), Some(9));
        assert_eq!(layer.what_happened().unwrap(), format!("{} sync call 6 of log", side.word()));
        let kept = tempfile::tempdir().unwrap();
        layer.recovered(&kept.path().join("root")).unwrap();
        bytes(&kept, "log").unwrap().len()
    };
    // The order is found at the first sync that is counted, which is the folder's.
    assert!((5 * 1280..6 * 1280).contains(&length(Side::Before)));
    assert_eq!(length(Side::After), 6 * 1280);
}

#[test]
fn unsynced_sectors_are_kept_or_dropped_whole_and_each_by_itself() {
    let mut kept = Vec::new();
    for seed in 0..SEEDS {
        let old = bytes(&cut("overwrite", seed, "other", 1), "old").unwrap();
        let sectors: Vec<_> = old.chunks(SECTOR).collect();
        let new = |sector: &&&[u8]| sector.iter().all(|byte| *byte == b'n');
        let whole = |sector: &&[u8]| sector.iter().all(|byte| *byte == sector[0]);
        assert_eq!(sectors.len(), 8);
        assert!(sectors.iter().all(whole), "seed {seed}");
        kept.push(sectors.iter().filter(new).count());
    }
    assert!(kept.contains(&0) && kept.contains(&8) && kept.iter().any(|n| (1..8).contains(n)), "{kept:?}");
}

#[test]
fn a_new_name_is_there_only_after_the_sync_of_its_folder() {
    for seed in 0..SEEDS {
        let early = cut("new-names", seed, "mark", 1);
        let names = fs::read_dir(early.path().join("root")).unwrap().count();
        assert_eq!(names, 1, "seed {seed}: only `old` may be there");
    }
    let late = cut("new-names", 1, "end", 1);
    for name in ["nameless", "folder/below", "here"] {
        assert_eq!(bytes(&late, name).as_deref(), Some(&b"synced"[..]), "{name}");
    }
    assert_eq!(bytes(&late, "end"), None);
    let mode = fs::metadata(late.path().join("root/here")).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o600);
}

#[test]
fn a_rename_leaves_the_old_file_until_the_sync_of_the_folder() {
    for seed in 0..SEEDS {
        let early = cut("rename", seed, "mark", 1);
        assert_eq!(bytes(&early, "old").unwrap(), [b'o'; 8 * SECTOR], "seed {seed}");
        assert_eq!(bytes(&early, "draft"), None);
    }
    let late = cut("rename", 1, "end", 1);
    assert_eq!(bytes(&late, "old").unwrap(), b"new");
    assert_eq!(bytes(&late, "draft"), None);
}

#[test]
fn a_removal_that_was_not_synced_may_or_may_not_have_happened() {
    let mut kept = Vec::new();
    for seed in 0..SEEDS {
        let old = bytes(&cut("remove", seed, "mark", 1), "old");
        assert!(old.as_ref().is_none_or(|old| old.len() == 8 * SECTOR + 4), "seed {seed}");
        kept.push(old.is_some());
    }
    assert!(kept.contains(&true) && kept.contains(&false));
    assert_eq!(bytes(&cut("remove", 1, "end", 1), "old").unwrap(), b"second");
}

#[test]
fn a_length_that_was_not_synced_may_be_the_old_one_with_the_old_bytes() {
    let mut lengths = Vec::new();
    for seed in 0..SEEDS {
        let old = bytes(&cut("truncate", seed, "mark", 1), "old").unwrap();
        assert!(old[..2 * SECTOR].iter().all(|byte| *byte == b'o'), "seed {seed}");
        let tail = &old[2 * SECTOR..];
        let expected: &[u8] = if old.len() == 8 * SECTOR { b"o" } else { b"n\0" };
        assert!(tail.iter().all(|byte| expected.contains(byte)), "seed {seed}: bytes from nowhere");
        lengths.push(old.len());
    }
    assert!(
        lengths.contains(&(8 * SECTOR)) && lengths.contains(&(2 * SECTOR)) && lengths.contains(&(3 * SECTOR))
    );
    let late = bytes(&cut("truncate", 1, "end", 1), "old").unwrap();
    assert_eq!(late, [[b'o'; SECTOR], [b'o'; SECTOR], [b'n'; SECTOR]].concat());
}

#[test]
fn the_shared_memory_file_is_never_kept() {
    assert_eq!(bytes(&cut("shared-memory", 1, "end", 1), "main.db-shm"), None);
}

#[test]
fn a_sync_covers_what_was_written_through_every_descriptor() {
    let kept = cut("descriptors", 1, "end", 1);
    let twin = [vec![0; 700], vec![b'a'; 700]].concat();
    assert_eq!(bytes(&kept, "twin").unwrap(), twin);
    assert_eq!(bytes(&kept, "old").unwrap(), [twin, b"z".to_vec()].concat());
}

#[test]
fn nothing_that_a_thread_was_told_is_synced_is_lost() {
    for seed in 0..10 {
        let root = root_folder();
        let layer = PowerCut::new(seed).unwrap();
        let mut command = program_in(root.path(), "threads");
        layer.command(&mut command, root.path(), &Cut { file: "log-2".to_owned(), at: 40 + seed }).unwrap();
        let mut process = Process::start(&mut command).unwrap();
        process.wait(Duration::from_secs(60)).unwrap();
        let kept = tempfile::tempdir().unwrap();
        layer.recovered(&kept.path().join("root")).unwrap();
        let acknowledged = process.transcript();
        let acknowledged: Vec<_> = acknowledged.lines().filter_map(parse_acknowledged).collect();
        assert!(acknowledged.len() >= 39);
        for (thread, record) in acknowledged {
            let log = bytes(&kept, &format!("log-{thread}")).unwrap();
            let at = (record as usize - 1) * 300;
            assert_eq!(log[at..at + 300], [record.to_le_bytes(); 150].concat(), "seed {seed}");
        }
    }
}

fn parse_acknowledged(line: &str) -> Option<(usize, u16)> {
    let (thread, record) = line.split_once("acknowledged ")?.1.split_once(' ')?;
    Some((thread.parse().ok()?, record.parse().ok()?))
}

#[test]
fn a_write_past_the_layer_makes_the_run_void() {
    let error = try_cut("past-the-layer", 1, "end", 1).unwrap_err().to_string();
    assert!(error.contains("written past the layer") && error.contains("/old"), "{error}");
}

#[test]
fn sync_calls_are_counted_by_file_and_a_run_without_a_cut_says_so() {
    let root = root_folder();
    let layer = PowerCut::new(0).unwrap();
    let mut command = program_in(root.path(), "append");
    layer.count_only(&mut command, root.path()).unwrap();
    let mut process = Process::start(&mut command).unwrap();
    assert!(process.wait(Duration::from_secs(60)).unwrap().success(), "{}", process.transcript());
    let expected = SyncCounts::from([("./".to_owned(), 1), ("log".to_owned(), 10)]);
    assert_eq!(layer.sync_counts().unwrap(), expected);
    assert_eq!(layer.what_happened(), None);
    layer.check_report().unwrap();
    let error = layer.recovered(&root.path().join("copy")).unwrap_err().to_string();
    assert!(error.contains("the power did not fail"), "{error}");
}

#[test]
fn a_program_that_the_layer_was_not_loaded_into_is_noticed() {
    let error = PowerCut::new(0).unwrap().sync_counts().unwrap_err().to_string();
    assert!(error.contains("dynamically linked"), "{error}");
}
