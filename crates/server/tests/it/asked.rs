//! What a question says that is not there, or stands in the wrong place.

use serde_json::{Value, json};

use crate::operator_api::House;

#[tokio::test]
async fn null_takes_a_note_away_and_changes_no_other_label() {
    let house = House::new();
    let acme = house.token(Some("acme"), None);
    let ask = async |verb: &str, path: &str, body: Value| {
        house.send(verb, path, Some(acme.expose()), body.to_string()).await
    };
    let wanted = json!({ "label": "north hall", "labels": { "site": "berlin", "line": "3" } });
    assert_eq!(ask("PATCH", "/devices/acme-thing", wanted).await.json()["label"], "north hall");
    let kept = ask("PATCH", "/devices/acme-thing", json!({ "labels": null })).await.json();
    assert_eq!((&kept["label"], &kept["labels"]["site"]), (&json!("north hall"), &json!("berlin")));
    let gone = json!({ "label": null, "labels": { "line": null } });
    let told = ask("PATCH", "/devices/acme-thing", gone).await.json();
    assert_eq!((&told["label"], &told["labels"]), (&Value::Null, &json!({ "site": "berlin" })));
    let made = json!({ "name": "new", "profile": "acme-thing", "label": null, "labels": null });
    assert_eq!(ask("POST", "/devices", made).await.status, 201);
    let noted = json!({ "names": ["new"], "label": "x" });
    assert_eq!(ask("POST", "/devices:label", noted).await.status, 200);
    let noted = json!({ "names": ["new"], "label": null });
    assert_eq!(ask("POST", "/devices:label", noted).await.status, 200);
    assert_eq!(ask("GET", "/devices/new", json!({})).await.json()["label"], Value::Null);
}

#[tokio::test]
async fn a_stop_is_not_lifted_by_a_body_that_names_another_one() {
    let house = House::new();
    let acme = house.token(Some("acme"), None);
    let ask = async |verb: &str, path: &str, body: &str| {
        house.send(verb, path, Some(acme.expose()), body.to_owned()).await
    };
    let stop = json!({ "profile": "acme-thing" }).to_string();
    for body in ["{}", &stop] {
        assert_eq!(ask("POST", "/freezes", body).await.status, 204);
    }
    assert_eq!(ask("DELETE", "/freezes", &stop).await.code(), (400, "body-malformed".to_owned()));
    let stands = |told: Value| told["items"].as_array().map(Vec::len);
    assert_eq!(stands(ask("GET", "/freezes", "").await.json()), Some(2));
    assert_eq!(ask("DELETE", "/freezes?profile=acme-thing", "").await.status, 204);
    assert_eq!(stands(ask("GET", "/freezes", "").await.json()), Some(1));
}

#[tokio::test]
async fn a_body_that_is_not_understood_is_told_in_words_that_are_true() {
    let house = House::new();
    let acme = house.token(Some("acme"), None);
    for (verb, path, body, wanted) in [
        (
            "POST",
            "/devices",
            r#"{"name":"x","profile":"acme-thing","token":"my token"}"#,
            "unknown field `token`",
        ),
        (
            "PATCH",
            "/profiles/acme-thing",
            r#"{"rotate_secret":true}"#,
            "`rotate_secret`: it is of another type",
        ),
        ("PATCH", "/profiles/acme-thing", r#"{"limits":7}"#, "expected an object"),
    ] {
        let told = house.send(verb, path, Some(acme.expose()), body).await;
        assert_eq!(told.code(), (400, "body-malformed".to_owned()));
        let detail = told.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains(wanted) && !detail.contains("my token"), "{detail}");
    }
}
