//! Calls that are carried out once.

use domain::{Timestamp, Verifier};
use store::{Begun, Change, StoreError};

use crate::house::{House, NOW};

#[test]
fn a_call_is_new_once_and_is_told_how_it_ended_until_a_day_is_over() {
    let house = House::new();
    let begin = |call: u8, request: u8, now: Timestamp| {
        let (call, request) = (Verifier([call; 32]), Verifier([request; 32]));
        let begun: Result<Begun, StoreError> =
            house.store.write(|change: &mut Change<'_>| change.begin_once(&call, "token:1", &request, now));
        begun.unwrap()
    };
    let end = |call: u8, ended: Option<Option<&str>>| {
        let done: Result<(), StoreError> = house.store.write(|change: &mut Change<'_>| match ended {
            Some(answer) => change.end_once(&Verifier([call; 32]), 201, answer),
            None => change.forget_once(&Verifier([call; 32])),
        });
        done.unwrap();
    };
    assert_eq!(begin(1, 1, NOW), Begun::New);
    assert_eq!(begin(1, 1, NOW), Begun::Unended(NOW));
    assert_eq!(begin(1, 2, NOW), Begun::Other);
    end(1, Some(Some("{}")));
    assert_eq!(begin(1, 1, NOW), Begun::Ended { status: 201, answer: Some("{}".to_owned()) });
    assert_eq!(begin(1, 2, NOW), Begun::Other);
    assert_eq!(begin(2, 1, NOW), Begun::New);
    end(2, None);
    assert_eq!(begin(2, 1, NOW), Begun::New);
    end(2, Some(None));
    assert_eq!(begin(2, 1, NOW), Begun::Ended { status: 201, answer: None });
    let tomorrow = Timestamp(NOW.0 + 24 * 60 * 60 * 1000 + 1);
    assert_eq!(begin(1, 2, tomorrow), Begun::New);
}
