//! Calls that come again: with the tag of what they saw, and with a key of their own.

use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::operator_api::{Answer, House};

const DEVICE: &str = "/devices/zeta-thing";

async fn send(
    house: &House,
    token: &str,
    verb: &str,
    path: &str,
    header: (&str, &str),
    body: &Value,
) -> Answer {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    house.send_with(verb, path, Some(token), &[header], body).await
}

fn tag(answer: &Answer) -> String {
    answer.headers["etag"].to_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_change_of_what_has_changed_meanwhile_is_refused_and_what_is_known_is_not_told_again() {
    let house = House::new();
    let token = house.token(Some("zeta"), None).expose().to_owned();
    for (path, change) in [
        (DEVICE, json!({ "labels": { "site": "berlin" } })),
        ("/profiles/zeta-thing", json!({ "strategy": "disabled" })),
    ] {
        let seen = tag(&house.send("GET", path, Some(&token), "").await);
        let known = send(&house, &token, "GET", path, ("if-none-match", &seen), &Value::Null).await;
        assert_eq!((known.status, known.text.as_str()), (StatusCode::NOT_MODIFIED, ""));
        let changed = send(&house, &token, "PATCH", path, ("if-match", &seen), &change).await;
        assert_eq!(changed.status, StatusCode::OK, "{}", changed.text);
        let now = tag(&changed);
        assert_ne!(now, seen);
        for stale in [seen.as_str(), "\"nonsense\"", &format!("W/{now}")] {
            let late = send(&house, &token, "PATCH", path, ("if-match", stale), &change).await;
            assert_eq!(late.code(), (412, "precondition-failed".to_owned()), "{stale}");
        }
        let known = send(&house, &token, "GET", path, ("if-none-match", &seen), &Value::Null).await;
        assert_eq!((known.status, tag(&known)), (StatusCode::OK, now.clone()));
        let any = send(&house, &token, "PATCH", path, ("if-match", "*"), &change).await;
        assert_eq!(any.status, StatusCode::OK);
    }
    let seen = tag(&house.send("GET", DEVICE, Some(&token), "").await);
    house.send("POST", &format!("{DEVICE}/disable"), Some(&token), "").await;
    for (verb, path) in [("DELETE", ""), ("POST", "/enable"), ("POST", "/decommission")] {
        let late =
            send(&house, &token, verb, &format!("{DEVICE}{path}"), ("if-match", &seen), &json!({})).await;
        assert_eq!(late.code(), (412, "precondition-failed".to_owned()), "{verb} {path}");
    }
    let now = tag(&house.send("GET", DEVICE, Some(&token), "").await);
    let gone = send(&house, &token, "DELETE", DEVICE, ("if-match", &now), &Value::Null).await;
    assert_eq!(gone.status, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn a_call_with_a_key_is_carried_out_once_also_over_a_restart() {
    let house = House::new();
    let token = house.token(Some("zeta"), None).expose().to_owned();
    let key = ("idempotency-key", "k-1");
    let body = json!({ "name": "pump", "profile": "zeta-thing" });
    let first = send(&house, &token, "POST", "/devices", key, &body).await;
    assert_eq!((first.status, first.headers.get("idempotency-replayed")), (StatusCode::CREATED, None));
    let house = house.again();
    let second = send(&house, &token, "POST", "/devices", key, &body).await;
    assert_eq!((second.status, &second.text), (StatusCode::CREATED, &first.text));
    assert_eq!(second.headers["idempotency-replayed"], "true");
    assert_eq!(tag(&second), tag(&first));
    let other = json!({ "name": "valve", "profile": "zeta-thing" });
    let other = send(&house, &token, "POST", "/devices", key, &other).await;
    assert_eq!(other.code(), (422, "idempotency-key-reused".to_owned()));
    let unkeyed = house.send("POST", "/devices", Some(&token), body.to_string()).await;
    assert_eq!(unkeyed.code(), (409, "device-exists".to_owned()));
    // Another caller's key is another key, and a day later it is a new one.
    let another = house.token(Some("zeta"), None).expose().to_owned();
    assert_eq!(send(&house, &another, "POST", "/devices", key, &body).await.code().1, "device-exists");
    house.pass(24 * 60 * 60 * 1000 + 1);
    assert_eq!(send(&house, &token, "POST", "/devices", key, &body).await.code().1, "device-exists");
    let long = "k".repeat(256);
    let wrong = send(&house, &token, "POST", "/devices", ("idempotency-key", &long), &body).await;
    assert_eq!(wrong.code(), (400, "idempotency-key-invalid".to_owned()));
}

#[tokio::test]
async fn of_two_equal_calls_at_the_same_moment_one_is_carried_out() {
    let house = House::new();
    let token = house.token(Some("zeta"), None).expose().to_owned();
    let body = json!({ "name": "pump", "profile": "zeta-thing" });
    let call = || send(&house, &token, "POST", "/devices", ("idempotency-key", "twice"), &body);
    let (one, two, three) = tokio::join!(call(), call(), call());
    assert_eq!((one.status, &one.text), (StatusCode::CREATED, &two.text), "{}", two.text);
    assert_eq!(three.text, one.text);
    let added = house.send("GET", "/devices/pump/timeline", Some(&token), "").await.json();
    assert_eq!(added["items"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn a_secret_is_shown_once_and_rests_nowhere_in_clear() {
    let house = House::new();
    let token = house.token(Some("zeta"), None).expose().to_owned();
    for (path, body, field) in [
        ("/profiles", json!({ "name": "new", "strategy": "create-new" }), "provision_secret"),
        ("/operator-tokens", json!({ "tenant": "zeta", "role": "viewer" }), "token"),
    ] {
        let first = send(&house, &token, "POST", path, ("idempotency-key", "s"), &body).await;
        let secret = first.json()[field].as_str().unwrap().to_owned();
        let second = send(&house, &token, "POST", path, ("idempotency-key", "s"), &body).await;
        assert_eq!(second.code(), (409, "idempotency-answer-withheld".to_owned()));
        assert!(!house.holds(&secret), "{field} rests in clear");
    }
    // What was refused is refused again; what failed may come again.
    let refused = json!({ "name": "new", "strategy": "create-new" });
    let first = send(&house, &token, "POST", "/profiles", ("idempotency-key", "r"), &refused).await;
    let second = send(&house, &token, "POST", "/profiles", ("idempotency-key", "r"), &refused).await;
    assert_eq!((first.code(), &first.text), ((409, "profile-exists".to_owned()), &second.text));
}
