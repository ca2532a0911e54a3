//! Two chains in one journal, and whatever is done to one of them behind their backs: `verify` finds it there, and
//! nothing wrong with the other. On PostgreSQL each server writes one; in files a new one begins after a restore.

use serde_json::json;
use store::journal::{Fault, NewEntry, Position, What, Wrong};
use store::{Head, Store};

use crate::POSTGRES;
use crate::house::{HOME, House, NOW};

/// Entries of each chain.
const LENGTH: u64 = 5;

fn audit(number: u64) -> NewEntry {
    let what = What::Audit { kind: format!("kind-{number}"), actor: "operator:1".into(), detail: json!({}) };
    NewEntry { tenant: Some(HOME), device: None, what }
}

fn write(store: &Store) {
    for number in 1..=LENGTH {
        store.append(&[audit(number)], NOW).unwrap();
    }
}

/// A store with both chains, and where they ended before anybody laid hands on them.
fn two_chains() -> (House, Vec<Head>) {
    let House { store, profile, place } = House::new();
    write(&store);
    drop(store);
    if !POSTGRES {
        place.tamper("main.db", "INSERT INTO counters (name, next) VALUES ('writer', 2)");
    }
    let store = place.open_as("other", "kek", 7).unwrap();
    write(&store);
    let heads = store.journal_heads().unwrap();
    (House { store, profile, place }, heads)
}

fn faults(house: &House, heads: &[Head]) -> Vec<Fault> {
    house.store.verify_journal(Some(heads)).unwrap().faults
}

fn at(writer: u64, number: u64, wrong: Wrong) -> Fault {
    Fault { position: Position { writer, number }, wrong }
}

fn position(writer: u64, number: u64) -> u64 {
    (writer << 40) + number
}

fn do_to(house: &House, what: &str, writer: u64, number: u64) {
    let text = format!("{what} WHERE position = {}", position(writer, number));
    assert_eq!(house.tamper("main.db", &text), 1, "{text}");
}

fn swap(house: &House, one: (u64, u64), other: (u64, u64)) {
    for (from, to) in [(one, (9, 9)), (other, one), ((9, 9), other)] {
        do_to(house, &format!("UPDATE journal SET position = {}", position(to.0, to.1)), from.0, from.1);
    }
}

/// An entry as a store with other keys has signed it: the same words, and a link that its own chain would hold.
fn sign_anew(house: &House, twin: &House, writer: u64, number: u64) {
    let stored = |column: &str| {
        let shown = if POSTGRES { format!("encode({column}, 'hex')") } else { format!("hex({column})") };
        let from = format!("FROM journal WHERE position = {}", position(writer, number));
        let bytes = twin.place.text("main.db", &format!("SELECT {shown} {from}"));
        if POSTGRES { format!("'\\x{bytes}'") } else { format!("x'{bytes}'") }
    };
    let (detail, link) = (stored("detail"), stored("link"));
    do_to(house, &format!("UPDATE journal SET detail = {detail}, link = {link}"), writer, number);
}

#[test]
fn two_chains_that_nobody_touched_verify_together() {
    let (house, heads) = two_chains();
    let verification = house.store.verify_journal(Some(&heads)).unwrap();
    assert_eq!((verification.entries, verification.faults), (2 * LENGTH, vec![]));
    assert_eq!(verification.heads, heads);
    let ends: Vec<_> = heads.iter().map(|head| (head.position.writer, head.position.number)).collect();
    assert_eq!(ends, [(1, LENGTH), (2, LENGTH)]);
}

#[test]
fn an_entry_that_was_changed_or_taken_out_of_either_chain_is_found_in_it() {
    for writer in [1, 2] {
        let (house, heads) = two_chains();
        do_to(&house, "UPDATE journal SET actor = 'operator:2'", writer, 2);
        assert_eq!(faults(&house, &heads), [at(writer, 2, Wrong::Changed)]);
        do_to(&house, "DELETE FROM journal", writer, 4);
        let missing = at(writer, 4, Wrong::Missing { until: 4 });
        assert_eq!(faults(&house, &heads), [at(writer, 2, Wrong::Changed), missing]);
    }
}

#[test]
fn entries_that_changed_places_are_found_within_a_chain_and_between_two() {
    for writer in [1, 2] {
        let (house, heads) = two_chains();
        swap(&house, (writer, 2), (writer, 3));
        // The fourth follows the link of another one than it was written behind.
        assert_eq!(faults(&house, &heads), [2, 3, 4].map(|number| at(writer, number, Wrong::Changed)));
    }
    let (house, heads) = two_chains();
    swap(&house, (1, LENGTH), (2, LENGTH));
    assert_eq!(faults(&house, &heads), [1, 2].map(|writer| at(writer, LENGTH, Wrong::Changed)));
}

#[test]
fn an_entry_or_a_whole_chain_that_was_signed_anew_with_other_keys_is_found() {
    let (twin, _) = two_chains();
    for writer in [1, 2] {
        let (house, heads) = two_chains();
        sign_anew(&house, &twin, writer, 2);
        assert_eq!(faults(&house, &heads), [2, 3].map(|number| at(writer, number, Wrong::Changed)));
        (1..=LENGTH).for_each(|number| sign_anew(&house, &twin, writer, number));
        let all: Vec<_> = (1..=LENGTH).map(|number| at(writer, number, Wrong::Changed)).collect();
        assert_eq!(faults(&house, &heads), all);
        assert_eq!(house.store.verify_journal(None).unwrap().faults, all, "no head is needed for that");
    }
}

#[test]
fn a_tail_that_was_cut_off_either_chain_is_found() {
    for writer in [1, 2] {
        let (house, heads) = two_chains();
        do_to(&house, "DELETE FROM journal", writer, LENGTH);
        assert_eq!(faults(&house, &heads), [at(writer, LENGTH, Wrong::Cut)]);
        (1..LENGTH).for_each(|number| do_to(&house, "DELETE FROM journal", writer, number));
        assert_eq!(faults(&house, &heads), [at(writer, LENGTH, Wrong::Cut)], "nor a chain of nothing");
    }
}
