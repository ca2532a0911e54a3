//! Key-encryption keys come and go while what they seal stays.

use std::sync::Arc;

use domain::Secret;
use parking_lot::Mutex;
use store::secrets::KeySource;
use store::{Change, KekNote, KeyError, KeyProvider, LocalKek, Store, StoreError, Walk};
use zeroize::Zeroizing;

use crate::house::{HOME, House, NOW};
use crate::place::Place;

/// Keys that are told apart by a byte; those in the drawer are at hand.
#[derive(Clone, Default)]
pub(crate) struct Drawer(pub(crate) Arc<Mutex<Vec<u8>>>);

impl Drawer {
    pub(crate) fn holding(keys: &[u8]) -> Drawer {
        Drawer(Arc::new(Mutex::new(keys.to_vec())))
    }

    fn key(id: &str, byte: u8) -> Arc<dyn KeyProvider> {
        Arc::new(LocalKek::new(id, Zeroizing::new([byte; 32])))
    }
}

impl KeySource for Drawer {
    fn open(&self, note: &KekNote) -> Result<Arc<dyn KeyProvider>, KeyError> {
        let found = self.0.lock().iter().copied().find(|byte| note.id == format!("drawer:{byte}"));
        found
            .map(|byte| Drawer::key(&note.id, byte))
            .ok_or_else(|| KeyError("it is not in the drawer".to_owned()))
    }

    fn add(&self, known: &[KekNote]) -> Result<(KekNote, Arc<dyn KeyProvider>), KeyError> {
        let held = self.0.lock().clone();
        let unknown = |byte: &u8| !known.iter().any(|note| note.id == format!("drawer:{byte}"));
        let byte =
            held.into_iter().find(unknown).ok_or_else(|| KeyError("the drawer is empty".to_owned()))?;
        let id = format!("drawer:{byte}");
        Ok((KekNote::new(id.clone(), serde_json::json!({})), Drawer::key(&id, byte)))
    }
}

pub(crate) fn open_as(server: &str, place: &Place, drawer: &Drawer) -> Store {
    Store::open_with(place.options(server), Arc::new(drawer.clone()), NOW).unwrap()
}

fn open(place: &Place, drawer: &Drawer) -> Store {
    open_as("test", place, drawer)
}

/// A house with the keys of a drawer and `count` devices that chose their tokens.
pub(crate) fn furnished(drawer: &Drawer, count: usize) -> House {
    let place = Place::new();
    let store = open(&place, drawer);
    let limits = store::SecretLimits::default();
    let profile = crate::house::make_profile(&store, HOME, "pumps", &limits);
    let house = House { store, profile, place };
    let made: Vec<_> =
        (0..count).map(|at| house.create_with_token(&format!("d{at}"), &format!("token-{at}"))).collect();
    assert!(house.record(&made).iter().all(Result::is_ok));
    house
}

fn reopened(house: House, drawer: &Drawer) -> House {
    let House { store, profile, place } = house;
    drop(store);
    House { store: open(&place, drawer), profile, place }
}

pub(crate) fn finish(house: &House, walk: Walk) {
    for _ in 0..1000 {
        house.store.walk_on(1, NOW).unwrap();
        if house.store.walks().unwrap().iter().any(|it| it.walk == walk && it.ended_at.is_some()) {
            return;
        }
    }
    panic!("{:?}", house.store.walks());
}

pub(crate) fn needing(house: &House, id: &str) -> u64 {
    house.store.keks().unwrap().into_iter().find(|kek| kek.id == id).unwrap().values
}

#[test]
fn a_rewrap_that_is_cut_short_goes_on_after_a_restart_and_leaves_the_old_key_useless() {
    let drawer = Drawer::holding(&[1]);
    let house = furnished(&drawer, 600);
    drawer.0.lock().push(2);
    assert_eq!(house.store.add_kek(None, NOW).unwrap(), "drawer:2");
    assert_eq!(needing(&house, "drawer:1"), 604);
    house.store.begin_walk(Walk::Rewrap, 256, NOW).unwrap();
    house.store.walk_on(1, NOW).unwrap();
    assert_eq!(needing(&house, "drawer:2"), 256);
    let house = reopened(house, &drawer);
    // What comes in meanwhile is sealed by the new key at once.
    assert!(house.record(&[house.create_with_token("late", "late-token")])[0].is_ok());
    assert_eq!(needing(&house, "drawer:2"), 257);
    assert_eq!(house.store.retire_kek("drawer:1", NOW).unwrap(), Some(348));
    finish(&house, Walk::Rewrap);
    assert_eq!(needing(&house, "drawer:1"), 0);
    assert_eq!(house.store.retire_kek("drawer:1", NOW).unwrap(), None);
    let verified = house.store.verify_secrets().unwrap();
    assert_eq!((verified.values, verified.unreadable), (605, 0));
    let old_alone = reopened(house, &Drawer::holding(&[1]));
    assert_eq!(old_alone.store.verify_secrets().unwrap().unreadable, 605);
    assert!(old_alone.store.why_locked().unwrap().contains("drawer:2"));
    let new_alone = reopened(old_alone, &Drawer::holding(&[2]));
    assert_eq!(new_alone.store.verify_secrets().unwrap().unreadable, 0);
}

#[test]
fn a_walk_that_is_stopped_stays_stopped_and_is_taken_up_where_it_stood() {
    let drawer = Drawer::holding(&[1, 2]);
    let house = furnished(&drawer, 600);
    house.store.add_kek(None, NOW).unwrap();
    house.store.begin_walk(Walk::Rewrap, 256, NOW).unwrap();
    house.store.walk_on(1, NOW).unwrap();
    house.store.stop_walk(Walk::Rewrap, NOW).unwrap();
    house.store.walk_on(1, NOW).unwrap();
    assert_eq!(house.store.walks().unwrap()[0].done, 256);
    house.store.begin_walk(Walk::Rewrap, 100_000, NOW).unwrap();
    finish(&house, Walk::Rewrap);
    assert_eq!(house.store.walks().unwrap()[0].done, 604);
}

#[test]
fn a_rekey_changes_every_value_and_what_it_holds_stays() {
    let house = furnished(&Drawer::holding(&[1]), 300);
    let blobs = "SELECT count(DISTINCT substr(blob, 18)) FROM sealed";
    let before = house.count("secrets.db", blobs);
    let token = house.store.keys().unwrap().mint(HOME, domain::DeviceKey(1), domain::Generation(1));
    house.store.begin_walk(Walk::Rekey, 100_000, NOW).unwrap();
    finish(&house, Walk::Rekey);
    assert_eq!(house.store.walks().unwrap()[0].done, 304);
    assert_eq!(house.count("secrets.db", blobs), before);
    let house = reopened(house, &Drawer::holding(&[1]));
    let again = house.store.keys().unwrap().mint(HOME, domain::DeviceKey(1), domain::Generation(1));
    assert_eq!(again.expose(), token.expose());
    assert_eq!(house.store.verify_secrets().unwrap().unreadable, 0);
}

#[test]
fn without_its_key_a_store_is_locked_and_the_right_key_opens_it_later() {
    let house = furnished(&Drawer::holding(&[1]), 3);
    let drawer = Drawer::default();
    let house = reopened(house, &drawer);
    assert!(house.store.why_locked().unwrap().contains("it is not in the drawer"));
    assert!(matches!(house.store.keys(), Err(StoreError::Locked)));
    let refused = house.store.write(|_: &mut Change<'_>| Ok::<_, StoreError>(()));
    assert!(matches!(refused, Err(StoreError::Locked)));
    assert!(house.store.unlock(None, NOW).is_err());
    assert!(house.device("d1").is_some());
    drawer.0.lock().push(1);
    house.store.unlock(None, NOW).unwrap();
    assert!(house.store.why_locked().is_none());
    assert!(house.record(&[house.create("after")])[0].is_ok());
    assert!(house.store.verify_journal(None).unwrap().faults.is_empty());
}

#[test]
fn a_key_of_the_same_name_is_not_taken_for_the_right_one() {
    struct Wrong;
    impl KeySource for Wrong {
        fn open(&self, note: &KekNote) -> Result<Arc<dyn KeyProvider>, KeyError> {
            Ok(Drawer::key(&note.id, 9))
        }
        fn add(&self, _: &[KekNote]) -> Result<(KekNote, Arc<dyn KeyProvider>), KeyError> {
            Err(KeyError("no".to_owned()))
        }
    }
    let House { store, place, .. } = furnished(&Drawer::holding(&[1]), 1);
    drop(store);
    let store = Store::open_with(place.options("test"), Arc::new(Wrong), NOW).unwrap();
    assert!(store.why_locked().unwrap().contains("another key"), "{:?}", store.why_locked());
}

#[test]
fn a_store_from_before_there_were_notes_is_opened_by_its_key_and_notes_it() {
    let house = furnished(&Drawer::holding(&[1]), 3);
    let House { store, profile, place } = house;
    drop(store);
    for undo in ["DROP TABLE keks", "DROP TABLE walks", "UPDATE meta SET version = 1, compatible_from = 1"] {
        place.tamper("secrets.db", undo);
    }
    let house = House { store: open(&place, &Drawer::holding(&[1])), profile, place };
    assert!(house.store.why_locked().is_none());
    assert_eq!(house.count("secrets.db", "SELECT count(*) FROM keks WHERE id = 'drawer:1'"), 1);
}

#[test]
fn giving_up_a_lost_key_keeps_the_devices_and_voids_what_they_held() {
    let house = furnished(&Drawer::holding(&[1]), 3);
    let device = house.device("d1").unwrap();
    let old = house.store.keys().unwrap().mint(HOME, device.key, domain::Generation(1));
    let house = reopened(house, &Drawer::holding(&[2]));
    assert_eq!(house.store.would_reset().unwrap(), (7, true));
    assert_eq!(house.store.reset_secrets(None, NOW).unwrap(), (7, true));
    assert!(house.store.why_locked().is_none());
    let device = house.device("d1").unwrap();
    assert_eq!(device.state, domain::DeviceState::Expected);
    assert!(house.store.keys().unwrap().resolve(old.expose()).is_none());
    let profile = house.store.profile_by_provision_key("pumps-key").unwrap().unwrap();
    assert!(profile.secrets.is_empty());
    assert_eq!(house.store.verify_secrets().unwrap().unreadable, 0);
    let faults = house.store.verify_journal(None).unwrap().faults;
    assert!(faults.iter().all(|fault| fault.wrong == store::journal::Wrong::KeyUnknown), "{faults:?}");
    let house = reopened(house, &Drawer::holding(&[2]));
    assert!(house.store.why_locked().is_none());
    assert_eq!(house.store.reset_secrets(None, NOW).unwrap(), (0, false));
}

#[test]
fn a_passphrase_is_held_only_while_it_is_needed() {
    #[derive(Clone, Default)]
    struct Listening(Arc<Mutex<Vec<usize>>>);
    impl KeySource for Listening {
        fn open(&self, note: &KekNote) -> Result<Arc<dyn KeyProvider>, KeyError> {
            Ok(Drawer::key(&note.id, 1))
        }
        fn add(&self, _: &[KekNote]) -> Result<(KekNote, Arc<dyn KeyProvider>), KeyError> {
            let note = KekNote::new("drawer:1", serde_json::json!({}));
            Ok((note, Drawer::key("drawer:1", 1)))
        }
        fn offer(&self, passphrases: Vec<Secret>) {
            self.0.lock().push(passphrases.len());
        }
    }
    let place = Place::new();
    let source = Listening::default();
    let store = Store::open_with(place.options("test"), Arc::new(source.clone()), NOW).unwrap();
    store.unlock(Some(&Secret::new("words")), NOW).unwrap();
    assert_eq!(*source.0.lock(), [1, 0]);
}
