//! Devices by selector over the operator API.

use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::operator_api::{Answer, House};

/// A house where `zeta` has a few devices with labels, and what calls it.
struct Fleet {
    house: House,
    token: String,
}

impl Fleet {
    async fn new() -> Fleet {
        let house = House::new();
        let token = house.token(Some("zeta"), None).expose().to_owned();
        let fleet = Fleet { house, token };
        for (name, site, line) in
            [("pump-1", "berlin", "1"), ("pump-2", "berlin", "2"), ("tank", "rome", "1")]
        {
            let body = json!({ "name": name, "profile": "zeta-thing", "label": format!("on {site}"),
                "labels": { "site": site, "line": line } });
            let made = fleet.send("POST", "/devices", &body).await;
            assert_eq!((made.status, &made.json()["labels"]["site"]), (StatusCode::CREATED, &json!(site)));
        }
        fleet
    }

    async fn send(&self, verb: &str, path: &str, body: &Value) -> Answer {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.house.send(verb, path, Some(&self.token), body).await
    }

    async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &Value::Null).await
    }

    /// The names of all pages of two.
    async fn names(&self, query: &str) -> Vec<String> {
        let (mut names, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = self.get(&format!("/devices?limit=2&{query}{cursor}")).await.json();
            let items = page["items"].as_array().cloned().unwrap_or_default();
            names.extend(items.iter().filter_map(|item| Some(item["name"].as_str()?.to_owned())));
            match page["next"].as_str() {
                Some(next) => cursor = format!("&cursor={}", next.replace('/', "%2F")),
                None => return names,
            }
        }
    }
}

#[tokio::test]
async fn devices_are_listed_by_label_state_profile_prefix_and_text() {
    let fleet = Fleet::new().await;
    assert_eq!(fleet.names("labels=site=berlin").await, ["pump-1", "pump-2"]);
    assert_eq!(fleet.names("labels=site%3Dberlin,line%3D2").await, ["pump-2"]);
    assert_eq!(fleet.names("label=on+rome").await, ["tank"]);
    assert_eq!(fleet.names("name_prefix=pump-&state=expected").await, ["pump-1", "pump-2"]);
    assert_eq!(fleet.names("profile=zeta-thing&text=UM").await, ["pump-1", "pump-2"]);
    assert_eq!(fleet.names("text=n+Rome").await, ["tank"]);
    assert_eq!(fleet.names("state=disabled").await, Vec::<String>::new());
    assert_eq!(fleet.names("state=expected").await, ["zeta-thing", "pump-1", "pump-2", "tank"]);
    assert_eq!(fleet.names("").await, ["pump-1", "pump-2", "tank", "zeta-thing"]);
    assert_eq!(fleet.names("seen_before=2100-01-01T00:00:00Z").await, Vec::<String>::new());
    for wrong in ["labels=berlin", "labels=a%20b=c", "state=blue", "seen_after=noon", "text=tank&cursor=tank"]
    {
        let answer = fleet.get(&format!("/devices?{wrong}")).await;
        assert_eq!(answer.code(), (422, "value-invalid".to_owned()), "{wrong}");
    }
}

#[tokio::test]
async fn what_operators_say_of_a_device_is_changed_key_by_key() {
    let fleet = Fleet::new().await;
    let body = json!({ "label": "", "labels": { "line": null, "row": "b", "site": "berlin" } });
    let changed = fleet.send("PATCH", "/devices/pump-1", &body).await.json();
    assert_eq!((&changed["labels"], changed.get("label")), (&json!({ "row": "b", "site": "berlin" }), None));
    assert_eq!(fleet.get("/devices/pump-1").await.json()["labels"], changed["labels"]);
    for labels in [json!({ "a b": "c" }), json!({ "a": "b,c" }), json!({ "a": "" })] {
        let wrong = fleet.send("PATCH", "/devices/pump-1", &json!({ "labels": labels })).await;
        assert_eq!(wrong.code(), (422, "value-invalid".to_owned()));
    }
    let journal = fleet.get("/devices/pump-1/timeline").await.json();
    assert_eq!(journal["items"][0]["kind"], "device-labelled");
    assert_eq!(journal["items"][0]["detail"]["labels"], json!({ "line": null, "row": "b" }));
}
