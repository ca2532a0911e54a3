use domain::{DeviceKey, TenantId};
use serde_json::json;
use store::journal::{
    ATTEMPT, Attempt, Cursor, Fault, JournalQuery, NewEntry, PROVISION, Position, What, Wrong,
};
use store::{Change, StoreError};

use crate::POSTGRES;
use crate::house::{HOME, House, NOW, origin};

const ALL: JournalQuery<'_> =
    JournalQuery { tenant: None, about: None, kinds: &[], before: None, limit: 100 };

fn attempt(outcome: &'static str, tenant: Option<TenantId>) -> NewEntry {
    let attempt = Attempt {
        at: NOW,
        outcome,
        registration_id: Some("pump".to_owned()),
        profile: None,
        unknown_key: Some("0123".to_owned()),
        origin: origin(),
        count: 3,
    };
    NewEntry { tenant, device: None, what: What::Attempt(attempt) }
}

fn audit(kind: &str) -> NewEntry {
    let what = What::Audit { kind: kind.into(), actor: "operator:1".into(), detail: json!({ "name": "x" }) };
    NewEntry { tenant: Some(HOME), device: Some(DeviceKey(17)), what }
}

/// A journal of twelve entries by three ways.
fn house() -> House {
    let house = House::new();
    let provisions: Vec<_> = (0..5).map(|number| house.create(&format!("device-{number}"))).collect();
    house.record(&provisions);
    house.store.append(&[attempt("proof-invalid", None), attempt("unchanged", Some(HOME))], NOW).unwrap();
    let written: Result<(), StoreError> = house.store.write(|change: &mut Change<'_>| {
        (0..5).try_for_each(|_| change.append(&audit("profile-changed"), NOW))
    });
    written.unwrap();
    house
}

fn faults(house: &House) -> Vec<Fault> {
    house.store.verify_journal(None).unwrap().faults
}

fn at(number: u64, wrong: Wrong) -> Fault {
    Fault { position: Position { writer: 1, number }, wrong }
}

#[test]
fn an_untouched_journal_verifies_against_its_own_heads() {
    let house = house();
    let heads = house.store.journal_heads().unwrap();
    let verification = house.store.verify_journal(Some(&heads)).unwrap();
    assert_eq!((verification.entries, verification.faults), (12, vec![]));
    assert_eq!(verification.heads, heads);
    house.record(&[house.create("later")]);
    assert_eq!(house.store.verify_journal(Some(&heads)).unwrap().faults, vec![]);
}

#[test]
fn every_changed_column_is_found() {
    const OF_BOTH: &[&str] = &[
        "at = at + 1",
        "tenant = 2",
        "device = 99",
        "device = NULL",
        "kind = 'attempt'",
        "actor = 'nobody'",
    ];
    const OF_SQLITE: &[&str] = &[
        "detail = CAST(replace(CAST(detail AS TEXT), 'device-2', 'device-9') AS BLOB)",
        "detail = x'01'",
        "detail = 'a text'",
        "link = 7, at = 'noon'",
    ];
    const OF_POSTGRES: &[&str] = &[
        "detail = set_byte(detail, length(detail) - 3, 65)",
        "detail = '\\x01'",
        "detail = ''",
        "link = '\\x07'",
    ];
    for change in [OF_BOTH, if POSTGRES { OF_POSTGRES } else { OF_SQLITE }].concat() {
        let house = house();
        let changed =
            house.tamper("main.db", &format!("UPDATE journal SET {change} WHERE position = 1099511627779"));
        assert_eq!((changed, faults(&house)), (1, vec![at(3, Wrong::Changed)]), "{change}");
    }
    let house = house();
    house.tamper("main.db", "UPDATE journal SET key_id = 9 WHERE position = 1099511627779");
    assert_eq!(faults(&house), [at(3, Wrong::KeyUnknown)]);
}

#[test]
fn a_changed_link_is_found_where_it_stands() {
    let house = house();
    let zeros = if POSTGRES { "decode(repeat('00', 32), 'hex')" } else { "zeroblob(32)" };
    house.tamper("main.db", &format!("UPDATE journal SET link = {zeros} WHERE position = 1099511627779"));
    assert_eq!(faults(&house), [at(3, Wrong::Changed), at(4, Wrong::Changed)]);
}

#[test]
fn a_missing_entry_is_found() {
    let house = house();
    house.tamper("main.db", "DELETE FROM journal WHERE position IN (1099511627779, 1099511627780)");
    assert_eq!(faults(&house), [at(3, Wrong::Missing { until: 4 })]);
}

#[test]
fn a_journal_whose_writer_was_struck_out_is_walked_all_the_same() {
    let house = house();
    house.tamper("main.db", "DELETE FROM journal_writers");
    house.tamper("main.db", "UPDATE journal SET tenant = 2 WHERE position = 1099511627779");
    assert_eq!(faults(&house), [at(3, Wrong::Changed)]);
}

#[test]
fn swapped_entries_are_found() {
    let house = house();
    for (from, to) in [(3, 99), (5, 3), (99, 5)] {
        house.tamper(
            "main.db",
            &format!(
                "UPDATE journal SET position = 1099511627776 + {to} WHERE position = 1099511627776 + {from}"
            ),
        );
    }
    let found = faults(&house);
    assert!(found.contains(&at(3, Wrong::Changed)) && found.contains(&at(5, Wrong::Changed)), "{found:?}");
}

#[test]
fn a_cut_tail_is_found_against_a_head_only() {
    let house = house();
    let heads = house.store.journal_heads().unwrap();
    house.tamper("main.db", "DELETE FROM journal WHERE position > 1099511627784");
    assert_eq!(faults(&house), []);
    assert_eq!(house.store.verify_journal(Some(&heads)).unwrap().faults, [at(12, Wrong::Cut)]);
    // What is written after the cut takes the numbers of what was cut off.
    let house = house.reopened(|_| {});
    house.store.append(&[audit("a"), audit("b"), audit("c"), audit("d")], NOW).unwrap();
    assert_eq!(house.store.verify_journal(Some(&heads)).unwrap().faults, [at(12, Wrong::Replaced)]);
}

#[test]
fn the_chain_goes_on_after_a_restart() {
    let house = house().reopened(|_| {});
    house.record(&[house.create("later")]);
    let verification = house.store.verify_journal(None).unwrap();
    assert_eq!((verification.entries, verification.faults), (13, vec![]));
    assert_eq!(verification.heads.len(), 1);
}

#[test]
fn a_change_that_fails_leaves_no_entry_and_no_gap() {
    let house = house();
    let failed: Result<(), StoreError> = house.store.write(|change: &mut Change<'_>| {
        change.create_tenant("acme", NOW)?;
        change.append(&audit("tenant-created"), NOW)?;
        Err(StoreError::Unavailable("on purpose".to_owned()))
    });
    assert!(failed.is_err());
    assert_eq!(house.store.read(|view| view.tenant_by_name("acme")).unwrap(), None);
    house.store.append(&[audit("next")], NOW).unwrap();
    let verification = house.store.verify_journal(None).unwrap();
    assert_eq!((verification.entries, verification.faults), (13, vec![]));
}

#[test]
fn pages_come_newest_first_by_tenant_and_kind() {
    let house = house();
    let read = |query: JournalQuery<'_>| house.store.read(|view| view.journal(&query)).unwrap();
    assert_eq!(read(ALL).entries.len(), 12);
    // An attempt that names nobody's things is the default tenant's.
    assert_eq!(read(JournalQuery { tenant: Some(HOME), ..ALL }).entries.len(), 12);
    assert_eq!(read(JournalQuery { tenant: Some(TenantId(99)), ..ALL }).entries.len(), 0);
    let attempts = read(JournalQuery { kinds: &[ATTEMPT], ..ALL }).entries;
    let detail = attempts[1].detail.as_ref().unwrap();
    assert_eq!(detail["outcome"], "proof-invalid");
    assert_eq!((&detail["v"], &detail["count"], &detail["name"]), (&json!(1), &json!(3), &json!("pump")));
    let first = read(JournalQuery { kinds: &[PROVISION], limit: 2, ..ALL });
    let second = read(JournalQuery { kinds: &[PROVISION], before: first.next.as_ref(), ..ALL });
    let names: Vec<_> = first
        .entries
        .iter()
        .chain(&second.entries)
        .map(|it| it.detail.as_ref().unwrap()["name"].clone())
        .collect();
    assert_eq!(names, ["device-4", "device-3", "device-2", "device-1", "device-0"]);
    assert_eq!(second.next, None);
}

#[test]
fn a_provision_is_journalled_with_what_happened_and_where_it_came_from() {
    let house = house();
    let entry = house
        .store
        .read(|view| view.journal(&JournalQuery { kinds: &[PROVISION], limit: 1, ..ALL }))
        .unwrap();
    let wanted = json!({ "v": 1, "deed": "created", "name": "device-4", "profile": "pumps", "credential": "token",
        "source": "192.0.2.1", "wire": "thingsboard-http" });
    assert_eq!(entry.entries[0].detail, Some(wanted));
    assert_eq!(entry.entries[0].device, house.device("device-4").map(|device| device.key));
}

#[test]
fn the_chain_holds_where_batches_and_operators_write_at_the_same_moment() {
    let house = House::new();
    let batches: Vec<Vec<_>> = (0..4)
        .map(|thread| (0..25).map(|number| house.create(&format!("pump-{thread}-{number}"))).collect())
        .collect();
    std::thread::scope(|scope| {
        for batch in &batches {
            scope.spawn(|| {
                batch.chunks(5).for_each(|some| assert!(house.record(some).iter().all(Result::is_ok)));
            });
            scope.spawn(|| {
                for _ in 0..5 {
                    house.store.append(&[audit("profile-changed")], NOW).unwrap();
                }
            });
        }
    });
    let verified = house.store.verify_journal(None).unwrap();
    assert_eq!((verified.entries, verified.faults), (120, vec![]));
}

/// All that is behind a place, read in small pieces, as a reader that goes away after each piece would.
fn behind(house: &House, mut place: Cursor, tenant: Option<TenantId>) -> Vec<Position> {
    let mut found = Vec::new();
    loop {
        let further = house.store.read(|view| view.journal_after(&place, tenant, 5)).unwrap();
        found.extend(further.entries.iter().map(|entry| entry.position));
        place = further.next.to_string().parse().unwrap_or_else(|()| Cursor::start());
        if !further.more {
            return found;
        }
    }
}

#[test]
fn a_reader_that_comes_back_to_its_place_misses_nothing_and_hears_nothing_twice() {
    let house = house();
    let numbers = |found: &[Position]| found.iter().map(|it| it.number).collect::<Vec<_>>();
    let all = behind(&house, Cursor::start(), None);
    assert_eq!(numbers(&all), (1..=12).collect::<Vec<_>>());
    let end = house.store.read(|view| view.journal_end()).unwrap();
    assert_eq!(behind(&house, end.clone(), None), []);
    house.record(&[house.create("later")]);
    assert_eq!(numbers(&behind(&house, end.clone(), None)), [13]);
    // What belongs to no tenant is for those who see all.
    assert_eq!(behind(&house, Cursor::start(), Some(HOME)).len(), 12);
    assert_eq!(behind(&house, end, Some(TenantId(99))), []);
    let mut passed = Cursor::start();
    passed.pass(all[3]);
    assert_eq!(behind(&house, passed, None).first(), Some(&all[4]));
}
