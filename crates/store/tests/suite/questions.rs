//! Questions and their answers: who is first counts, whoever it is.

use std::sync::Barrier;

use domain::{Question, QuestionId, Verdict};
use store::{Capacity, Change, Claim, HookSaid, NewQuestion, Said, StepFault, Store};

use crate::POSTGRES;
use crate::house::{HOME, House, NOW, origin};

const ALLOWED: Verdict = Verdict::Allowed { attributes: None };
const NOTHING: Claim<'_> = Claim { capacity: &Capacity::for_each(0), lease_ms: 0 };

fn asked(house: &House, name: &str, hook: bool) -> QuestionId {
    let question = Question { hook: hook.then(|| "gate".to_owned()), person: true };
    let new = NewQuestion {
        tenant: HOME,
        profile: house.profile.id,
        name: name.to_owned(),
        origin: origin(),
        credential: "token",
        gateway: false,
        question,
    };
    house.store.park(&[new], NOW).unwrap()[0].unwrap()
}

/// Another server on the same database; files have only one.
fn elsewhere(house: &House) -> Store {
    if POSTGRES { house.place.open_as("other", "kek", 7).unwrap() } else { house.store.clone() }
}

/// Whether the decision counts.
fn decide(store: &Store, id: QuestionId, verdict: &Verdict, by: &str) -> bool {
    let decide = |change: &mut Change<'_>| change.decide_question(id, verdict, Some("why"), by, NOW);
    store.write(decide).unwrap()
}

fn verdict(house: &House, id: QuestionId) -> (Verdict, Option<String>) {
    let row = house.store.read(|view| view.question(HOME, id)).unwrap().unwrap();
    (row.standing.verdict, row.decided_by)
}

#[test]
fn of_two_people_who_decide_at_once_the_first_is_heard_and_the_other_is_told_so() {
    let house = House::new();
    let other = elsewhere(&house);
    for round in 0..20 {
        let id = asked(&house, &format!("pump-{round}"), false);
        let begin = Barrier::new(2);
        let at_once = |store: &Store, verdict: Verdict, by: &str| {
            begin.wait();
            decide(store, id, &verdict, by)
        };
        let (denied, allowed) = std::thread::scope(|scope| {
            let allowed = scope.spawn(|| at_once(&other, ALLOWED, "operator:1"));
            (at_once(&house.store, Verdict::Denied, "operator:2"), allowed.join().unwrap())
        });
        assert_ne!(allowed, denied, "one of them is first");
        let stands = if allowed { (ALLOWED, "operator:1") } else { (Verdict::Denied, "operator:2") };
        assert_eq!(verdict(&house, id), (stands.0, Some(stands.1.to_owned())));
        assert!(!decide(&house.store, id, &ALLOWED, "operator:3"), "nor is a third one heard");
    }
}

#[test]
fn a_person_is_heard_whatever_a_hook_says_before_and_after() {
    let house = House::new();
    let denied = asked(&house, "denied", true);
    let claimed = house
        .store
        .advance_questions(&[], Claim { capacity: &Capacity::for_each(10), lease_ms: 600_000 }, NOW)
        .unwrap();
    let said = |said: Said| HookSaid { id: claimed[0].row.standing.id, fence: claimed[0].fence, said };
    house.store.advance_questions(&[said(Said::Deny("stolen".into()))], NOTHING, NOW).unwrap();
    assert_eq!(verdict(&house, denied), (Verdict::Denied, Some("hook:gate".to_owned())));
    assert!(decide(&house.store, denied, &ALLOWED, "operator:1"));
    house.store.advance_questions(&[said(Said::Deny("stolen".into()))], NOTHING, NOW).unwrap();
    assert_eq!(verdict(&house, denied), (ALLOWED, Some("operator:1".to_owned())));
}

#[test]
fn what_a_process_asked_when_it_ended_is_asked_again_at_once_and_what_waits_for_its_time_is_not() {
    let house = House::new();
    let other = elsewhere(&house);
    let id = asked(&house, "pump", true);
    let claim = |server: &Store| {
        let claim = Claim { capacity: &Capacity::for_each(10), lease_ms: 600_000 };
        server.advance_questions(&[], claim, NOW).unwrap().pop()
    };
    let lost = claim(&house.store).unwrap();
    if POSTGRES {
        other.release_own_questions(NOW).unwrap();
        assert!(claim(&other).is_none(), "somebody else asks it");
    }
    house.store.release_own_questions(NOW).unwrap();
    let again = claim(&other).unwrap();
    assert_eq!((again.row.standing.id, again.row.attempts), (id, 2));
    let late = HookSaid { id, fence: lost.fence, said: Said::Deny("stolen".into()) };
    house.store.advance_questions(&[late], NOTHING, NOW).unwrap();
    assert_eq!(verdict(&house, id), (Verdict::AwaitsHook, None));
    let down =
        StepFault { permanent: false, code: "down".into(), message: String::new(), again_in_ms: 600_000 };
    let down = HookSaid { id, fence: again.fence, said: Said::Nothing(down) };
    other.advance_questions(&[down], NOTHING, NOW).unwrap();
    for server in [&house.store, &other] {
        server.release_own_questions(NOW).unwrap();
    }
    assert!(claim(&house.store).is_none(), "its hook is left alone for a while");
}

#[test]
fn a_hook_that_answers_while_a_person_decides_does_not_take_the_persons_word_back() {
    let house = House::new();
    let other = elsewhere(&house);
    for round in 0..20 {
        let id = asked(&house, &format!("pump-{round}"), true);
        let claim = Claim { capacity: &Capacity::for_each(1), lease_ms: 600_000 };
        let claimed = house.store.advance_questions(&[], claim, NOW).unwrap().remove(0);
        assert_eq!(claimed.row.standing.id, id);
        let begin = Barrier::new(2);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                begin.wait();
                let said = HookSaid { id, fence: claimed.fence, said: Said::Deny("stolen".into()) };
                other.advance_questions(&[said], NOTHING, NOW).unwrap();
            });
            begin.wait();
            assert!(decide(&house.store, id, &ALLOWED, "operator:1"));
        });
        assert_eq!(verdict(&house, id), (ALLOWED, Some("operator:1".to_owned())));
    }
}
