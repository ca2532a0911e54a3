//! ThingsBoard's REST interface: signing on, and the walls around every route.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails here")]

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use domain::{Role, Secret};
use engine::Clock as _;
use engine::registry::{AccountChange, FeedFrom, NewAccount, NewOperatorToken, Operator, Registry};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use server::api::{self, thingsboard_rest};
use server::listeners::{Peer, Stopper, stopper};
use tower::ServiceExt;

use crate::desk::{self, Hands};

pub(crate) const PASSWORD: &str = "a password of some length";

/// A registry with one account of each role in the default tenant, named like the role.
pub(crate) struct House {
    pub(crate) registry: Registry,
    router: Router,
    stopper: Stopper,
    clock: Arc<Hands>,
    _folder: tempfile::TempDir,
}

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    /// Status, errorCode and message of an error.
    pub(crate) fn wrong(&self) -> (u16, u64, String) {
        let json = self.json();
        assert_eq!(json["status"], self.status.as_u16(), "{json}");
        assert!(json["timestamp"].is_i64(), "{json}");
        let message = json["message"].as_str().unwrap().to_owned();
        (self.status.as_u16(), json["errorCode"].as_u64().unwrap(), message)
    }
}

impl House {
    pub(crate) fn new() -> House {
        let (registry, clock, folder) = desk::registry();
        let (stopper, stop) = stopper();
        let router = api::router(registry.clone(), stop.stopping())
            .merge(thingsboard_rest::router(registry.clone(), stop.stopping()));
        let house = House { registry, router, stopper, clock, _folder: folder };
        for role in Role::ALL {
            house.account(role.word(), *role);
        }
        house
    }

    fn account(&self, name: &str, role: Role) {
        let password = Some(Secret::new(PASSWORD));
        let new = NewAccount { name, tenant: Some("default"), role, password };
        self.registry.create_account(&Operator::server("test"), &new).unwrap();
    }

    pub(crate) async fn send(
        &self,
        verb: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> Answer {
        let mut request = Request::builder().method(verb).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut request = request.body(body.into()).unwrap();
        let address = IpAddr::from([192, 0, 2, 1]);
        request.extensions_mut().insert(Peer { address, encrypted: false });
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        Answer { status, headers, text: String::from_utf8(bytes.to_vec()).unwrap() }
    }

    /// The access token and the refresh token of somebody who signs on.
    pub(crate) async fn log_in(&self, name: &str) -> (String, String) {
        let body = json!({ "username": name, "password": PASSWORD }).to_string();
        let answer = self.send("POST", "/api/auth/login", &[], body).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        let json = answer.json();
        let text = |member: &str| json[member].as_str().unwrap().to_owned();
        (text("token"), text("refreshToken"))
    }

    async fn me(&self, authorization: &str) -> Answer {
        self.send("GET", "/api/auth/user", &[("x-authorization", authorization)], "").await
    }
}

fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

/// What a token says, read like the clients do: without looking at the signature.
fn claims(token: &str) -> Value {
    let part = token.split('.').nth(1).unwrap();
    let mut bits = 0_u32;
    let mut bytes = Vec::new();
    for (at, letter) in part.bytes().enumerate() {
        let six = match letter {
            b'A'..=b'Z' => letter - b'A',
            b'a'..=b'z' => letter - b'a' + 26,
            b'0'..=b'9' => letter - b'0' + 52,
            b'-' => 62,
            _ => 63,
        };
        bits = bits << 6 | u32::from(six);
        if at % 4 != 0 {
            bytes.push((bits >> (6 - 2 * (at % 4))) as u8);
        }
    }
    serde_json::from_slice(&bytes).unwrap()
}

#[tokio::test]
async fn who_signs_on_is_known_by_the_token_until_it_expires() {
    let house = House::new();
    let (token, refresh) = house.log_in("admin").await;
    let now = house.clock.now().0 / 1000;
    let said = claims(&token);
    assert_eq!(
        (&said["sub"], &said["iss"], &said["scopes"]),
        (&json!("admin"), &json!("thingsboard.io"), &json!(["TENANT_ADMIN"]))
    );
    assert_eq!((said["iat"].as_i64(), said["exp"].as_i64()), (Some(now), Some(now + 9000)));
    assert_eq!(claims(&refresh)["exp"].as_i64(), Some(now + 604_800));
    let me = house.me(&bearer(&token)).await.json();
    assert_eq!((&me["email"], &me["authority"]), (&json!("admin"), &json!("TENANT_ADMIN")));
    assert_eq!((&me["id"]["id"], &me["tenantId"]["id"]), (&said["userId"], &said["tenantId"]));
    house.clock.0.fetch_add(9_000_000, Ordering::SeqCst);
    let expired = (401, 11, "Token has expired".to_owned());
    assert_eq!(house.me(&bearer(&token)).await.wrong(), expired);
    let body = json!({ "refreshToken": refresh }).to_string();
    let fresh = house.send("POST", "/api/auth/token", &[], body).await.json();
    assert_eq!(house.me(&bearer(fresh["token"].as_str().unwrap())).await.status, 200);
}

#[tokio::test]
async fn whoever_does_not_show_who_he_is_gets_thingsboards_words_for_it() {
    let house = House::new();
    let (token, refresh) = house.log_in("admin").await;
    let (said, signature) = token.rsplit_once('.').unwrap();
    let other = if signature.starts_with('A') { "B" } else { "A" };
    let forged = format!("{said}.{other}{}", &signature[1..]);
    let none = "Authentication failed";
    let unknown = "Invalid username or password";
    for (shown, code, message) in [
        ("".to_owned(), 10, none),
        ("Bearer".to_owned(), 10, none),
        ("Bearer ".to_owned(), 10, none),
        ("Bearer garbage".to_owned(), 10, unknown),
        ("Basic dGVuYW50".to_owned(), 10, unknown),
        ("ApiKey tb_0123456789abcdefghij".to_owned(), 10, unknown),
        (token.clone(), 10, unknown),
        (bearer(&refresh), 10, unknown),
        (bearer(&forged), 11, "Token has expired"),
    ] {
        assert_eq!(house.me(&shown).await.wrong(), (401, code, message.to_owned()), "{shown}");
    }
    let good = bearer(&token);
    let both =
        |first: &'static str, second: &'static str| [("x-authorization", first), ("authorization", second)];
    let garbage = "Bearer garbage";
    let good: &'static str = good.leak();
    assert_eq!(house.send("GET", "/api/auth/user", &both(good, garbage), "").await.status, 200);
    assert_eq!(house.send("GET", "/api/auth/user", &both(garbage, good), "").await.status, 401);
    assert_eq!(house.send("GET", "/api/auth/user", &[("authorization", good)], "").await.status, 200);
}

#[tokio::test]
async fn a_wrong_password_an_unknown_name_and_a_broken_body_are_not_let_in() {
    let house = House::new();
    for (body, message) in [
        (r#"{"username":"admin","password":"wrong"}"#, "Invalid username or password"),
        (r#"{"username":"nobody","password":"wrong"}"#, "Invalid username or password"),
        (r#"{"username":"ADMIN","password":"a password of some length"}"#, "Invalid username or password"),
        (r#"{"username":"admin","password":""}"#, "Authentication failed"),
        (r#"{"username":"admin"}"#, "Authentication failed"),
        ("garbage", "Authentication failed"),
        ("", "Authentication failed"),
    ] {
        let answer = house.send("POST", "/api/auth/login", &[], body).await;
        assert_eq!(answer.wrong(), (401, 10, message.to_owned()), "{body}");
    }
    let answer = house.send("GET", "/api/auth/login", &[], "").await;
    assert_eq!(answer.wrong(), (401, 10, "Authentication method not supported".to_owned()));
}

#[tokio::test]
async fn a_session_ends_by_logging_out_and_by_any_change_of_the_account() {
    let house = House::new();
    let server = Operator::server("test");
    let (token, refresh) = house.log_in("admin").await;
    let header = bearer(&token);
    assert_eq!(house.send("POST", "/api/auth/logout", &[("x-authorization", &header)], "").await.status, 200);
    assert_eq!(house.me(&header).await.wrong().1, 11);
    let body = json!({ "refreshToken": refresh }).to_string();
    assert_eq!(house.send("POST", "/api/auth/token", &[], body).await.status, 401);
    let (token, _) = house.log_in("admin").await;
    let wanted = AccountChange { role: Some(Role::Viewer), ..AccountChange::default() };
    house.registry.change_account(&server, "admin", &wanted).unwrap();
    assert_eq!(house.me(&bearer(&token)).await.wrong().1, 11);
    let (token, _) = house.log_in("admin").await;
    let wanted = AccountChange { disabled: Some(true), ..AccountChange::default() };
    house.registry.change_account(&server, "admin", &wanted).unwrap();
    assert_eq!(house.me(&bearer(&token)).await.status, 401);
    let body = json!({ "username": "admin", "password": PASSWORD }).to_string();
    let answer = house.send("POST", "/api/auth/login", &[], body).await;
    assert_eq!(answer.wrong(), (401, 10, "User account is not active".to_owned()));
}

#[tokio::test]
async fn one_changes_ones_own_password_by_the_present_one() {
    let house = House::new();
    let change = async |token: &str, present: &str, new: &str| {
        let body = json!({ "currentPassword": present, "newPassword": new }).to_string();
        house.send("POST", "/api/auth/changePassword", &[("x-authorization", &bearer(token))], body).await
    };
    let (token, _) = house.log_in("viewer").await;
    let refused = change(&token, "wrong", "another good password").await;
    assert_eq!(refused.wrong(), (400, 31, "Current password doesn't match!".to_owned()));
    assert_eq!(change(&token, PASSWORD, "short").await.wrong().0, 400);
    let changed = change(&token, PASSWORD, "another good password").await;
    assert_eq!(changed.status, 200, "{}", changed.text);
    assert_eq!(house.me(&bearer(&token)).await.status, 401, "older tokens are void");
    let fresh = changed.json()["token"].as_str().unwrap().to_owned();
    assert_eq!(house.me(&bearer(&fresh)).await.json()["email"], "viewer");
    let body = json!({ "present": "another good password", "new": PASSWORD }).to_string();
    let path = "/api/muster/v1/whoami/password";
    let auth = bearer(&fresh);
    assert_eq!(house.send("POST", path, &[("authorization", &auth)], body).await.status, 204);
    house.log_in("viewer").await;
}

#[tokio::test]
async fn an_operator_token_is_an_api_key() {
    let house = House::new();
    let wanted = NewOperatorToken { role: Role::Viewer, tenant: None, label: "", life_ms: Some(1000) };
    let (key, _) = house.registry.create_operator_token(&Operator::server("test"), wanted).unwrap();
    let header = format!("ApiKey {}", key.expose());
    assert_eq!(house.me(&header).await.status, 200);
    assert_eq!(house.send("GET", "/api/auth/user", &[("authorization", &header)], "").await.status, 200);
    house.clock.0.fetch_add(1000, Ordering::SeqCst);
    assert_eq!(house.me(&header).await.wrong(), (401, 11, "Token has expired".to_owned()));
}

#[tokio::test]
async fn what_is_not_there_is_told_to_those_who_are_known() {
    let house = House::new();
    let (token, _) = house.log_in("viewer").await;
    let known = [("x-authorization", &*bearer(&token))];
    let answer = house.send("GET", "/api/nothing", &known, "").await;
    assert_eq!(answer.wrong(), (404, 32, "No static resource api/nothing.".to_owned()));
    assert!(answer.text.starts_with(r#"{"message""#), "{}", answer.text);
    assert_eq!(house.send("GET", "/api/nothing", &[], "").await.wrong().0, 401);
    let answer = house.send("PUT", "/api/auth/user", &known, "").await;
    assert_eq!(answer.wrong(), (405, 31, "Request method 'PUT' is not supported".to_owned()));
    assert_eq!(answer.headers["allow"], "GET");
    assert_eq!(house.send("PUT", "/api/auth/user", &[], "").await.wrong().0, 401);
    let answer = house.send("GET", "/api/system/info", &known, "").await.json();
    assert_eq!(
        answer,
        json!({ "version": "4.2.0", "artifact": "application", "name": "thingsboard", "type": "CE" })
    );
    assert_eq!(house.send("GET", "/api/noauth/activate", &[], "").await.wrong().1, 31);
    assert_eq!(house.send("POST", "/api/noauth/oauth2Clients", &[], "").await.text, "[]");
}

#[tokio::test]
async fn a_stranger_keeps_no_bulk_waiting_and_what_it_types_for_a_name_is_not_kept() {
    let house = House::new();
    let log_in = async |name: &str, password: &str| {
        let body = json!({ "username": name, "password": password }).to_string();
        house.send("POST", "/api/auth/login", &[], body).await.status.as_u16()
    };
    assert_eq!(log_in("admin", &"x".repeat(20_000)).await, 413);
    assert_eq!(log_in("admin", &"x".repeat(10_000)).await, 401);
    assert_eq!(log_in(&"x".repeat(10_000), PASSWORD).await, 401);
    assert_eq!(log_in("correct horse battery", "x").await, 401);
    let admin = bearer(&house.log_in("admin").await.0);
    let told =
        house.send("GET", "/api/muster/v1/events?tenant=default", &[("authorization", &admin)], "").await;
    assert!(told.status == 200 && !told.text.contains("horse"), "{}", told.text);
    let journalled = house.registry.events(&Operator::server("test"), None, &FeedFrom::Start, None).unwrap();
    let failed: Vec<_> =
        journalled.events.iter().filter(|it| it.entry.kind == "operator-sign-on-failed").collect();
    assert!(!failed.is_empty() && failed.iter().all(|it| !format!("{:?}", it.entry).contains("horse")));
}

#[tokio::test]
async fn rows_of_an_import_are_told_by_their_lines_whatever_ends_them() {
    for end in ["\n", "\r\n"] {
        let house = House::new();
        let operator = bearer(&house.log_in("operator").await.0);
        let auth = [("x-authorization", operator.as_str()), ("content-type", "application/json")];
        let import = async |lines: &[&str]| {
            let columns = json!([{ "type": "NAME" }, { "type": "TYPE" }]);
            let mapping = json!({ "columns": columns, "delimiter": ",", "header": true, "update": true });
            let body = json!({ "file": lines.join(end), "mapping": mapping });
            house.send("POST", "/api/device/bulk_import", &auth, body.to_string()).await
        };
        let told = import(&["name,type", "a,", "", "\"b", "c\",", ",", "a,"]).await;
        assert_eq!(told.status, 200, "{}", told.text);
        let errors = [
            "Line 6: Device name should be specified!".to_owned(),
            "Line 7: Device with such name already exists!".to_owned(),
        ];
        assert_eq!(told.json()["errorsList"], json!(errors), "{end:?}");
        let wrong = import(&["name,type", "a,", "b,,,", ""]).await.wrong().2;
        assert_eq!(wrong, "Line 3 has more cells than there are columns: 2", "{end:?}");
    }
}

#[tokio::test]
async fn a_server_that_stops_ends_an_import_and_says_so() {
    let house = House::new();
    let operator = bearer(&house.log_in("operator").await.0);
    let auth = [("x-authorization", operator.as_str()), ("content-type", "text/csv")];
    house.stopper.stop();
    let rows: String = (0..1001).map(|row| format!("SN-{row:04}\n")).collect();
    let told = house.send("POST", "/api/device/bulk_import", &auth, format!("name\n{rows}")).await;
    assert_eq!(told.wrong().0, 503);
    let place = "/api/tenant/devices?pageSize=1&page=0";
    let listed = house.send("GET", place, &auth[..1], "").await.json();
    assert_eq!(listed["totalElements"], 500, "{listed}");
}

#[tokio::test]
async fn claiming_data_that_is_withdrawn_is_gone() {
    let house = House::new();
    let operator = bearer(&house.log_in("operator").await.0);
    let auth = [("x-authorization", operator.as_str())];
    let made = house.send("POST", "/api/device", &auth, json!({ "name": "pump" }).to_string()).await.json();
    let place = format!("/api/plugins/telemetry/DEVICE/{}", made["id"]["id"].as_str().unwrap());
    let data = json!({ "claimingData": { "secretKey": "k", "expirationTime": 4_000_000_000_000_i64 } });
    let saved = house.send("POST", &format!("{place}/SERVER_SCOPE"), &auth, data.to_string()).await;
    assert_eq!(saved.status, 200, "{}", saved.text);
    let gone = format!("{place}/SERVER_SCOPE?keys=claimingData");
    let deleted = |house: &House| {
        let events = house.registry.events(&Operator::server("test"), None, &FeedFrom::Start, None).unwrap();
        events.events.iter().filter(|it| it.entry.kind == "attributes-deleted").count()
    };
    for _ in 0..2 {
        assert_eq!(house.send("DELETE", &gone, &auth, "").await.status, 200);
    }
    assert_eq!(deleted(&house), 1, "it is withdrawn once, and then it is not there any more");
}
