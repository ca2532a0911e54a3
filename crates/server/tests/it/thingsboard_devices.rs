//! ThingsBoard's REST interface: what the recorded exchanges do not show of devices, credentials and profiles.

use domain::Secret;
use engine::registry::{NewAccount, NewDevice, Operator};
use serde_json::{Value, json};
use server::api::thingsboard_rest::ROUTES;

use crate::thingsboard_rest::{Answer, House, PASSWORD};

/// A house and the headers of somebody who has signed on.
struct Visit {
    house: House,
    bearer: String,
}

impl Visit {
    async fn of(role: &str) -> Visit {
        Visit::to(House::new(), role).await
    }

    async fn to(house: House, name: &str) -> Visit {
        let bearer = format!("Bearer {}", house.log_in(name).await.0);
        Visit { house, bearer }
    }

    async fn again(self, name: &str) -> Visit {
        Visit::to(self.house, name).await
    }

    async fn ask(&self, verb: &str, path: &str, body: Value) -> Answer {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.house.send(verb, path, &[("x-authorization", &self.bearer)], body).await
    }

    async fn get(&self, path: &str) -> Value {
        let answer = self.ask("GET", path, Value::Null).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer.json()
    }

    async fn post(&self, path: &str, body: Value) -> Value {
        let answer = self.ask("POST", path, body).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer.json()
    }

    async fn no(&self, verb: &str, path: &str, body: Value) -> (u16, u64, String) {
        self.ask(verb, path, body).await.wrong()
    }
}

fn id(thing: &Value) -> String {
    thing["id"]["id"].as_str().unwrap().to_owned()
}

fn profile(secret: &Value) -> Value {
    json!({
        "name": "pumps", "type": "DEFAULT", "transportType": "DEFAULT",
        "provisionType": "ALLOW_CREATE_NEW_DEVICES",
        "profileData": {
            "configuration": { "type": "DEFAULT" }, "transportConfiguration": { "type": "DEFAULT" },
            "provisionConfiguration": { "type": "ALLOW_CREATE_NEW_DEVICES", "provisionDeviceSecret": secret }
        }
    })
}

#[tokio::test]
async fn a_name_that_is_taken_is_made_another_one_where_that_is_asked_for() {
    let visit = Visit::of("operator").await;
    let wanted = || json!({ "name": "pump" });
    visit.post("/api/device", wanted()).await;
    let counting = "/api/device?nameConflictPolicy=UNIQUIFY&uniquifySeparator=-&uniquifyStrategy=INCREMENTAL";
    assert_eq!(visit.post(counting, wanted()).await["name"], "pump-1");
    assert_eq!(visit.post(counting, wanted()).await["name"], "pump-2");
    let random = visit.post("/api/device?nameConflictPolicy=UNIQUIFY", wanted()).await;
    assert!(random["name"].as_str().unwrap().starts_with("pump_"), "{random}");
    for policy in ["", "?nameConflictPolicy=FAIL"] {
        let no = visit.no("POST", &format!("/api/device{policy}"), wanted()).await;
        assert_eq!(no, (400, 31, "Device with such name already exists!".to_owned()));
    }
    assert_eq!(visit.no("POST", "/api/device?nameConflictPolicy=GUESS", wanted()).await.0, 400);
}

#[tokio::test]
async fn what_is_not_served_is_refused_and_not_left_out_in_silence() {
    let visit = Visit::of("admin").await;
    let other = json!({ "entityType": "CUSTOMER", "id": "0e5dd1c0-0000-11ee-8000-000000000000" });
    for member in ["customerId", "firmwareId", "softwareId"] {
        let (status, _, message) =
            visit.no("POST", "/api/device", json!({ "name": "x", member: other })).await;
        assert!(status == 400 && message.contains(member), "{message}");
    }
    let nobody = json!({ "entityType": "CUSTOMER", "id": wire::thingsboard::rest::NULL_ID });
    visit.post("/api/device", json!({ "name": "x", "customerId": nobody, "firmwareId": null })).await;
    for (member, value) in
        [("type", "X".into()), ("defaultRuleChainId", other.clone()), ("defaultDashboardId", other)]
    {
        let mut odd = profile(&Value::Null);
        odd[member] = value;
        let (status, _, message) = visit.no("POST", "/api/deviceProfile", odd).await;
        assert!(status == 400 && message.contains(member), "{message}");
    }
}

#[tokio::test]
async fn more_devices_than_one_call_makes_are_refused_whole() {
    let visit = Visit::of("operator").await;
    let many: Vec<Value> = (0..10_001).map(|_| json!({})).collect();
    assert_eq!(visit.no("POST", "/api/devices", many.into()).await.0, 413);
    let some = json!([{ "name": "a", "credentials": { "credentialsType": "ACCESS_TOKEN", "credentialsId": "t" } },
        7, { "name": "b", "credentials": { "credentialsType": "ACCESS_TOKEN", "credentialsId": "t" } }]);
    let made = visit.post("/api/devices", some).await;
    assert_eq!(made[0]["name"], "a");
    assert_eq!(made[1]["error"]["status"], 400, "{made}");
    let taken = "Device credentials are already assigned to another device!";
    assert_eq!((&made[2]["error"]["message"], &made[2]["name"]), (&json!(taken), &json!("b")));
}

#[tokio::test]
async fn what_has_changed_or_is_needed_is_neither_saved_over_nor_deleted() {
    let visit = Visit::of("admin").await;
    let mut pump = visit.post("/api/device", json!({ "name": "pump" })).await;
    visit.post("/api/device", pump.clone()).await;
    pump["version"] = json!(1);
    assert_eq!(visit.no("POST", "/api/device", pump).await.0, 409);
    let made = visit.post("/api/deviceProfile", profile(&Value::Null)).await;
    visit.post("/api/device", json!({ "name": "valve", "type": "pumps" })).await;
    let delete = async |profile: &Value| {
        visit.no("DELETE", &format!("/api/deviceProfile/{}", id(profile)), Value::Null).await.2
    };
    assert_eq!(delete(&made).await, "The device profile referenced by the devices cannot be deleted!");
    let default = visit.get("/api/deviceProfileInfo/default").await;
    assert_eq!(delete(&default).await, "Deletion of Default Device Profile is prohibited!");
    // One that is announced holds nothing yet.
    let tenant = visit.house.registry.tenant(&Operator::server("test"), None).unwrap();
    let new = NewDevice { name: "late".into(), profile: "pumps".into(), label: None, labels: Vec::new() };
    let late = visit.house.registry.add_device(&Operator::server("test"), &tenant, &new).unwrap();
    let credentials = format!("/api/device/{}/credentials", late.id);
    assert_eq!(visit.no("GET", &credentials, Value::Null).await.2, "Requested item wasn't found!");
}

#[tokio::test]
async fn secrets_are_for_whoever_may_operate_and_each_look_is_journalled() {
    let visit = Visit::of("operator").await;
    let made = visit.post("/api/deviceProfile", profile(&json!("hush"))).await;
    let path = format!("/api/deviceProfile/{}", id(&made));
    let secret = "/profileData/provisionConfiguration/provisionDeviceSecret";
    assert_eq!(visit.get(&path).await.pointer(secret), Some(&json!("hush")));
    let device = visit.post("/api/device?accessToken=hush-hush", json!({ "name": "pump" })).await;
    let credentials = format!("/api/device/{}/credentials", id(&device));
    assert_eq!(visit.get(&credentials).await["credentialsId"], "hush-hush");

    let visit = visit.again("viewer").await;
    let seen = visit.get(&path).await;
    assert_eq!(seen.pointer(secret), Some(&Value::Null), "{seen}");
    assert_eq!(seen["provisionDeviceKey"], made["provisionDeviceKey"]);
    assert_eq!(visit.ask("GET", &credentials, Value::Null).await.status, 403);
    let tenant = visit.house.registry.tenant(&Operator::server("test"), None).unwrap();
    let (entries, _) = visit.house.registry.timeline(&tenant, "pump", None, None).unwrap();
    let kinds: Vec<&str> = entries.iter().map(|entry| entry.kind.as_str()).collect();
    assert_eq!(kinds, ["credentials-read", "device-added"]);
    assert!(!format!("{entries:?}").contains("hush"), "{entries:?}");
}

#[tokio::test]
async fn another_secret_takes_the_place_of_the_newest_and_the_same_one_changes_nothing() {
    let visit = Visit::of("operator").await;
    let mut saved = visit.post("/api/deviceProfile", profile(&Value::Null)).await;
    let secret = "/profileData/provisionConfiguration/provisionDeviceSecret";
    let made = saved.pointer(secret).unwrap().clone();
    assert_eq!(made.as_str().unwrap().len(), 20);
    saved = visit.post("/api/deviceProfile", saved).await;
    assert_eq!((saved.pointer(secret), &saved["version"]), (Some(&made), &json!(2)));
    *saved.pointer_mut(secret).unwrap() = json!("another");
    saved = visit.post("/api/deviceProfile", saved).await;
    assert_eq!((saved.pointer(secret), &saved["version"]), (Some(&json!("another")), &json!(3)));
}

#[tokio::test]
async fn another_tenants_things_are_not_there() {
    let visit = Visit::of("operator").await;
    let device = visit.post("/api/device?accessToken=shared", json!({ "name": "pump" })).await;
    let made = visit.post("/api/deviceProfile", profile(&Value::Null)).await;
    let server = Operator::server("test");
    visit.house.registry.create_tenant(&server, "zeta").unwrap();
    let password = Some(Secret::new(PASSWORD));
    let new = NewAccount { name: "zoe", tenant: Some("zeta"), role: domain::Role::Admin, password };
    visit.house.registry.create_account(&server, &new).unwrap();

    let visit = visit.again("zoe").await;
    for (verb, path) in [
        ("GET", format!("/api/device/{}", id(&device))),
        ("DELETE", format!("/api/device/{}", id(&device))),
        ("GET", format!("/api/device/{}/credentials", id(&device))),
        ("GET", format!("/api/deviceProfile/{}", id(&made))),
        ("DELETE", format!("/api/deviceProfile/{}", id(&made))),
    ] {
        let (status, code, message) = visit.no(verb, &path, Value::Null).await;
        assert_eq!((status, code), (404, 32), "{verb} {path}: {message}");
    }
    assert_eq!(visit.get("/api/tenant/devices?pageSize=10&page=0").await["totalElements"], 0);
    let taken = visit.no("POST", "/api/device?accessToken=shared", json!({ "name": "pump" })).await;
    assert_eq!(taken, (400, 31, "Failed to provision device!".to_owned()));
    assert_eq!(visit.post("/api/device", json!({ "name": "pump" })).await["type"], "default");
}

#[test]
fn the_manual_lists_every_call_and_no_other() {
    let manual = include_str!("../../../../docs/reference/thingsboard-rest.md");
    let listed: Vec<&str> =
        manual.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
    let served: Vec<String> =
        ROUTES.iter().map(|route| format!("{} {}", route.verb.word(), route.path)).collect();
    let missing: Vec<_> = served.iter().filter(|call| !listed.contains(&call.as_str())).collect();
    let unknown: Vec<_> = listed.iter().filter(|call| !served.iter().any(|served| served == *call)).collect();
    assert!(missing.is_empty() && unknown.is_empty(), "missing: {missing:?}; unknown: {unknown:?}");
}

#[tokio::test]
async fn a_certificate_is_shown_as_it_is_known_in_a_handshake_whatever_form_it_came_in() {
    let visit = Visit::of("admin").await;
    let made = rcgen::generate_simple_self_signed(vec!["pump".to_owned()]).unwrap().cert;
    let line = server::certificates::named(&made.pem()).unwrap().text;
    let device = visit.post("/api/device", json!({ "name": "pump-1" })).await;
    let path = format!("/api/device/{}/credentials", id(&device));
    // Blanks too, which ThingsBoard's own example has and ThingsBoard then never finds.
    let spread: String = line.chars().map(|c| format!("{c} ")).collect();
    for text in [made.pem(), line.clone(), spread] {
        let mut credentials = visit.get(&path).await;
        credentials["credentialsType"] = json!("X509_CERTIFICATE");
        credentials["credentialsId"] = json!("counts for nothing");
        credentials["credentialsValue"] = json!(text);
        let saved = visit.post("/api/device/credentials", credentials).await;
        assert_eq!(saved["credentialsValue"], json!(line));
        assert_eq!(saved, visit.get(&path).await);
    }
    let mut fingerprint = visit.get(&path).await;
    fingerprint["credentialsValue"] = json!(["AB"; 32].join(":"));
    let saved = visit.post("/api/device/credentials", fingerprint).await;
    assert_eq!(saved["credentialsValue"], json!("ab".repeat(32)));
    let headers = [("authorization", visit.bearer.as_str())];
    let ours = visit.house.send("GET", "/api/muster/v1/devices", &headers, String::new()).await;
    assert!(ours.text.contains(r#""credentials_type":"x509""#), "{}", ours.text);
}

#[tokio::test]
async fn what_names_no_certificate_is_refused_wherever_it_is_given() {
    let visit = Visit::of("admin").await;
    let with = |value: Value| {
        let credentials = json!({ "credentialsType": "X509_CERTIFICATE", "credentialsValue": value });
        json!({ "device": { "name": "pump-1", "type": "default" }, "credentials": credentials })
    };
    let path = "/api/device-with-credentials";
    for value in [Value::Null, json!(""), json!("  ")] {
        let told = visit.no("POST", path, with(value)).await;
        assert_eq!(told, (400, 31, "Certificate should be specified!".to_owned()));
    }
    let neither =
        "Invalid certificate: neither an X.509 certificate in PEM or base64 nor a SHA-256 fingerprint!";
    let long = "Invalid certificate: the certificate is longer than 16384 characters!";
    for (value, told) in [("MIIB".to_owned(), neither), ("A".repeat(16_400), long)] {
        assert_eq!(visit.no("POST", path, with(json!(value))).await, (400, 31, told.to_owned()));
    }
    let import = json!({
        "file": "name,cert,token\npump-2,zzz,tok\npump-3,,tok\n",
        "mapping": { "columns": [{ "type": "NAME" }, { "type": "X509" }, { "type": "ACCESS_TOKEN" }] }
    });
    let result = visit.post("/api/device/bulk_import", import).await;
    let lines = json!([format!("Line 2: {neither}")]);
    assert_eq!(result, json!({ "created": 1, "updated": 0, "errors": 1, "errorsList": lines }));
}
