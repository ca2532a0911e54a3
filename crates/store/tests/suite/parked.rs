//! Questions as the registry keeps them: counted while they wait, used up, and swept once they have expired.

use domain::question::{KEPT_MS, MOST_ANSWERED, MOST_OPEN};
use domain::{Provision, Question, QuestionId, Timestamp, Verdict};
use store::{Change, NewQuestion, StoreError};

use crate::house::{House, NOW, origin};

fn question(house: &House, name: &str) -> NewQuestion {
    NewQuestion {
        tenant: house.profile.tenant,
        profile: house.profile.id,
        name: name.to_owned(),
        origin: origin(),
        credential: "token",
        gateway: false,
        question: Question { hook: Some("inventory".to_owned()), person: true },
    }
}

/// Asks about a device that was not asked about before.
pub(crate) fn ask(house: &House, name: &str) -> QuestionId {
    house.store.park(&[question(house, name)], NOW).unwrap()[0].unwrap()
}

/// A person allows it, and the device comes.
pub(crate) fn let_in(house: &House, name: &str, asked: QuestionId) {
    decide(house, asked, &Verdict::Allowed { attributes: None });
    let provision = Provision { answered: Some(asked), ..house.create(name) };
    assert!(house.record(&[provision])[0].is_ok());
}

fn decide(house: &House, asked: QuestionId, verdict: &Verdict) {
    let decided: Result<bool, StoreError> = house
        .store
        .write(|change: &mut Change<'_>| change.decide_question(asked, verdict, None, "operator:1", NOW));
    assert!(decided.unwrap());
}

/// Puts as many questions as may wait into the registry.
fn fill(house: &House, verdict: &str, expires_at: Timestamp) {
    let (tenant, profile) = (house.profile.tenant.0, house.profile.id.0);
    house.tamper(
        "main.db",
        &format!(
            "INSERT INTO questions (tenant, profile, name_key, source, wire, credential, verdict, asked_at,
                 expires_at, attempts, due_at, fence)
             WITH RECURSIVE numbers (number) AS
                 (SELECT 1 UNION ALL SELECT number + 1 FROM numbers WHERE number < {MOST_OPEN})
             SELECT {tenant}, {profile}, '{verdict}-{expires_at}-' || number, '192.0.2.1', 'thingsboard-http',
                 'token', '{verdict}', 0, {expires_at}, 0, 0, 0 FROM numbers",
            expires_at = expires_at.0
        ),
    );
}

fn count(house: &House) -> i64 {
    house.count("main.db", "SELECT count(*) FROM questions")
}

#[test]
fn only_questions_that_wait_count_against_a_tenant() {
    let house = House::new();
    let tomorrow = NOW.plus_ms(KEPT_MS);
    fill(&house, "denied", tomorrow);
    fill(&house, "allowed", tomorrow);
    fill(&house, "awaits-hook", Timestamp(NOW.0 - 1));
    ask(&house, "pump");
    fill(&house, "awaits-person", tomorrow);
    let parked = house.store.park(&[question(&house, "pump"), question(&house, "another")], NOW).unwrap();
    assert!(parked[0].is_some(), "it waits already");
    assert_eq!(parked[1], None);
}

#[test]
fn a_batch_asks_no_more_than_there_is_room_for() {
    let house = House::new();
    fill(&house, "awaits-person", NOW.plus_ms(KEPT_MS));
    house.tamper("main.db", "DELETE FROM questions WHERE question <= 2");
    let names = ["a", "b", "a", "c"].map(|name| question(&house, name));
    let parked = house.store.park(&names, NOW).unwrap();
    assert_eq!(parked.iter().map(Option::is_some).collect::<Vec<_>>(), [true, true, true, false]);
}

#[test]
fn what_has_expired_is_deleted_and_nothing_else() {
    let house = House::new();
    for verdict in ["denied", "allowed", "awaits-hook", "awaits-person"] {
        fill(&house, verdict, NOW);
    }
    let waits = ask(&house, "pump");
    for _ in 0..100 {
        house.store.maintain(NOW).unwrap();
    }
    assert_eq!(count(&house), 1);
    assert!(house.store.verdicts(&[waits]).unwrap()[0].is_some());
    house.store.maintain(NOW.plus_ms(KEPT_MS)).unwrap();
    assert_eq!(count(&house), 0);
}

#[test]
fn of_the_answers_of_a_tenant_the_newest_are_kept_and_what_waits_is_left_alone() {
    let house = House::new();
    let tomorrow = NOW.plus_ms(KEPT_MS);
    fill(&house, "denied", tomorrow);
    // In the order of their numbers, all of them before what is answered now.
    house.tamper("main.db", "UPDATE questions SET decided_at = question");
    fill(&house, "awaits-person", tomorrow);
    house.tamper("main.db", "DELETE FROM questions WHERE verdict = 'awaits-person' AND question % 2 = 0");
    let standing = count(&house);
    let answered: Vec<QuestionId> = (0..3).map(|at| ask(&house, &format!("pump-{at}"))).collect();
    for id in &answered {
        decide(&house, *id, &Verdict::Denied);
    }
    for _ in 0..10 {
        house.store.maintain(NOW).unwrap();
    }
    assert_eq!(count(&house), standing);
    let kept = "SELECT count(*) FROM questions WHERE decided_at IS NOT NULL";
    assert_eq!(house.count("main.db", kept), MOST_ANSWERED.cast_signed());
    let oldest = "SELECT count(*) FROM questions WHERE decided_at <= 3";
    assert_eq!(house.count("main.db", oldest), 0, "the oldest are forgotten");
    assert!(house.store.verdicts(&answered).unwrap().iter().all(Option::is_some));
}

#[test]
fn a_question_that_has_expired_is_no_work() {
    let house = House::new();
    house.store.park(&[question(&house, "pump")], Timestamp(1)).unwrap();
    assert!(!house.store.is_work_due(NOW).unwrap());
    house.store.park(&[question(&house, "another")], NOW).unwrap();
    assert!(house.store.is_work_due(NOW).unwrap());
}
