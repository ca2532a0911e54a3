use store::secrets::LocalKek;
use store::{Change, StoreError};
use zeroize::Zeroizing;

use crate::POSTGRES;
use crate::house::{HOUR_MS, House, NOW, rotate};

const SEALED_OF_DEVICES: &str = "SELECT count(*) FROM sealed WHERE kind = 'device_credential'";
const SEALED_OF_PROFILES: &str = "SELECT count(*) FROM sealed WHERE kind = 'group_secret'";

#[test]
fn what_a_device_chose_is_sealed_and_nowhere_in_clear() {
    let house = House::new();
    house.record(&[house.create_with_token("pump", "recognisable-token")]);
    assert_eq!(house.count("secrets.db", SEALED_OF_DEVICES), 1);
    assert!(!house.holds_in_clear("recognisable-token"));
    assert!(!house.holds_in_clear("pumps-secret"));
}

#[test]
fn a_batch_without_chosen_credentials_writes_nothing_into_the_secrets() {
    let house = House::new();
    house.record(&[house.create("pump")]);
    assert_eq!(house.count("secrets.db", SEALED_OF_DEVICES), 0);
}

#[test]
fn a_deleted_device_leaves_no_sealed_value_and_frees_its_name_and_credentials() {
    let house = House::new();
    house.record(&[house.create_with_token("pump", "tok")]);
    let record = house.device("pump").unwrap();
    assert!(house.store.write(|change: &mut Change<'_>| change.delete_device(&record, NOW)).unwrap());
    assert_eq!(house.count("secrets.db", SEALED_OF_DEVICES), 0);
    assert!(house.record(&[house.create_with_token("pump", "tok")])[0].is_ok());
}

#[test]
fn a_delete_that_is_rolled_back_keeps_the_sealed_value() {
    let house = House::new();
    house.record(&[house.create_with_token("pump", "tok")]);
    let record = house.device("pump").unwrap();
    let failed: Result<(), StoreError> = house.store.write(|change: &mut Change<'_>| {
        change.delete_device(&record, NOW)?;
        Err(StoreError::Unavailable("on purpose".to_owned()))
    });
    assert!(failed.is_err());
    assert_eq!(house.count("secrets.db", SEALED_OF_DEVICES), 1);
}

#[test]
fn sealed_values_that_no_row_names_are_swept_after_an_hour_and_others_stay() {
    let house = House::new();
    house.record(&[house.create_with_token("a", "one"), house.create_with_token("b", "two")]);
    // Lost after it was sealed, and void since a rotation.
    house.record(&[house.create_with_token("a", "three")]);
    house.record(&[rotate(&house.device("b").unwrap(), &house.profile, 5)]);
    assert_eq!(house.count("secrets.db", SEALED_OF_DEVICES), 3);
    house.store.maintain(NOW.plus_ms(HOUR_MS - 1)).unwrap();
    assert_eq!(house.count("secrets.db", SEALED_OF_DEVICES), 3);
    // After a whole round it rests for a while.
    house.store.maintain(NOW.plus_ms(HOUR_MS + 10 * 60 * 1000)).unwrap();
    assert_eq!(house.count("secrets.db", SEALED_OF_DEVICES), 1);
    assert_eq!(house.count("secrets.db", SEALED_OF_PROFILES), 1);
    assert_eq!(house.count("secrets.db", "SELECT count(*) FROM sealed WHERE tenant = 0"), 3);
}

#[test]
fn a_group_secret_that_is_taken_away_leaves_no_sealed_value() {
    let house = House::new();
    let taken = house
        .store
        .write(|change: &mut Change<'_>| change.remove_group_secret(house.profile.tenant, house.secret()));
    assert!(taken.unwrap());
    assert_eq!(house.count("secrets.db", SEALED_OF_PROFILES), 0);
    let profile = house.store.profile_by_provision_key("pumps-key").unwrap().unwrap();
    assert!(profile.secrets.is_empty() && profile.version > house.profile.version);
}

#[test]
fn tokens_outlive_a_restart() {
    let house = House::new();
    house.record(&[house.create("pump")]);
    let device = house.device("pump").unwrap();
    let token =
        house.store.keys().unwrap().mint(device.tenant, device.key, device.credential.generation().unwrap());
    let house = house.reopened(|_| {});
    let resolved = house.store.keys().unwrap().resolve(token.expose()).unwrap();
    assert_eq!(resolved.device, device.key);
    assert!(house.store.keys().unwrap().confirms(&resolved, &device));
    let rotated = rotate(&device, &house.profile, 8);
    assert!(!house.store.keys().unwrap().confirms(&resolved, &rotated.device));
}

#[test]
fn another_key_encryption_key_is_refused_by_name() {
    let House { store, place, .. } = House::new();
    drop(store);
    let wrong_bytes = place.open("kek", 8).err().unwrap();
    assert!(matches!(wrong_bytes, StoreError::SecretUnreadable(_)), "{wrong_bytes}");
    let wrong_name = place.open("other", 7).err().unwrap().to_string();
    assert!(wrong_name.contains("`kek`") && wrong_name.contains("`other`"), "{wrong_name}");
    assert!(place.open("kek", 7).is_ok());
}

#[test]
fn sealed_values_in_each_others_place_do_not_open() {
    let House { store, place, .. } = House::new();
    drop(store);
    let swap =
        "UPDATE sealed SET blob = (SELECT blob FROM sealed WHERE kind = 'pepper') WHERE kind = 'token_key'";
    assert_eq!(place.tamper("secrets.db", swap), 1);
    let error = place.open("kek", 7).err().unwrap();
    assert!(matches!(&error, StoreError::SecretUnreadable(what) if what.contains("token_key")), "{error}");
}

#[test]
fn lost_or_foreign_secrets_are_not_replaced_by_new_ones() {
    let House { store, place, .. } = House::new();
    drop(store);
    if POSTGRES {
        place.tamper("secrets.db", "DROP SCHEMA muster_secrets CASCADE");
    } else {
        std::fs::remove_file(place.folder.path().join("secrets.db")).unwrap();
    }
    let error = place.open("kek", 7).err().unwrap();
    assert!(matches!(&error, StoreError::SecretUnreadable(what) if what.contains("secrets.db")), "{error}");
}

#[test]
fn nothing_secret_prints_itself() {
    let house = House::new();
    let kek = LocalKek::new("kek", Zeroizing::new([7; 32]));
    assert_eq!(format!("{:?} {kek:?}", house.store.keys().unwrap()), r#"Keys(…) LocalKek { id: "kek", .. }"#);
}
