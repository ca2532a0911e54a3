//! Each no of the operator API is brought about by a test, most of them here.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails here")]

use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use axum::body::Body;
use axum::response::Response;
use domain::{OperatorRefusal, Role};
use engine::registry::{NewOperatorToken, Once, Operator};
use futures_util::stream;
use serde_json::{Value, json};
use testkit::http::HttpConnection;

use crate::operator_api::House;
use crate::running::Running;
use crate::thingsboard_rest;

/// Where each is brought about.
const PROVOKED: &[(OperatorRefusal, &str, &str)] = &[
    (OperatorRefusal::TokenMissing, "operator_api", STRANGERS),
    (OperatorRefusal::TokenUnknown, "operator_api", STRANGERS),
    (OperatorRefusal::TokenExpired, "operator_api", STRANGERS),
    (OperatorRefusal::TokenRevoked, "problems", WHO),
    (OperatorRefusal::PasswordWrong, "problems", WHO),
    (
        OperatorRefusal::AccountDisabled,
        "openid",
        "an_account_that_is_removed_or_shut_out_in_this_moment_lets_nobody_in",
    ),
    (OperatorRefusal::Busy, "../../../engine/src/registry/passwords", "more_than_can_wait_are_turned_away"),
    (OperatorRefusal::RightMissing, "operator_api", "every_route_hides_one_tenant_from_the_other"),
    (OperatorRefusal::RoleInsufficient, "problems", WHO),
    (OperatorRefusal::RecoveryNotAsked, "problems", JOINED),
    (OperatorRefusal::PathNotFound, "operator_api", "what_does_not_exist_is_told_as_a_problem"),
    (OperatorRefusal::MethodNotAllowed, "operator_api", "what_does_not_exist_is_told_as_a_problem"),
    (OperatorRefusal::PathMalformed, "problems", UNREADABLE),
    (OperatorRefusal::QueryMalformed, "problems", UNREADABLE),
    (OperatorRefusal::BodyMalformed, "operator_api", BODIES),
    (OperatorRefusal::BodyUnreadable, "problems", UNREADABLE),
    (OperatorRefusal::BodyTooLarge, "operator_api", BODIES),
    (OperatorRefusal::ValueInvalid, "selectors", "devices_are_listed_by_label_state_profile_prefix_and_text"),
    (OperatorRefusal::CsvUnreadable, "problems", UNREADABLE),
    (OperatorRefusal::CsvHeaderInvalid, "operator_api", "an_import_without_its_header_is_refused_as_a_whole"),
    (OperatorRefusal::RowUnreadable, "problems", UNREADABLE),
    (OperatorRefusal::IdempotencyKeyInvalid, "repeated", ONCE),
    (OperatorRefusal::IdempotencyKeyReused, "repeated", ONCE),
    (OperatorRefusal::IdempotencyRunning, "problems", KEYS),
    (OperatorRefusal::IdempotencyOutcomeUnknown, "problems", KEYS),
    (
        OperatorRefusal::IdempotencyAnswerWithheld,
        "repeated",
        "a_secret_is_shown_once_and_rests_nowhere_in_clear",
    ),
    (OperatorRefusal::IdempotencyKeysFull, "problems", KEYS),
    (
        OperatorRefusal::PreconditionFailed,
        "repeated",
        "a_change_of_what_has_changed_meanwhile_is_refused_and_what_is_known_is_not_told_again",
    ),
    (OperatorRefusal::VersionChanged, "problems", STANDING),
    (OperatorRefusal::RevisionChanged, "thingsboard_devices", NEEDED),
    (OperatorRefusal::CountMissing, "selectors", COUNTED),
    (OperatorRefusal::CountChanged, "selectors", COUNTED),
    (OperatorRefusal::TenantNotFound, "operator_api", "every_route_hides_one_tenant_from_the_other"),
    (OperatorRefusal::OperatorTokenNotFound, "problems", ABSENT),
    (OperatorRefusal::AccountNotFound, "problems", ABSENT),
    (OperatorRefusal::ProfileNotFound, "problems", ABSENT),
    (OperatorRefusal::GroupSecretNotFound, "problems", ABSENT),
    (OperatorRefusal::FreezeNotFound, "problems", ABSENT),
    (OperatorRefusal::TraceNotFound, "problems", ABSENT),
    (OperatorRefusal::DeviceNotFound, "problems", ABSENT),
    (OperatorRefusal::OperationNotFound, "problems", ABSENT),
    (OperatorRefusal::ApprovalNotFound, "problems", ABSENT),
    (OperatorRefusal::ConnectorNotFound, "problems", ABSENT),
    (OperatorRefusal::CredentialsNotFound, "thingsboard_devices", NEEDED),
    (OperatorRefusal::KekNotFound, "problems", ABSENT),
    (OperatorRefusal::TenantExists, "problems", STANDING),
    (OperatorRefusal::AccountExists, "problems", STANDING),
    (OperatorRefusal::ProfileExists, "problems", STANDING),
    (OperatorRefusal::BackupExists, "problems", JOINED),
    (OperatorRefusal::ProvisionKeyInUse, "problems", STANDING),
    (OperatorRefusal::ProfileInUse, "thingsboard_devices", NEEDED),
    (OperatorRefusal::ProfileDefault, "thingsboard_devices", NEEDED),
    (OperatorRefusal::DeviceJoined, "problems", JOINED),
    (OperatorRefusal::DeviceNotLeaving, "problems", STANDING),
    (OperatorRefusal::GraceOver, "problems", JOINED),
    (OperatorRefusal::OperationNotStopped, "problems", JOINED),
    (OperatorRefusal::StepNotOpen, "problems", JOINED),
    (OperatorRefusal::ApprovalDecided, "problems", JOINED),
    (OperatorRefusal::BackupRunning, "problems", JOINED),
    (OperatorRefusal::TracesExhausted, "problems", STANDING),
    (OperatorRefusal::KekUnavailable, "problems", STANDING),
    (OperatorRefusal::KekNeeded, "problems", STANDING),
    (OperatorRefusal::ReadersFull, "problems", "no_more_streams_are_open_than_can_be"),
];

const STRANGERS: &str = "every_route_refuses_a_stranger_and_a_token_that_is_not_good";
const BODIES: &str = "a_body_that_cannot_be_read_is_told_with_its_place_and_never_with_a_secret";
const ONCE: &str = "a_call_with_a_key_is_carried_out_once_also_over_a_restart";
const COUNTED: &str = "many_devices_are_shut_out_with_a_result_for_each_and_never_more_than_were_counted";
const NEEDED: &str = "what_has_changed_or_is_needed_is_neither_saved_over_nor_deleted";
const WHO: &str = "whoever_calls_is_told_what_its_token_and_role_lack";
const UNREADABLE: &str = "what_cannot_be_read_is_told_apart";
const KEYS: &str = "calls_with_keys_of_which_nothing_more_can_be_said";
const ABSENT: &str = "what_is_not_there_is_told_by_its_sort";
const STANDING: &str = "what_stands_in_the_way_is_told_by_its_name";
const JOINED: &str = "what_only_a_whole_server_refuses";

#[test]
fn every_refusal_of_operators_is_brought_about_by_a_test() {
    for refusal in OperatorRefusal::ALL {
        let code = refusal.code();
        let named: Vec<_> = PROVOKED.iter().filter(|(provoked, ..)| provoked == refusal).collect();
        assert_eq!(named.len(), 1, "`{code}` has to stand once in the list");
        let (_, file, test) = named[0];
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it").join(format!("{file}.rs"));
        let source = std::fs::read_to_string(path).unwrap();
        assert!(source.contains(&format!("fn {test}(")), "{file} has no test {test}");
        // A list of calls may stand beside the test.
        let is_said = source.contains(&format!("\"{code}\""));
        assert!(is_said || file.starts_with("..") || *test == NEEDED, "{file} does not expect `{code}`");
    }
}

/// Somebody at a house, and what each call is told.
struct Caller {
    house: House,
    token: String,
}

impl Caller {
    fn new(tenant: Option<&str>) -> Caller {
        let house = House::new();
        let token = house.token(tenant, None).expose().to_owned();
        Caller { house, token }
    }

    async fn code(&self, verb: &str, path: &str, body: impl Into<Body>) -> String {
        self.house.send(verb, path, Some(&self.token), body).await.code().1
    }

    async fn all(&self, calls: &[(&str, &str, Value, &str)]) {
        for (verb, path, body, code) in calls {
            assert_eq!(self.code(verb, path, body.to_string()).await, *code, "{verb} {path}");
        }
    }
}

#[tokio::test]
async fn whoever_calls_is_told_what_its_token_and_role_lack() {
    let caller = Caller::new(None);
    let made = caller.house.send("POST", "/operator-tokens", Some(&caller.token), "{}").await.json();
    let token = made["token"].as_str().unwrap();
    let path = format!("/operator-tokens/{}", made["id"].as_str().unwrap());
    caller.house.send("DELETE", &path, Some(&caller.token), "").await;
    let code = caller.house.send("GET", "/whoami", Some(token), "").await.code();
    assert_eq!(code, (401, "token-revoked".to_owned()));
    let viewer = NewOperatorToken { role: Role::Viewer, tenant: None, label: "", life_ms: None };
    let viewer = caller.house.registry.create_operator_token(&Operator::server("test"), viewer).unwrap().0;
    let answer = caller.house.send("POST", "/tenants", Some(viewer.expose()), r#"{"name":"new"}"#).await;
    assert_eq!(answer.code(), (403, "role-insufficient".to_owned()));

    let house = thingsboard_rest::House::new();
    let bearer = format!("Bearer {}", house.log_in("viewer").await.0);
    let body = json!({ "present": "wrong", "new": "a password of some length" }).to_string();
    let auth = [("authorization", bearer.as_str())];
    let answer = house.send("POST", "/api/muster/v1/whoami/password", &auth, body).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["code"]), (401, &json!("password-wrong")));
}

#[tokio::test]
async fn what_cannot_be_read_is_told_apart() {
    let caller = Caller::new(Some("zeta"));
    assert_eq!(caller.code("GET", "/devices/%FF", "").await, "path-malformed");
    assert_eq!(caller.code("GET", "/devices?nonsense=1", "").await, "query-malformed");
    let broken = stream::iter([Ok("{"), Err(io::Error::other("it ended"))]);
    assert_eq!(caller.code("POST", "/devices", Body::from_stream(broken)).await, "body-unreadable");
    let endless = format!("name,type\"{}", "x".repeat(200_000));
    assert_eq!(caller.code("POST", "/devices:import", endless).await, "csv-unreadable");
    let rows = "name,type\na,zeta-thing,b,c\n";
    let told = caller.house.send("POST", "/devices:import", Some(&caller.token), rows).await;
    assert!(told.text.contains(r#""code":"row-unreadable""#), "{}", told.text);
}

#[tokio::test(start_paused = true)]
async fn calls_with_keys_of_which_nothing_more_can_be_said() {
    let caller = Caller::new(Some("zeta"));
    let body = json!({ "name": "pump", "profile": "zeta-thing" }).to_string();
    let send = async |key: &str| {
        let header = [("idempotency-key", key)];
        caller.house.send_with("POST", "/devices", Some(&caller.token), &header, body.clone()).await.code()
    };
    let registry = &caller.house.registry;
    let operator = registry.authenticate(&domain::Secret::new(caller.token.as_str()), None).unwrap();
    let begin = |key: &str| {
        let once = registry.once_call(&operator, "/api/muster/v1/devices", key, body.as_bytes()).unwrap();
        registry.begin_once(&operator, &once).unwrap()
    };
    assert_eq!(begin("one"), Once::Go);
    assert_eq!(send("one").await, (409, "idempotency-running".to_owned()));
    caller.house.pass(60_001);
    assert_eq!(send("one").await, (409, "idempotency-outcome-unknown".to_owned()));
    let full = (0..10_001).find(|number| begin(&number.to_string()) == Once::Full);
    assert_eq!(full, Some(9_999), "one was there before");
    assert_eq!(send("new").await, (429, "idempotency-keys-full".to_owned()));
}

#[tokio::test]
async fn what_is_not_there_is_told_by_its_sort() {
    let nothing = || json!({});
    let caller = Caller::new(None);
    caller
        .all(&[
            ("DELETE", "/operator-tokens/99", nothing(), "operator-token-not-found"),
            ("PATCH", "/operators/nobody", nothing(), "account-not-found"),
            ("POST", "/neighbours/nobody/test", nothing(), "connector-not-found"),
            ("POST", "/secrets/keks/nothing/retire", nothing(), "kek-not-found"),
        ])
        .await;
    let caller = Caller::new(Some("zeta"));
    let secret = json!({ "profile": "zeta-thing", "secret": 77 });
    caller
        .all(&[
            ("GET", "/profiles/nothing", nothing(), "profile-not-found"),
            ("POST", "/freezes", secret, "group-secret-not-found"),
            ("DELETE", "/freezes", nothing(), "freeze-not-found"),
            ("DELETE", "/traces/pump", nothing(), "trace-not-found"),
            ("GET", "/devices/nothing", nothing(), "device-not-found"),
            ("GET", "/operations/99", nothing(), "operation-not-found"),
            ("POST", "/approvals/99/approve", nothing(), "approval-not-found"),
        ])
        .await;
}

#[tokio::test]
async fn what_stands_in_the_way_is_told_by_its_name() {
    let caller = Caller::new(None);
    let ann = json!({ "name": "ann", "role": "viewer", "password": "a password of some length" });
    let made = caller.house.send("POST", "/operators", Some(&caller.token), ann.to_string()).await;
    assert_eq!(made.status, 201, "{}", made.text);
    caller
        .all(&[
            ("POST", "/tenants", json!({ "name": "acme" }), "tenant-exists"),
            ("POST", "/operators", ann, "account-exists"),
            ("POST", "/secrets/keks/test/retire", json!({}), "kek-needed"),
            ("POST", "/secrets/keks", json!({}), "kek-unavailable"),
        ])
        .await;
    let caller = Caller::new(Some("zeta"));
    let known = caller.house.send("GET", "/profiles/zeta-thing", Some(&caller.token), "").await.json();
    let profile = |name: &str| json!({ "name": name, "strategy": "create-new", "provision_key": known["provision_key"] });
    caller
        .all(&[
            ("POST", "/profiles", json!({ "name": "zeta-thing", "strategy": "disabled" }), "profile-exists"),
            ("POST", "/profiles", profile("other"), "provision-key-in-use"),
            ("PATCH", "/profiles/zeta-thing", json!({ "version": 99 }), "version-changed"),
            ("POST", "/devices/zeta-thing/restore", json!({}), "device-not-leaving"),
        ])
        .await;
    let mut told = Vec::new();
    for number in 0..9 {
        let body = json!({ "name": format!("pump-{number}") }).to_string();
        told.push(caller.house.send("POST", "/traces", Some(&caller.token), body).await);
    }
    assert_eq!(told[7].status, 200);
    assert_eq!(told[8].code(), (409, "traces-exhausted".to_owned()));
}

#[tokio::test]
async fn no_more_streams_are_open_than_can_be() {
    let caller = Caller::new(Some("zeta"));
    let accept = [("accept", "text/event-stream")];
    let mut open: Vec<Response> = Vec::new();
    for _ in 0..64 {
        let stream = caller.house.begin("GET", "/events", Some(&caller.token), &accept, "").await;
        assert_eq!(stream.status(), 200);
        open.push(stream);
    }
    let more = caller.house.send_with("GET", "/events", Some(&caller.token), &accept, "").await;
    assert_eq!(more.code(), (503, "readers-full".to_owned()));
    drop(open.pop());
    assert_eq!(caller.house.begin("GET", "/events", Some(&caller.token), &accept, "").await.status(), 200);
}

/// A server, and its first admin.
struct Admin {
    running: Running,
    token: String,
}

impl Admin {
    fn ask(&self, verb: &str, path: &str, body: &Value) -> (u16, Value) {
        let mut http = HttpConnection::open(self.running.http()).unwrap();
        let authorization = format!("Bearer {}", self.token);
        let head = [("Authorization", authorization.as_str()), ("Content-Type", "application/json")];
        let target = format!("/api/muster/v1{path}");
        let reply = http.request(verb, &target, &head, body.to_string().as_bytes()).unwrap();
        (reply.status, serde_json::from_slice(&reply.body).unwrap_or_default())
    }

    fn code(&self, verb: &str, path: &str) -> String {
        let (_, told) = self.ask(verb, path, &json!({}));
        told["code"].as_str().unwrap_or_default().to_owned()
    }

    /// A device of a profile that was made so asks to be let in.
    fn provisions(&self, profile: &str, more: &Value, device: &str) {
        let mut wanted = json!({ "name": profile, "strategy": "create-new", "provision_key": profile,
            "provision_secret": "a secret of some length" });
        wanted.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let (status, made) = self.ask("POST", "/profiles", &wanted);
        assert_eq!(status, 201, "{made}");
        let asked = json!({ "deviceName": device, "provisionDeviceKey": profile,
            "provisionDeviceSecret": "a secret of some length" });
        let mut http = HttpConnection::open(self.running.http()).unwrap();
        http.post_json("/api/v1/provision", &asked.to_string()).unwrap();
    }
}

#[test]
fn what_only_a_whole_server_refuses() {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    std::fs::write(&secret, "correct-horse-battery").unwrap();
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o600)).unwrap();
    // Nobody is there.
    let text = format!(
        "[connectors.erp]\nurl = \"http://127.0.0.1:1/\"\nsecret_file = {secret:?}\nallow_http = true\n\
         allow_networks = [\"127.0.0.0/8\"]\n"
    );
    let connectors = server::config::Config::read(&text, Path::new("m.toml"), &[]).unwrap().connectors;
    let running = Running::start(|config| config.connectors = connectors);
    let token = std::fs::read_to_string(running.folder().join("data/keys/admin-secret")).unwrap();
    let admin = Admin { running, token: token.trim_end().to_owned() };

    assert_eq!(admin.code("POST", "/recover"), "recovery-not-asked");
    let steps = json!({ "steps": [{ "connector": "erp", "gate": "after-reply" }] });
    admin.provisions("joined", &steps, "pump");
    // Until somebody has tried, nobody knows it outside.
    let tried = || {
        let told = admin.ask("GET", "/operations?device=pump", &json!({})).1;
        told["items"][0]["steps"][0]["attempts"].as_u64().is_some_and(|times| times > 0).then_some(())
    };
    testkit::wait::eventually("the neighbour to be asked", std::time::Duration::from_secs(30), tried)
        .unwrap();
    assert_eq!(admin.code("DELETE", "/devices/pump"), "device-joined");
    let operation = &admin.ask("GET", "/operations?device=pump", &json!({})).1["items"][0]["id"];
    let operation = format!("/operations/{}", operation.to_string().trim_matches('"'));
    assert_eq!(admin.code("POST", &format!("{operation}/resume")), "operation-not-stopped");
    assert_eq!(admin.code("POST", &format!("{operation}/steps/7/write-off")), "step-not-open");
    let (_, left) = admin.ask("POST", "/devices/pump/decommission", &json!({ "grace_s": 0 }));
    assert_eq!(left["state"], "decommissioning", "{left}");
    assert_eq!(admin.code("POST", "/devices/pump/restore"), "grace-over");

    admin.provisions("guarded", &json!({ "approval": true }), "guest");
    let approval = &admin.ask("GET", "/approvals", &json!({})).1["items"][0]["id"];
    let approval = format!("/approvals/{}", approval.to_string().trim_matches('"'));
    assert_eq!(admin.ask("POST", &format!("{approval}/approve"), &json!({})).0, 200);
    assert_eq!(admin.code("POST", &format!("{approval}/reject")), "approval-decided");

    // Two at a time: one of them is refused, unless the other was over before it came.
    let begin = |name: String| admin.ask("POST", "/backups", &json!({ "name": name })).1;
    let mut begun = (0..1000).map(|number| begin(format!("b-{number}")));
    assert!(begun.any(|told| told["code"] == "backup-running"));
    let of_before = || (begin("b-0".to_owned())["code"] == "backup-exists").then_some(());
    testkit::wait::eventually("the backup to be whole", std::time::Duration::from_secs(30), of_before)
        .unwrap();
}
