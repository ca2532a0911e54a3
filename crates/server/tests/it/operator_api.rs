//! The operator API: the router's own list is walked, so no route can slip in without its walls.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails here")]

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use axum::response::Response;
use domain::{Secret, Strategy};
use engine::registry::{NewDevice, NewOperatorToken, NewProfile, Operator, Registry};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use server::api::{Need, ROUTES, Route, Verb, router};
use server::listeners::{Peer, Stopper, stopper};
use tower::ServiceExt;
use wire::admin::BASE_PATH;

use crate::desk::{self, Hands};

/// A registry with two tenants, one device each, behind the router.
pub(crate) struct House {
    router: Router,
    pub(crate) registry: Registry,
    stopper: Stopper,
    clock: Arc<Hands>,
    folder: tempfile::TempDir,
}

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: axum::http::HeaderMap,
    content_type: String,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    pub(crate) fn code(&self) -> (u16, String) {
        assert_eq!(self.content_type, "application/problem+json", "{}", self.text);
        let problem = self.json();
        assert_eq!(problem["status"], self.status.as_u16());
        (self.status.as_u16(), problem["code"].as_str().unwrap_or_default().to_owned())
    }
}

impl House {
    pub(crate) fn new() -> House {
        let (registry, clock, folder) = desk::registry();
        for tenant in ["acme", "zeta"] {
            furnish(&registry, tenant);
        }
        House::over(registry, clock, folder)
    }

    /// The same with another process on what it left behind.
    pub(crate) fn again(self) -> House {
        let House { router, registry, clock, folder, .. } = self;
        drop((router, registry));
        let registry = desk::on(&folder, &clock);
        House::over(registry, clock, folder)
    }

    /// Asks the server to stop; what is under way goes on.
    pub(crate) fn stop(&self) {
        self.stopper.stop();
    }

    /// Lets time pass.
    pub(crate) fn pass(&self, milliseconds: i64) {
        self.clock.0.fetch_add(milliseconds, Ordering::SeqCst);
    }

    /// Whether one of its files holds a text.
    pub(crate) fn holds(&self, text: &str) -> bool {
        let files = std::fs::read_dir(self.folder.path()).unwrap();
        let mut files = files.map(|file| std::fs::read(file.unwrap().path()).unwrap_or_default());
        files.any(|bytes| bytes.windows(text.len()).any(|window| window == text.as_bytes()))
    }

    fn over(registry: Registry, clock: Arc<Hands>, folder: tempfile::TempDir) -> House {
        let (stopper, stop) = stopper();
        House { router: router(registry.clone(), stop.stopping()), registry, stopper, clock, folder }
    }

    pub(crate) fn token(&self, tenant: Option<&str>, life_ms: Option<u64>) -> Secret {
        let wanted = NewOperatorToken { role: domain::Role::Admin, tenant, label: "", life_ms };
        self.registry.create_operator_token(&Operator::server("test"), wanted).unwrap().0
    }

    pub(crate) async fn send(
        &self,
        verb: &str,
        path: &str,
        token: Option<&str>,
        body: impl Into<Body>,
    ) -> Answer {
        self.send_with(verb, path, token, &[], body).await
    }

    pub(crate) async fn send_with(
        &self,
        verb: &str,
        path: &str,
        token: Option<&str>,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> Answer {
        let response = self.begin(verb, path, token, headers, body).await;
        let (status, headers) = (response.status(), response.headers().clone());
        let content_type =
            response.headers().get(header::CONTENT_TYPE).map(|value| value.to_str().unwrap().to_owned());
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        Answer { status, headers, content_type: content_type.unwrap_or_default(), text }
    }

    /// The beginning of an answer; its body is still to be read.
    pub(crate) async fn begin(
        &self,
        verb: &str,
        path: &str,
        token: Option<&str>,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> Response {
        let mut request = Request::builder().method(verb).uri(format!("{BASE_PATH}{path}"));
        if let Some(token) = token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut request = request.body(body.into()).unwrap();
        let address = IpAddr::from([192, 0, 2, 1]);
        request.extensions_mut().insert(Peer { address, encrypted: false });
        self.router.clone().oneshot(request).await.unwrap()
    }

    async fn call(&self, route: &Route, tenant: Option<&str>, token: Option<&str>) -> Answer {
        // The token of number 1 is the one that calls.
        let id = if route.path == "/operator-tokens/{id}" { "99" } else { "1" };
        let path = route.path.replace("{name}", "zeta-thing").replace("{id}", id);
        let query = match (route.path, tenant) {
            ("/explain", Some(tenant)) => format!("?registration_id=zeta-thing&tenant={tenant}"),
            ("/explain", None) => "?registration_id=zeta-thing".to_owned(),
            ("/profiles", Some(_)) if route.verb == Verb::Post => String::new(),
            (_, Some(tenant)) => format!("?tenant={tenant}"),
            (_, None) => String::new(),
        };
        self.send(route.verb.word(), &format!("{path}{query}"), token, body(route, tenant)).await
    }
}

fn furnish(registry: &Registry, name: &str) {
    let operator = Operator::server("test");
    registry.create_tenant(&operator, name).unwrap();
    let tenant = registry.tenant(&operator, Some(name)).unwrap();
    let thing = format!("{name}-thing");
    let profile =
        NewProfile { name: thing.clone(), strategy: Strategy::CheckPreProvisioned, ..NewProfile::default() };
    registry.create_profile(&operator, &tenant, profile).unwrap();
    registry
        .add_device(
            &operator,
            &tenant,
            &NewDevice { name: thing.clone(), profile: thing, label: None, labels: Vec::new() },
        )
        .unwrap();
}

/// A body with which the call would succeed, were it allowed.
fn body(route: &Route, tenant: Option<&str>) -> String {
    match (route.verb, route.path) {
        (Verb::Post, "/traces") => json!({ "name": "zeta-new" }).to_string(),
        (Verb::Post, "/tenants") => json!({ "name": "new" }).to_string(),
        (Verb::Post, "/operators") => {
            json!({ "name": "new", "role": "viewer", "tenant": tenant }).to_string()
        }
        (Verb::Post, "/operator-tokens") => json!({ "tenant": tenant }).to_string(),
        (Verb::Post, "/audit/verify" | "/freezes") => "{}".to_owned(),
        (Verb::Post, path) if path.starts_with("/secrets") || path == "/backups" => "{}".to_owned(),
        (Verb::Post, "/profiles") => {
            json!({ "tenant": tenant, "name": "zeta-thing", "strategy": "create-new" }).to_string()
        }
        (Verb::Post, "/devices:label") => json!({ "names": ["zeta-thing"], "label": "n" }).to_string(),
        (Verb::Post, "/devices:disable" | "/devices:enable") => {
            json!({ "names": ["zeta-thing"] }).to_string()
        }
        (Verb::Post, "/devices:decommission") => json!({ "tenant": tenant, "dry_run": true }).to_string(),
        (Verb::Post, path) if path.ends_with("/decommission") || path.ends_with("/reject") => "{}".to_owned(),
        (Verb::Patch, "/operators/{name}" | "/devices/{name}") => "{}".to_owned(),
        (Verb::Patch, _) => json!({ "strategy": "disabled" }).to_string(),
        (Verb::Post, "/devices") => json!({ "name": "zeta-new", "profile": "zeta-thing" }).to_string(),
        (Verb::Post, "/devices:import") => "name,type\nzeta-new,zeta-thing\n".to_owned(),
        _ => String::new(),
    }
}

#[tokio::test]
async fn every_route_refuses_a_stranger_and_a_token_that_is_not_good() {
    let house = House::new();
    let expired = house.token(None, Some(1));
    house.clock.0.fetch_add(1, Ordering::SeqCst);
    for route in ROUTES {
        // Failures are throttled by source; the clock lets each route begin with a full measure.
        house.clock.0.fetch_add(60_000, Ordering::SeqCst);
        let told = format!("{} {}", route.verb.word(), route.path);
        let refused = |code: &str| (401, code.to_owned());
        assert_eq!(house.call(route, None, None).await.code(), refused("token-missing"), "{told}");
        assert_eq!(house.call(route, None, Some("wrong")).await.code(), refused("token-unknown"), "{told}");
        assert_eq!(
            house.call(route, None, Some(expired.expose())).await.code(),
            refused("token-expired"),
            "{told}"
        );
    }
}

#[tokio::test]
async fn every_route_hides_one_tenant_from_the_other() {
    let house = House::new();
    let acme = house.token(Some("acme"), None);
    for route in ROUTES {
        let told = format!("{} {}", route.verb.word(), route.path);
        let own = house.call(route, None, Some(acme.expose())).await;
        assert!(!reveals(&own.text), "{told}: {}", own.text);
        let other = house.call(route, Some("zeta"), Some(acme.expose())).await;
        match (route.need, route.path) {
            (Need::Server | Need::ServerSecure, _) => {
                assert_eq!(other.code(), (403, "right-missing".to_owned()), "{told}");
            }
            // These say what the token is good for, or what the server has, and take no tenant.
            (Need::Administer, "/operators/{name}" | "/operator-tokens/{id}") => {
                assert_eq!(other.status, StatusCode::NOT_FOUND, "{told}");
            }
            (Need::Administer, _) if route.verb == Verb::Get => {
                assert!(!reveals(&other.text), "{told}: {}", other.text);
            }
            (_, "/whoami" | "/whoami/password" | "/tenants" | "/neighbours" | "/report-key") => {
                assert!(!reveals(&other.text), "{told}: {}", other.text);
            }
            _ => assert_eq!(other.code(), (404, "tenant-not-found".to_owned()), "{told}"),
        }
    }
    let zeta = house.token(Some("zeta"), None);
    let thing = house.send("GET", "/devices/zeta-thing", Some(zeta.expose()), "").await;
    assert_eq!((thing.status, &thing.json()["state"]), (StatusCode::OK, &json!("expected")));
}

/// Whether an answer tells more of the other tenant than the caller's own words.
fn reveals(text: &str) -> bool {
    text.contains("\"zeta\"") || text.contains("provision_key\":\"") && text.contains("\"tenant\":\"zeta\"")
}

#[tokio::test]
async fn what_does_not_exist_is_told_as_a_problem() {
    let house = House::new();
    let admin = house.token(None, None);
    let admin = Some(admin.expose());
    for path in ["", "/", "/nothing", "/devices/a/b/c"] {
        assert_eq!(
            house.send("GET", path, admin, "").await.code(),
            (404, "path-not-found".to_owned()),
            "{path}"
        );
    }
    assert_eq!(house.send("PUT", "/tenants", admin, "").await.code(), (405, "method-not-allowed".to_owned()));
    for (verb, path, body) in [
        ("GET", "/sign-on/openid", String::new()),
        ("POST", "/sign-on/openid", json!({ "grant": "token", "token": "x" }).to_string()),
        ("POST", "/sign-on/openid/device", String::new()),
    ] {
        assert_eq!(house.send(verb, path, None, body).await.code(), (404, "openid-off".to_owned()), "{path}");
        assert_eq!(house.send("PUT", path, None, "").await.code(), (405, "method-not-allowed".to_owned()));
    }
    assert_eq!(house.send("GET", "/devices?nonsense=1", admin, "").await.code().0, 400);
    assert_eq!(house.send("GET", "/devices?limit=many", admin, "").await.code().0, 400);
}

#[tokio::test]
async fn a_body_that_cannot_be_read_is_told_with_its_place_and_never_with_a_secret() {
    let house = House::new();
    let admin = house.token(None, None);
    let bad = json!({ "name": "p", "strategy": "create-new", "limits": { "uses": "many" } }).to_string();
    let answer = house.send("POST", "/profiles", Some(admin.expose()), bad).await;
    assert_eq!(answer.code(), (400, "body-malformed".to_owned()));
    assert!(answer.text.contains("limits.uses"), "{}", answer.text);
    let bad = json!({ "name": "p", "strategy": "create-new", "provision_secret": 47_114_711 }).to_string();
    let answer = house.send("POST", "/profiles", Some(admin.expose()), bad).await;
    assert!(answer.text.contains("provision_secret") && !answer.text.contains("47114711"), "{}", answer.text);
    let answer = house.send("POST", "/tenants", Some(admin.expose()), "x".repeat(2 * 1024 * 1024)).await;
    assert_eq!(answer.code(), (413, "body-too-large".to_owned()));
    // Fields in their order, none of them set, are no selector that finds every device.
    for array in ["[]", " [null, null]"] {
        let answer = house.send("POST", "/devices:decommission", Some(admin.expose()), array).await;
        assert_eq!(answer.code(), (400, "body-malformed".to_owned()));
    }
}

#[tokio::test]
async fn a_profile_is_made_changed_and_rotated_over_the_api() {
    let house = House::new();
    let admin = house.token(None, None);
    let admin = Some(admin.expose());
    let asked = json!({ "name": "p", "strategy": "create-new", "provision_key": "k", "provision_secret": "s3cret",
        "limits": { "uses": 3, "networks": ["10.1.2.3/8", "192.0.2.7"], "expires_at": "2999-01-01T00:00:00Z" } });
    let made = house.send("POST", "/profiles", admin, asked.to_string()).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
    assert_eq!(made.json()["provision_secret"], "s3cret");
    assert_eq!(made.json()["secrets"][0]["networks"], json!(["10.0.0.0/8", "192.0.2.7/32"]));
    assert_eq!(made.json()["secrets"][0]["expires_at"], "2999-01-01T00:00:00Z");
    let shown = house.send("GET", "/profiles/p", admin, "").await;
    assert!(!shown.text.contains("s3cret"), "{}", shown.text);
    let change = json!({ "strategy": "disabled", "limits": { "uses": null, "networks": [] } });
    let changed = house.send("PATCH", "/profiles/p", admin, change.to_string()).await.json();
    assert_eq!(
        (&changed["strategy"], &changed["secrets"][0]["uses_left"]),
        (&json!("disabled"), &Value::Null)
    );
    let rotate = json!({ "rotate_secret": { "overlap_s": 60 } }).to_string();
    let rotated = house.send("PATCH", "/profiles/p", admin, rotate).await.json();
    assert_eq!(rotated["provision_secret"].as_str().map(str::len), Some(20));
    assert_eq!(rotated["secrets"].as_array().map(Vec::len), Some(2));
    assert_eq!(
        (&rotated["secrets"][0]["current"], &rotated["secrets"][1]["current"]),
        (&json!(true), &json!(false))
    );
    let bad = json!({ "limits": { "name_pattern": "(" } }).to_string();
    assert_eq!(house.send("PATCH", "/profiles/p", admin, bad).await.code().0, 422);
}

#[tokio::test]
async fn what_joining_takes_is_set_shown_and_taken_away_over_the_api() {
    let house = House::new();
    let admin = house.token(None, None);
    let admin = Some(admin.expose());
    let asked = json!({ "name": "p", "strategy": "create-new", "approval": true, "grace_period_s": 60,
        "initial_attributes": { "site": "a" } });
    let made = house.send("POST", "/profiles", admin, asked.to_string()).await.json();
    assert_eq!((&made["approval"], &made["grace_period_s"]), (&json!(true), &json!(60)));
    assert_eq!((&made["initial_attributes"]["site"], &made["steps"]), (&json!("a"), &json!([])));
    let change = json!({ "approval": false, "initial_attributes": null, "grace_period_s": 0 });
    let changed = house.send("PATCH", "/profiles/p", admin, change.to_string()).await.json();
    assert_eq!((&changed["approval"], &changed["grace_period_s"]), (&json!(false), &json!(0)));
    assert_eq!(changed["initial_attributes"], Value::Null);
    for unknown in [
        json!({ "steps": [{ "connector": "nobody", "gate": "after-reply" }] }),
        json!({ "hook": "nobody" }),
        json!({ "initial_attributes": [1] }),
    ] {
        let refused = house.send("PATCH", "/profiles/p", admin, unknown.to_string()).await;
        assert_eq!(refused.code(), (422, "value-invalid".to_owned()), "{unknown}");
    }
    let gate = json!({ "steps": [{ "connector": "nobody", "gate": "sometime" }] }).to_string();
    assert_eq!(house.send("PATCH", "/profiles/p", admin, gate).await.code().0, 400);
}

#[tokio::test]
async fn a_device_leaves_is_taken_back_and_its_life_is_told_over_the_api() {
    let house = House::new();
    let acme = house.token(Some("acme"), None);
    let acme = Some(acme.expose());
    let thing = "/devices/acme-thing";
    let decommission = format!("{thing}/decommission");
    let left = house.send("POST", &decommission, acme, json!({ "grace_s": 60 }).to_string()).await.json();
    assert_eq!(left["state"], "decommissioning");
    assert_eq!(house.send("POST", &decommission, acme, "{}").await.code().0, 409);
    let shown = house.send("GET", thing, acme, "").await.json();
    assert_eq!(shown["grace_until"], "2027-01-15T08:01:00Z", "{shown}");
    let back = house.send("POST", &format!("{thing}/restore"), acme, "").await.json();
    assert_eq!(back["state"], "expected");
    assert_eq!(house.send("POST", &format!("{thing}/restore"), acme, "").await.code().0, 409);
    let report = house.send("POST", &format!("{thing}/report"), acme, "").await.json();
    let told: Value = serde_json::from_str(report["report"].as_str().unwrap()).unwrap();
    assert_eq!((&told["device"], &told["step_count"]), (&json!("acme-thing"), &json!(0)));
    let key = house.send("GET", "/report-key", acme, "").await.json();
    assert_eq!(key["public_key"], report["public_key"]);
    let mut kinds = Vec::new();
    let mut path = format!("{thing}/timeline?limit=1");
    loop {
        let page = house.send("GET", &path, acme, "").await.json();
        kinds.extend(page["items"].as_array().unwrap().iter().map(|entry| entry["kind"].clone()));
        let Some(next) = page["next"].as_str() else { break };
        path = format!("{thing}/timeline?limit=1&cursor={next}");
    }
    assert_eq!(kinds, ["report-signed", "device-restored", "device-left", "device-added"]);
    let bad = house.send("GET", &format!("{thing}/timeline?cursor=x"), acme, "").await;
    assert_eq!(bad.code(), (422, "value-invalid".to_owned()));
}

#[tokio::test]
async fn many_devices_leave_with_one_call_and_none_with_a_rehearsal() {
    let house = House::new();
    let acme = house.token(Some("acme"), None);
    let acme = Some(acme.expose());
    let rows: String = (0..3).map(|at| format!("d{at},acme-thing\n")).collect();
    house.send("POST", "/devices:import", acme, format!("name,type\n{rows}")).await;
    let choose = |dry_run: bool| json!({ "name_prefix": "d", "dry_run": dry_run }).to_string();
    let all = json!({ "names": ["d0", "d1", "d2"] });
    for dry_run in [true, true] {
        assert_eq!(house.send("POST", "/devices:decommission", acme, choose(dry_run)).await.json(), all);
    }
    // One more has come in since the others were counted, and one of them has changed.
    house.send("POST", "/devices:import", acme, "name,type\nd3,acme-thing\n").await;
    house.send("POST", "/devices/d2/disable", acme, "").await;
    let agreed =
        |names: &[&str]| json!({ "name_prefix": "d", "state": "expected", "names": names }).to_string();
    let left =
        house.send("POST", "/devices:decommission", acme, agreed(&["d0", "d1", "d2", "d0"])).await.json();
    assert_eq!(left, json!({ "names": ["d0", "d1"] }));
    let too_many: Vec<&str> = vec!["d2"; 501];
    let refused = house.send("POST", "/devices:decommission", acme, agreed(&too_many)).await;
    assert_eq!(refused.code(), (422, "value-invalid".to_owned()));
    for uncounted in [choose(false), "{}".to_owned()] {
        let refused = house.send("POST", "/devices:decommission", acme, uncounted).await;
        assert_eq!(refused.code(), (422, "count-missing".to_owned()));
    }
    let rest = json!({ "names": ["d2", "d3"] });
    let agreed = |names: &[&str]| json!({ "names": names }).to_string();
    let left = || house.send("POST", "/devices:decommission", acme, agreed(&["d2", "d3"]));
    assert_eq!(left().await.json(), rest);
    assert_eq!(left().await.json(), json!({ "names": [] }));
    let thing = house.send("GET", "/devices/acme-thing", acme, "").await.json();
    assert_eq!(thing["state"], "expected", "whose name begins otherwise stays");
    let nowhere = json!({ "profile": "nowhere", "dry_run": true }).to_string();
    assert_eq!(house.send("POST", "/devices:decommission", acme, nowhere).await.code().0, 404);
}

#[tokio::test]
async fn work_questions_and_neighbours_that_are_not_there_are_not_found() {
    let house = House::new();
    let admin = house.token(None, None);
    let admin = Some(admin.expose());
    for (verb, path, body, code) in [
        ("GET", "/operations/7", "", "operation-not-found"),
        ("POST", "/operations/7/resume", "", "operation-not-found"),
        ("POST", "/operations/7/unwind", "", "operation-not-found"),
        ("POST", "/operations/7/steps/0/write-off", "", "operation-not-found"),
        ("POST", "/approvals/7/approve", "", "approval-not-found"),
        ("POST", "/approvals/7/reject", "{}", "approval-not-found"),
        ("DELETE", "/approvals/7", "", "approval-not-found"),
        ("POST", "/neighbours/nobody/test", "", "connector-not-found"),
    ] {
        assert_eq!(house.send(verb, path, admin, body).await.code(), (404, code.to_owned()), "{verb} {path}");
    }
    for path in
        ["/operations", "/operations?stopped=true", "/approvals", "/approvals?all=true", "/neighbours"]
    {
        assert_eq!(house.send("GET", path, admin, "").await.json(), json!({ "items": [] }), "{path}");
    }
    assert_eq!(house.send("GET", "/operations?device=nobody", admin, "").await.code().0, 404);
}

#[tokio::test]
async fn an_import_answers_a_line_for_each_row_and_the_summary_last() {
    let house = House::new();
    let acme = house.token(Some("acme"), None);
    let rows: String = (0..5000).map(|at| format!("d{at},acme-thing,row {at}\n")).collect();
    let file = format!(
        "\u{feff}name,type,label\r\n{rows}bad,nowhere,\nacme-thing,acme-thing,noted\n,acme-thing,\r\n\r\n\"a,b\",acme-thing,\"two\r\nlines\"\n\"a,b\",acme-thing"
    );
    let answer = house.send("POST", "/devices:import", Some(acme.expose()), file.clone()).await;
    let lines: Vec<Value> = answer.text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 5006);
    assert_eq!(lines[0], json!({ "type": "row", "line": 2, "name": "d0", "result": "created" }));
    assert_eq!((&lines[5000]["code"], &lines[5000]["line"]), (&json!("profile-not-found"), &json!(5002)));
    assert_eq!(lines[5001]["result"], "updated");
    assert_eq!(lines[5002]["result"], "error");
    // A blank line is no row, and a row begins where its first line stands.
    assert_eq!((&lines[5003]["code"], &lines[5003]["line"]), (&json!("value-invalid"), &json!(5006)));
    assert_eq!((&lines[5004]["name"], &lines[5004]["line"]), (&json!("a,b"), &json!(5008)));
    assert_eq!(
        lines[5005],
        json!({ "type": "summary", "created": 5001, "unchanged": 0, "updated": 1, "errors": 3 })
    );
    let again = house.send("POST", "/devices:import", Some(acme.expose()), file).await;
    let summary: Value = serde_json::from_str(again.text.lines().last().unwrap()).unwrap();
    assert_eq!(
        summary,
        json!({ "type": "summary", "created": 0, "unchanged": 5002, "updated": 0, "errors": 3 })
    );
}

#[tokio::test]
async fn an_import_without_its_header_is_refused_as_a_whole() {
    let house = House::new();
    let acme = house.token(Some("acme"), None);
    for file in ["", "a,b\n", "name,type,colour\nx,acme-thing,red\n"] {
        let answer = house.send("POST", "/devices:import", Some(acme.expose()), file).await;
        assert_eq!(answer.code(), (400, "csv-header-invalid".to_owned()), "{file}");
    }
}

#[tokio::test]
async fn a_row_that_does_not_end_cuts_an_import_short() {
    let house = House::new();
    let acme = house.token(Some("acme"), None);
    let file = format!("name,type\nfirst,acme-thing\n{}", "x".repeat(1024 * 1024));
    let answer = house.send("POST", "/devices:import", Some(acme.expose()), file).await;
    assert!(!answer.text.contains("summary"), "{}", answer.text);
}

#[tokio::test]
async fn a_token_says_whose_it_is() {
    let house = House::new();
    let acme = house.token(Some("acme"), None);
    let answer = house.send("GET", "/whoami", Some(acme.expose()), "").await.json();
    assert_eq!((&answer["right"], &answer["tenant"]), (&json!("tenant"), &json!("acme")));
}
