//! Devices by selector over the operator API.

use axum::http::StatusCode;
use http_body_util::BodyExt as _;
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

    /// The lines of an answer for many devices, without the summary, and the summary.
    async fn bulk(&self, verb: &str, body: &Value) -> (Vec<Value>, Value) {
        let answer = self.send("POST", &format!("/devices:{verb}"), body).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
        let mut lines: Vec<Value> =
            answer.text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let summary = lines.pop().unwrap();
        assert_eq!(summary["type"], "summary");
        (lines, summary)
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
    for wrong in [
        "labels=berlin",
        "labels=",
        "labels=,",
        "text=",
        "name_prefix=",
        "labels=a%20b=c",
        "state=blue",
        "seen_after=noon",
        "text=tank&cursor=tank",
    ] {
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

#[tokio::test]
async fn many_devices_are_shut_out_with_a_result_for_each_and_never_more_than_were_counted() {
    let fleet = Fleet::new().await;
    let berlin = json!({ "labels": "site=berlin" });
    let (lines, summary) = fleet.bulk("disable", &json!({ "selector": berlin, "dry_run": true })).await;
    assert_eq!(lines[0], json!({ "type": "device", "name": "pump-1", "result": "would-change" }));
    assert_eq!((lines.len(), &summary["changed"]), (2, &json!(2)));
    assert_eq!(fleet.names("state=disabled").await, Vec::<String>::new());
    let uncounted = fleet.send("POST", "/devices:disable", &json!({ "selector": berlin })).await;
    assert_eq!(uncounted.code(), (422, "count-missing".to_owned()));
    let wrong =
        fleet.send("POST", "/devices:disable", &json!({ "selector": berlin, "expected_count": 3 })).await;
    assert_eq!(wrong.code(), (409, "count-changed".to_owned()));
    assert_eq!(fleet.names("state=disabled").await, Vec::<String>::new());
    let body = json!({ "selector": berlin, "expected_count": 2 });
    assert_eq!(fleet.bulk("disable", &body).await.1["changed"], 2);
    assert_eq!(fleet.names("state=disabled").await, ["pump-1", "pump-2"]);
    assert_eq!(fleet.bulk("disable", &body).await.1["unchanged"], 2);
    let (lines, summary) =
        fleet.bulk("enable", &json!({ "names": ["pump-2", "nobody", "tank", "pump-2"] })).await;
    assert_eq!(
        lines.iter().map(|line| line["result"].as_str().unwrap()).collect::<Vec<_>>(),
        ["changed", "error", "unchanged"]
    );
    assert_eq!((&lines[1]["code"], &summary["errors"]), (&json!("device-not-found"), &json!(1)));
    assert_eq!(fleet.names("state=disabled").await, ["pump-1"]);
}

/// What a server that is asked to stop, while nobody reads, tells of a call with this body.
async fn cut_short(path: &str, body: String) -> String {
    let fleet = Fleet::new().await;
    let answer = fleet.house.begin("POST", path, Some(&fleet.token), &[], body).await;
    assert_eq!(answer.status(), StatusCode::OK);
    fleet.house.stop();
    let bytes = answer.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[tokio::test]
async fn a_server_that_stops_ends_calls_for_many_devices_without_a_summary() {
    let names: Vec<String> = (0..10_000).map(|number| format!("nobody-{number}")).collect();
    for dry_run in [false, true] {
        let body = json!({ "names": names, "dry_run": dry_run });
        let told = cut_short("/devices:disable", body.to_string()).await;
        assert!(told.lines().count() < names.len() && !told.contains("summary"));
    }
    let rows: String = (0..50_000).map(|number| format!("n-{number},nothing\n")).collect();
    let told = cut_short("/devices:import", format!("name,type\n{rows}")).await;
    assert!(told.lines().count() < 50_000 && !told.contains("summary"));
}

#[tokio::test]
async fn many_devices_are_labelled_or_leave_by_selector() {
    let fleet = Fleet::new().await;
    let line = json!({ "selector": { "labels": "line=1" }, "labels": { "line": null, "row": "b" } });
    assert_eq!(
        fleet.bulk("label", &line).await.1,
        json!({ "type": "summary", "changed": 2, "unchanged": 0, "errors": 0 })
    );
    assert_eq!(fleet.names("labels=row=b").await, ["pump-1", "tank"]);
    assert_eq!(fleet.bulk("label", &line).await.1["changed"], 0);
    for wrong in [
        json!({ "selector": {} }),
        json!({ "labels": { "a": "b" } }),
        json!({ "selector": {}, "names": [], "labels": { "a": "b" } }),
        json!({ "selector": {}, "labels": { "": "b" } }),
    ] {
        let answer = fleet.send("POST", "/devices:label", &wrong).await;
        assert_eq!(answer.code(), (422, "value-invalid".to_owned()), "{wrong}");
    }
    let accept = [("accept", "application/x-ndjson")];
    let body = json!({ "labels": "row=b", "grace_s": 3600, "expected_count": 2 }).to_string();
    let answer =
        fleet.house.send_with("POST", "/devices:decommission", Some(&fleet.token), &accept, body).await;
    assert_eq!(answer.text.lines().count(), 3, "{}", answer.text);
    assert_eq!(fleet.names("state=decommissioning").await, ["pump-1", "tank"]);
}

#[tokio::test]
async fn who_leaves_is_the_same_whatever_answer_is_accepted() {
    let fleet = Fleet::new().await;
    let lines = [("accept", "application/x-ndjson")];
    let leave = async |accept: &[(&str, &str)], body: Value| {
        let (path, token) = ("/devices:decommission", Some(&*fleet.token));
        fleet.house.send_with("POST", path, token, accept, body.to_string()).await
    };
    let cursor = leave(&lines, json!({ "labels": "line=1", "expected_count": 2, "cursor": "pump-1" })).await;
    assert_eq!(cursor.code(), (422, "value-invalid".to_owned()));
    let count = leave(&[], json!({ "labels": "line=1", "expected_count": 3 })).await;
    assert_eq!(count.code(), (422, "value-invalid".to_owned()));
    assert_eq!(fleet.names("state=decommissioning").await, Vec::<String>::new());

    let id = fleet.get("/devices/tank").await.json()["id"].clone();
    let named = json!({ "names": ["pump-1", "pump-2", id], "labels": "line=1", "grace_s": 3600 });
    let answer = leave(&lines, named).await;
    assert_eq!(answer.text.lines().count(), 3, "{}", answer.text);
    assert_eq!(fleet.names("state=decommissioning").await, ["pump-1", "tank"]);
    let none = leave(&[], json!({ "names": ["pump-2"], "labels": "line=1" })).await;
    assert_eq!(none.json()["names"], json!([]));
    assert_eq!(fleet.names("state=expected").await, ["zeta-thing", "pump-2"]);
}
