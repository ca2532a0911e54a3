//! Devices by selector, page by page, and what is kept so that it is quick.

use domain::{Credential, DeviceRecord, DeviceState, Provision, Timestamp, Version};
use store::{Behind, Change, DeviceOrder, DeviceSearch, Selection, StoreError};

use crate::house::{HOME, House, NOW, make_profile, rotate};

fn write<T>(house: &House, mut f: impl FnMut(&mut Change<'_>) -> Result<T, StoreError>) -> T {
    house.store.write(|change: &mut Change<'_>| f(change)).unwrap()
}

fn add(house: &House, name: &str, note: Option<&str>, labels: &[(&str, &str)]) -> DeviceRecord {
    let device = DeviceRecord {
        state: DeviceState::Expected,
        credential: Credential::None,
        ..house.create(name).device
    };
    write(house, |change| {
        change.insert_device(&device, note, None)?;
        for (key, value) in labels {
            assert!(change.set_label((HOME, device.key), key, Some(value))?);
        }
        Ok(())
    });
    device
}

/// All pages of two, as names.
fn select(house: &House, selection: &Selection<'_>) -> Vec<String> {
    let (mut names, mut after) = (Vec::new(), None);
    loop {
        let page = house.store.read(|view| view.select_devices(HOME, selection, after.as_ref(), 2)).unwrap();
        names.extend(page.rows.into_iter().map(|row| row.record.name));
        after = page.next;
        if after.is_none() {
            return names;
        }
    }
}

fn fleet() -> House {
    let house = House::new();
    let other = make_profile(&house.store, HOME, "valves", &store::SecretLimits::default());
    for number in 0..7 {
        let line = if number % 2 == 0 { "even" } else { "odd" };
        add(&house, &format!("pump-{number}"), None, &[("site", "berlin"), ("line", line)]);
    }
    add(&house, "tank", Some("next to Pump-3"), &[("site", "rome")]);
    let valve = DeviceRecord { profile: other.id, ..add(&house, "valve", None, &[]) };
    let valve = DeviceRecord { version: Version(2), ..valve };
    assert!(write(&house, |change| change.save_device(&valve, Version(1), None, None)));
    house
}

fn labels(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn a_selection_finds_all_that_it_speaks_of_and_no_other() {
    let house = fleet();
    let wanted = labels(&[("site", "berlin"), ("line", "odd")]);
    let found = |selection: Selection<'_>| select(&house, &selection);
    assert_eq!(found(Selection { labels: &wanted, ..Selection::default() }), ["pump-1", "pump-3", "pump-5"]);
    let site = labels(&[("site", "rome")]);
    assert_eq!(found(Selection { labels: &site, ..Selection::default() }), ["tank"]);
    let wrong = labels(&[("site", "rome"), ("line", "odd")]);
    assert_eq!(found(Selection { labels: &wrong, ..Selection::default() }), Vec::<String>::new());
    let states = [DeviceState::Expected, DeviceState::Failed];
    let expected = Selection { states: Some(&states), ..Selection::default() };
    assert_eq!(found(expected.clone()).len(), 9);
    assert_eq!(found(Selection { name_prefix: Some("pump-"), ..expected.clone() }).len(), 7);
    assert_eq!(found(Selection { name_prefix: Some("t"), ..Selection::default() }), ["tank"]);
    let of_valves = |view: &store::View<'_>| view.profile_by_name(HOME, "valves");
    let valves = house.store.read(of_valves).unwrap().unwrap().profile.id;
    assert_eq!(found(Selection { profile: Some(valves), ..expected }), ["valve"]);
    assert_eq!(found(Selection { note: Some("next to Pump-3"), ..Selection::default() }), ["tank"]);
    assert_eq!(found(Selection::default()).len(), 9);
}

#[test]
fn a_text_is_found_before_and_after_it_is_in_the_index() {
    let house = fleet();
    let found = |text| select(&house, &Selection { text: Some(text), ..Selection::default() });
    let all = |found: &dyn Fn(&'static str) -> Vec<String>| {
        assert_eq!(found("MP-3"), ["pump-3", "tank"]);
        assert_eq!(found("an"), ["tank"]);
        assert_eq!(found("p_mp"), Vec::<String>::new());
        assert_eq!(found("pump-").len(), 8);
    };
    all(&found);
    house.store.maintain(NOW).unwrap();
    all(&found);
    let row = house.store.read(|view| view.device_named(HOME, "pump-3")).unwrap().unwrap();
    let renamed = DeviceRecord { name: "boiler".to_owned(), version: Version(2), ..row.record };
    assert!(write(&house, |change| change.save_device(&renamed, Version(1), Some("hot"), None)));
    for _ in 0..2 {
        assert_eq!(found("pump-3"), ["tank"]);
        assert_eq!(found("oil"), ["boiler"]);
        assert_eq!(found("hot"), ["boiler"]);
        house.store.maintain(Timestamp(NOW.0 + 60_000)).unwrap();
    }
    let searched = |text| {
        let search = DeviceSearch { text: Some(text), ..DeviceSearch::default() };
        house.store.read(|view| view.searched(HOME, &search, 0, 9)).unwrap()
    };
    assert_eq!((searched("ump").total, searched("ump").rows.len()), (7, 7));
    write(&house, |change| change.delete_device(&renamed, NOW));
    assert_eq!((found("oil"), searched("boil").total), (Vec::<String>::new(), 0));
}

#[test]
fn who_was_heard_of_longest_ago_comes_first_and_earlier_news_is_no_news() {
    let house = fleet();
    let key = |name| house.store.read(|view| view.device_named(HOME, name)).unwrap().unwrap().record.key;
    let (one, two, three) = (key("pump-1"), key("pump-2"), key("pump-3"));
    let seen = [(one, Timestamp(300)), (two, Timestamp(100)), (three, Timestamp(200)), (two, Timestamp(50))];
    house.store.note_seen(&seen).unwrap();
    house.store.note_seen(&[(domain::DeviceKey(99_999), Timestamp(1))]).unwrap();
    let found = |after: Option<i64>, before: Option<i64>| {
        let (seen_after, seen_before) = (after.map(Timestamp), before.map(Timestamp));
        select(&house, &Selection { seen_after, seen_before, ..Selection::default() })
    };
    assert_eq!(found(None, Some(1000)), ["pump-2", "pump-3", "pump-1"]);
    assert_eq!(found(Some(200), None), ["pump-3", "pump-1"]);
    assert_eq!(found(Some(101), Some(300)), ["pump-3"]);
    let row = house.store.read(|view| view.device_named(HOME, "pump-2")).unwrap().unwrap();
    assert_eq!(row.seen_at, Some(Timestamp(100)));
    assert_eq!(row.labels.get("line").map(String::as_str), Some("even"));
}

#[test]
fn pages_from_the_end_are_those_from_the_beginning_and_totals_follow_every_move() {
    let house = fleet();
    let page = |search: DeviceSearch<'_>, offset| {
        let found = house.store.read(|view| view.searched(HOME, &search, offset, 2)).unwrap();
        (found.rows.into_iter().map(|row| row.record.name).collect::<Vec<_>>(), found.total)
    };
    for order in [DeviceOrder::Name, DeviceOrder::Created] {
        for descending in [false, true] {
            let search = DeviceSearch { order, descending, ..DeviceSearch::default() };
            let pages: Vec<String> = (0..5).flat_map(|number| page(search, number * 2).0).collect();
            let mut sorted = pages.clone();
            sorted.sort();
            if descending {
                sorted.reverse();
            }
            assert_eq!((pages, page(search, 0).1), (sorted, 9));
        }
    }
    let profile = house.profile.id;
    let of_pumps = DeviceSearch { profile: Some(profile), ..DeviceSearch::default() };
    assert_eq!(page(of_pumps, 6), (vec!["pump-6".to_owned(), "tank".to_owned()], 8));
    let tank = house.device("tank").unwrap();
    write(&house, |change| change.delete_device(&tank, NOW));
    assert_eq!((page(of_pumps, 6).1, page(DeviceSearch::default(), 0).1), (7, 8));
}

#[test]
fn devices_in_the_order_of_profiles_or_labels_are_on_every_page_as_if_all_were_sorted() {
    let house = fleet();
    let more = ["a first one", "Zulu", "nobody's"]
        .map(|name| make_profile(&house.store, HOME, name, &store::SecretLimits::default()).id);
    // So many that a text which all of them hold is not sorted either.
    let made: Vec<DeviceRecord> = (0..5200_usize)
        .zip(house.keys(5200))
        .map(|(number, key)| DeviceRecord {
            key,
            profile: more[number * 7 % 3 % 2],
            state: DeviceState::Expected,
            credential: Credential::None,
            ..house.create_without_key(&format!("made-{number}")).device
        })
        .collect();
    let note = |number: usize| ["", "on roof", "Mast", "mast", "on roof 7"].get(number % 7).copied();
    write(&house, |change| {
        let mut numbered = made.iter().enumerate();
        numbered.try_for_each(|(number, device)| change.insert_device(device, note(number), None).map(drop))
    });
    let left = DeviceRecord { state: DeviceState::Decommissioning, version: Version(2), ..made[4].clone() };
    assert!(write(&house, |change| change.update_device(&left)));
    let all = house.store.read(|view| view.select_devices(HOME, &Selection::default(), None, 9999)).unwrap();
    let keys: Vec<_> = all.rows.iter().map(|row| row.record.key).collect();
    let texts = [(None, false), (Some("ma"), false), (Some("pump-"), false), (Some("valve"), true)];
    let orders = [DeviceOrder::Profile, DeviceOrder::Label];
    let profiles = [None, Some(more[0])];
    let asked = texts.into_iter().flat_map(|text| orders.map(|order| (text, order)));
    let asked = asked.flat_map(|(text, order)| [(text, order, false), (text, order, true)]);
    for ((text, in_profile_names), order, descending) in asked {
        for profile in profiles {
            let search = DeviceSearch { text, in_profile_names, descending, order, profile, among: None };
            // All of them by one statement that sorts.
            let sorted = DeviceSearch { among: Some((&keys[..], true)), ..search };
            let all = house.store.read(|view| view.searched(HOME, &sorted, 0, u64::from(u32::MAX))).unwrap();
            let all: Vec<_> = all.rows.into_iter().map(|row| row.record.key).collect();
            assert!(!all.contains(&left.key));
            let pages = [(0, 3), (1, 4000), (7, 4), (1732, 3), (1733, 9), (3465, 2), (5199, 3), (5207, 9)];
            for (offset, limit) in pages {
                let expected: Vec<_> = all.iter().skip(offset).take(limit).copied().collect();
                let found =
                    house.store.read(|view| view.searched(HOME, &search, offset as u64, limit as u64));
                let found = found.unwrap();
                let keys: Vec<_> = found.rows.into_iter().map(|row| row.record.key).collect();
                assert_eq!(keys, expected, "{search:?} {offset} {limit}");
                let most = (offset + limit) as u64 + 5000;
                assert!(found.total == all.len() as u64 || found.total == most, "{}", found.total);
            }
        }
    }
}

#[test]
fn totals_and_texts_know_whom_a_batch_let_in_and_nobody_else() {
    let house = House::new();
    let gone = Provision { answered: Some(domain::QuestionId(99)), ..house.create("without an answer") };
    let batch = [house.create("one"), house.create("two"), house.create("one"), gone];
    assert_eq!(house.record(&batch).iter().filter(|result| result.is_ok()).count(), 2);
    house.record(&[rotate(&batch[0].device, &house.profile, 5), house.create("another")]);
    for _ in 0..2 {
        let total = |text| {
            let search = DeviceSearch { text, ..DeviceSearch::default() };
            house.store.read(|view| view.searched(HOME, &search, 0, 9)).unwrap().total
        };
        assert_eq!((total(None), total(Some("ano")), total(Some("without"))), (3, 1, 0));
        assert_eq!(select(&house, &Selection { text: Some("two"), ..Selection::default() }), ["two"]);
        house.store.maintain(NOW).unwrap();
    }
}

#[test]
fn a_label_is_changed_taken_away_and_leaves_with_its_device() {
    let house = fleet();
    let tank = house.device("tank").unwrap();
    let set = |value| write(&house, |change| change.set_label((HOME, tank.key), "site", value));
    assert!(!set(Some("rome")));
    assert!(set(Some("oslo")));
    let of = || house.store.read(|view| view.labels(tank.key)).unwrap();
    assert_eq!(of(), labels(&[("site", "oslo")]));
    assert!(set(None));
    assert!(!set(None));
    assert_eq!(of(), []);
    assert!(set(Some("bonn")));
    write(&house, |change| change.delete_device(&tank, NOW));
    assert_eq!(of(), []);
    let bonn = labels(&[("site", "bonn")]);
    assert_eq!(select(&house, &Selection { labels: &bonn, ..Selection::default() }), Vec::<String>::new());
    let behind = Some(Behind::Key(tank.key));
    let none = Selection { labels: &bonn, ..Selection::default() };
    let found = house.store.read(|view| view.select_devices(HOME, &none, behind.as_ref(), 2)).unwrap();
    assert_eq!((found.rows, found.next), (Vec::new(), None));
}

/// Whether a device is what a selection asks for, found without any index.
fn fits(selection: &Selection<'_>, row: &store::DeviceRow) -> bool {
    let label = row.label.as_deref().unwrap_or_default().to_lowercase();
    let holds = |text: &str| row.record.name.to_lowercase().contains(text) || label.contains(text);
    selection.profile.is_none_or(|profile| profile == row.record.profile)
        && selection.note.is_none_or(|note| row.label.as_deref() == Some(note))
        && selection.states.is_none_or(|states| states.contains(&row.record.state))
        && selection.labels.iter().all(|(key, value)| row.labels.get(key) == Some(value))
        && row.record.name.starts_with(selection.name_prefix.unwrap_or_default())
        && selection.text.is_none_or(|text| holds(&text.to_lowercase()))
        && selection.seen_after.is_none_or(|then| row.seen_at.is_some_and(|at| at >= then))
        && selection.seen_before.is_none_or(|then| row.seen_at.is_some_and(|at| at < then))
}

#[test]
fn whatever_leads_a_selection_finds_what_looking_at_every_device_finds_in_its_order() {
    let house = fleet();
    let all =
        house.store.read(|view| view.select_devices(HOME, &Selection::default(), None, 99)).unwrap().rows;
    let seen: Vec<_> = all
        .iter()
        .enumerate()
        .skip(2)
        .map(|(at, row)| (row.record.key, Timestamp(100 + at as i64 % 3)))
        .collect();
    house.store.note_seen(&seen).unwrap();
    write(&house, |change| {
        let row = change.device_named(HOME, "pump-4")?.unwrap();
        change.update_device(&DeviceRecord { state: DeviceState::Failed, version: Version(2), ..row.record })
    });
    let all =
        house.store.read(|view| view.select_devices(HOME, &Selection::default(), None, 99)).unwrap().rows;
    let (odd, berlin) = (labels(&[("line", "odd"), ("site", "berlin")]), labels(&[("site", "berlin")]));
    let states = [DeviceState::Expected, DeviceState::Failed];
    let mut found_any = 0;
    for maintained in [false, true] {
        for number in 0..3_usize.pow(7) * 2 {
            let choice = |place: u32| number / 3_usize.pow(place) % 3;
            let selection = Selection {
                profile: [None, Some(house.profile.id), Some(domain::ProfileId(99))][choice(0)],
                states: [None, Some(&states[..]), Some(&states[1..])][choice(1)],
                note: [None, Some("next to Pump-3")][number / 3_usize.pow(7)],
                labels: [&[][..], &odd, &berlin][choice(2)],
                name_prefix: [None, Some("pump-"), Some("t")][choice(3)],
                text: [None, Some("MP-"), Some("an")][choice(4)],
                seen_after: [None, Some(Timestamp(101)), Some(Timestamp(0))][choice(5)],
                seen_before: [None, Some(Timestamp(102)), Some(Timestamp(999))][choice(6)],
            };
            let mut wanted: Vec<_> = all.iter().filter(|row| fits(&selection, row)).collect();
            wanted.sort_by_key(|row| selection.behind(row));
            let wanted: Vec<_> = wanted.into_iter().map(|row| row.record.name.clone()).collect();
            assert_eq!(select(&house, &selection), wanted, "{selection:?}, {maintained}");
            found_any += usize::from(!wanted.is_empty());
        }
        house.store.maintain(NOW).unwrap();
    }
    assert!(found_any > 100, "{found_any} selections found something");
}

#[test]
fn who_asks_for_few_among_many_waits_for_no_more_than_a_part_of_them() {
    let house = House::new();
    let named = |(number, key)| {
        let mut new = house.create_without_key(&format!("d-{number:05}"));
        new.device.key = key;
        new
    };
    let many: Vec<Provision> = house.keys(20_100).into_iter().enumerate().map(named).collect();
    for some in many.chunks(500) {
        assert!(house.record(some).iter().all(Result::is_ok));
    }
    house.store.maintain(NOW).unwrap();
    let selection = Selection {
        profile: Some(house.profile.id),
        text: Some("99"),
        name_prefix: Some("d-200"),
        ..Selection::default()
    };
    assert_eq!(select(&house, &selection), ["d-20099"]);
    let selection = Selection { profile: Some(house.profile.id), text: Some("99"), ..Selection::default() };
    assert_eq!(select(&house, &selection).len(), 561);
    let rare = Selection { states: Some(&[DeviceState::Provisioned]), text: Some("zz"), ..selection };
    let page = house.store.read(|view| view.select_devices(HOME, &rare, None, 9)).unwrap();
    assert_eq!((page.rows.len(), page.next.is_some()), (0, !crate::POSTGRES));
    assert_eq!(select(&house, &rare), Vec::<String>::new());
}
