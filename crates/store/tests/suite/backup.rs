//! Copies that are made while the store serves, and stores made of them.

use std::sync::atomic::{AtomicBool, Ordering};

use domain::{DeviceKey, Role};
use store::backup::{BackupError, restore, verify};
use store::journal::JournalQuery;
use store::{Change, NewAccount, Store};

use crate::house::{HOME, House, NOW};
use crate::parked::{ask, let_in};
use crate::place::Place;
use crate::steps::joining;

fn furnished() -> House {
    let house = House::new();
    let made: Vec<_> =
        (0..50).map(|at| house.create_with_token(&format!("d{at}"), &format!("t{at}"))).collect();
    assert!(house.record(&made).iter().all(Result::is_ok));
    house
}

#[test]
fn a_store_that_was_copied_while_it_served_comes_back_on_an_empty_machine() {
    let house = furnished();
    let tokens: Vec<_> = (0..50).map(|at| house.device(&format!("d{at}")).unwrap()).collect();
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("copy");
    let done = AtomicBool::new(false);
    let manifest = std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut at = 0;
            while !done.load(Ordering::SeqCst) {
                assert!(
                    house.record(&[house.create_with_token(&format!("busy{at}"), &format!("b{at}"))])[0]
                        .is_ok()
                );
                at += 1;
            }
        });
        let made = house.store.back_up(&to, "test", NOW);
        done.store(true, Ordering::SeqCst);
        made.unwrap()
    });
    assert_eq!(manifest, verify(&to).unwrap());
    assert_eq!(manifest.kek_ids, ["kek"]);
    let place = Place::new();
    restore(&to, &place.options("test"), NOW).unwrap();
    let store = place.open("kek", 7).unwrap();
    for device in &tokens {
        assert_eq!(store.gather(&[(HOME, &device.name)]).unwrap(), [Some(device.clone())]);
    }
    assert_eq!(store.verify_secrets().unwrap().unreadable, 0);
    let found = store.verify_journal(None).unwrap();
    assert!(found.faults.is_empty(), "{:?}", found.faults);
    assert_eq!(found.heads.len(), house.store.journal_heads().unwrap().len() + 1);
    let query = JournalQuery { tenant: None, about: None, kinds: &["restored"], before: None, limit: 10 };
    assert_eq!(store.read(|view| view.journal(&query)).unwrap().entries.len(), 1);
    let old = house.store.reserve_device_keys(1).unwrap();
    let new = store.reserve_device_keys(1).unwrap();
    assert!(new.start > old.start && DeviceKey(new.start).0 < DeviceKey::END);
}

#[test]
fn what_neighbours_keep_their_answers_by_is_never_given_again_after_a_restore() {
    let house = House::new();
    let begin = |name| house.record(&[joining(&house, name)])[0].unwrap().operation.unwrap();
    begin("first");
    // Its row is gone once it is used up.
    let_in(&house, "first-asked", ask(&house, "first-asked"));
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("copy");
    house.store.back_up(&to, "test", NOW).unwrap();
    let (operation, question) = (begin("later"), ask(&house, "later-asked"));
    let place = Place::new();
    restore(&to, &place.options("test"), NOW).unwrap();
    let store = place.open("kek", 7).unwrap();
    let restored = House { store, profile: house.profile.clone(), place };
    let begun = restored.record(&[joining(&restored, "later")])[0].unwrap().operation.unwrap();
    assert!(begun > operation, "{begun} was given before");
    let asked = ask(&restored, "another");
    assert!(asked > question, "{asked} was given before");
}

#[test]
fn a_backup_that_is_not_whole_is_refused() {
    let house = furnished();
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("copy");
    let manifest = house.store.back_up(&to, "test", NOW).unwrap();
    assert!(matches!(house.store.back_up(&to, "test", NOW), Err(BackupError::Target(_))));
    let place = Place::new();
    for file in &manifest.files {
        let path = to.join(&file.file);
        let whole = std::fs::read(&path).unwrap();
        let mut damaged = whole.clone();
        let middle = damaged.len() / 2;
        damaged[middle] ^= 1;
        std::fs::write(&path, &damaged).unwrap();
        let told = restore(&to, &place.options("test"), NOW).unwrap_err();
        assert!(matches!(&told, BackupError::Broken(why) if why.contains(&file.file)), "{told}");
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(verify(&to), Err(BackupError::Broken(_))));
        std::fs::write(&path, &whole).unwrap();
    }
    let text = std::fs::read_to_string(to.join("manifest.json")).unwrap();
    let without = text.replace("\"file\": \"secrets.", "\"file\": \"others.");
    std::fs::write(to.join("manifest.json"), without).unwrap();
    assert!(verify(&to).unwrap_err().to_string().contains("without its secrets part"));
    std::fs::remove_file(to.join("manifest.json")).unwrap();
    assert!(verify(&to).unwrap_err().to_string().contains("cut short"));
}

#[test]
fn a_backup_goes_nowhere_where_there_is_a_store() {
    let house = furnished();
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("copy");
    house.store.back_up(&to, "test", NOW).unwrap();
    let House { store, place, .. } = house;
    drop(store);
    let told = restore(&to, &place.options("test"), NOW).unwrap_err();
    assert!(matches!(told, BackupError::Target(_)), "{told}");
    assert!(place.open("kek", 7).unwrap().why_locked().is_none());
}

#[test]
fn no_session_of_before_a_restore_goes_on_after_it() {
    let house = House::new();
    let new = NewAccount { tenant: None, name: "ann", password: None, role: Role::Admin };
    let id = house.store.write(|change: &mut Change<'_>| change.create_account(new, NOW)).unwrap();
    let epoch = |store: &Store| store.read(|view| view.account(id)).unwrap().unwrap().epoch;
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("copy");
    house.store.back_up(&to, "test", NOW).unwrap();
    // After the copy she is shut out and let in again; whoever had a session from then on has none now.
    let ann = house.store.read(|view| view.account(id)).unwrap().unwrap();
    for _ in 0..2 {
        house.store.write(|change: &mut Change<'_>| change.set_account(&ann, NOW)).unwrap();
    }
    let place = Place::new();
    restore(&to, &place.options("test"), NOW.plus_ms(10)).unwrap();
    let restored = place.open("kek", 7).unwrap();
    assert!(epoch(&restored) > epoch(&house.store));
}
