//! Tokens of an OpenID provider, good ones and forged ones: what no well-behaved provider would sign.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256,
};
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use engine::registry::{NewAccount, Registry};
use serde_json::{Value, json};
use testkit::http::HttpConnection;
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;

use crate::running::Running;

/// A signature's maker, and its public half as a JWK.
enum Key {
    Rsa(RsaKeyPair),
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
}

impl Key {
    fn rsa() -> Key {
        Key::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).unwrap())
    }

    fn ec() -> Key {
        Key::Ec(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap())
    }

    fn ed() -> Key {
        Key::Ed(Ed25519KeyPair::generate().unwrap())
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match self {
            Key::Rsa(key) => {
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).unwrap();
                signature
            }
            Key::Ec(key) => key.sign(&random, message).unwrap().as_ref().to_vec(),
            Key::Ed(key) => key.sign(message).as_ref().to_vec(),
        }
    }

    fn jwk(&self, kid: &str) -> Value {
        match self {
            Key::Rsa(key) => {
                let public = key.public_key();
                let (n, e) = (public.modulus(), public.exponent());
                json!({ "kty": "RSA", "kid": kid, "use": "sig",
                    "n": text(n.big_endian_without_leading_zero()), "e": text(e.big_endian_without_leading_zero()) })
            }
            Key::Ec(key) => {
                let point = &key.public_key().as_ref()[1..];
                json!({ "kty": "EC", "crv": "P-256", "kid": kid, "alg": "ES256",
                    "x": text(&point[..32]), "y": text(&point[32..]) })
            }
            Key::Ed(key) => {
                json!({ "kty": "OKP", "crv": "Ed25519", "kid": kid, "x": text(key.public_key().as_ref()) })
            }
        }
    }
}

fn text(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn unsigned(header: &Value, claims: &Value) -> String {
    format!("{}.{}", text(header.to_string()), text(claims.to_string()))
}

fn signed(header: &Value, claims: &Value, by: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
    let message = unsigned(header, claims);
    let signature = by(message.as_bytes());
    format!("{message}.{}", text(signature))
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// What a stand-in for a provider publishes.
struct Published {
    issuer: String,
    keys: Mutex<Vec<Value>>,
    asked: AtomicUsize,
    fault: Mutex<Option<String>>,
    /// What an answer about the code `held` waits for.
    released: Semaphore,
}

/// A server of ours and somebody who publishes keys for it.
struct Stand {
    running: Running,
    published: Arc<Published>,
    _runtime: Runtime,
    rsa: Key,
}

impl Stand {
    fn open() -> Stand {
        Stand::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut server::config::OpenId)) -> Stand {
        let runtime = Runtime::new().unwrap();
        let socket = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let address: SocketAddr = socket.local_addr().unwrap();
        let rsa = Key::rsa();
        let published = Arc::new(Published {
            issuer: format!("http://{address}"),
            keys: Mutex::new(vec![rsa.jwk("one")]),
            asked: AtomicUsize::new(0),
            fault: Mutex::new(None),
            released: Semaphore::new(0),
        });
        let router = Router::new()
            .route("/.well-known/openid-configuration", get(discovery))
            .route("/keys", get(keys))
            .route("/token", post(token))
            .with_state(Arc::clone(&published));
        runtime.spawn(async move { axum::serve(socket, router).await.unwrap() });
        let issuer = published.issuer.clone();
        let running = Running::start(|config| {
            let openid = &mut config.sign_on.openid;
            openid.issuer = issuer;
            openid.client_id = "muster".into();
            openid.roles = vec!["admins -> admin".into()];
            openid.allow_http = true;
            openid.allow_networks = vec!["127.0.0.0/8".parse().unwrap()];
            change(openid);
        });
        Stand { running, published, _runtime: runtime, rsa }
    }

    fn claims(&self) -> Value {
        json!({ "iss": self.published.issuer, "sub": "ann", "aud": "muster", "iat": now(), "exp": now() + 600,
            "groups": ["admins"] })
    }

    /// Status and code, or the actor, of a call with this token.
    fn asks(&self, token: &str) -> (u16, String) {
        let (status, told) = self.call(token);
        let word = if status == 200 { &told["actor"] } else { &told["code"] };
        (status, word.as_str().unwrap().to_owned())
    }

    fn call(&self, token: &str) -> (u16, Value) {
        let mut http = HttpConnection::open(self.running.http()).unwrap();
        let authorization = format!("Bearer {token}");
        let reply =
            http.request("GET", "/api/muster/v1/whoami", &[("Authorization", &authorization)], b"").unwrap();
        (reply.status, serde_json::from_slice(&reply.body).unwrap())
    }

    /// Status and problem of a call that shows something to sign on with.
    fn shows(&self, path: &str, shown: &Value) -> (u16, Value) {
        let mut http = HttpConnection::open(self.running.http()).unwrap();
        let reply =
            http.post_json(&format!("/api/muster/v1/sign-on/openid{path}"), &shown.to_string()).unwrap();
        (reply.status, serde_json::from_slice(&reply.body).unwrap())
    }

    fn publish(&self, key: Value) {
        self.published.keys.lock().unwrap().push(key);
    }
}

async fn discovery(State(published): State<Arc<Published>>) -> String {
    if let Some(fault) = &*published.fault.lock().unwrap() {
        return fault.clone();
    }
    let issuer = &published.issuer;
    let at = |path: &str| format!("{issuer}{path}");
    json!({ "issuer": issuer, "authorization_endpoint": at("/auth"), "token_endpoint": at("/token"),
        "jwks_uri": at("/keys") })
    .to_string()
}

async fn keys(State(published): State<Arc<Published>>) -> String {
    published.asked.fetch_add(1, Ordering::SeqCst);
    json!({ "keys": *published.keys.lock().unwrap() }).to_string()
}

/// Nobody has signed on with the one code, and the other ones are none.
async fn token(State(published): State<Arc<Published>>, body: String) -> (StatusCode, String) {
    if body.contains("device_code=held") {
        published.released.acquire().await.unwrap().forget();
    }
    let pending = body.contains("device_code=waits");
    let word = if pending { "authorization_pending" } else { "invalid_grant" };
    (StatusCode::BAD_REQUEST, json!({ "error": word, "error_description": "no\u{1b}[31m" }).to_string())
}

fn header(alg: &str) -> Value {
    json!({ "alg": alg, "kid": "one" })
}

#[test]
fn each_algorithm_that_is_taken_lets_somebody_in() {
    let stand = Stand::open();
    let (ec, ed) = (Key::ec(), Key::ed());
    stand.publish(ec.jwk("two"));
    stand.publish(ed.jwk("three"));
    stand.publish(json!({ "kty": "something new", "kid": "four" }));
    let host = stand.published.issuer.trim_start_matches("http://");
    for (alg, kid, key) in [("RS256", "one", &stand.rsa), ("ES256", "two", &ec), ("EdDSA", "three", &ed)] {
        for header in [json!({ "alg": alg, "kid": kid, "typ": "JWT" }), json!({ "alg": alg })] {
            let token = signed(&header, &stand.claims(), |message| key.sign(message));
            assert_eq!(stand.asks(&token), (200, format!("account:ann@{host}")), "{header}");
        }
    }
}

#[test]
fn a_token_that_the_provider_did_not_sign_lets_nobody_in() {
    let stand = Stand::open();
    let Key::Rsa(rsa) = &stand.rsa else { panic!("an RSA key") };
    let claims = stand.claims();
    let good = signed(&header("RS256"), &claims, |message| stand.rsa.sign(message));
    assert_eq!(stand.asks(&good).0, 200);

    // What an attacker has: the public key, in every form in which it could be taken for a shared secret.
    let der: Vec<u8> = rsa.public_key().as_der().unwrap().as_ref().to_vec();
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(&der));
    let jwk = stand.rsa.jwk("one");
    let modulus = jwk["n"].as_str().unwrap().as_bytes().to_vec();
    for (alg, kind) in [("HS256", hmac::HMAC_SHA256), ("HS384", hmac::HMAC_SHA384)] {
        for secret in [&der, &pem.clone().into_bytes(), &modulus, &jwk.to_string().into_bytes(), &Vec::new()]
        {
            let mac = |message: &[u8]| hmac::sign(&hmac::Key::new(kind, secret), message).as_ref().to_vec();
            let token = signed(&header(alg), &claims, mac);
            assert_eq!(stand.asks(&token), (401, "openid-algorithm".into()), "{alg}");
        }
    }
    for alg in ["none", "None", "nOnE", "", "RS1", "ES512", "PS256"] {
        let token = format!("{}.", unsigned(&header(alg), &claims));
        assert_eq!(stand.asks(&token), (401, "openid-algorithm".into()), "{alg}");
    }
    // By another key that is called the same, or by none.
    for key in [Key::rsa(), Key::ec(), Key::ed()] {
        let token = signed(&header("RS256"), &claims, |message| key.sign(message));
        assert_eq!(stand.asks(&token), (401, "openid-signature".into()));
    }
    let bare = format!("{}.", unsigned(&header("RS256"), &claims));
    assert_eq!(stand.asks(&bare), (401, "openid-signature".into()));
    // By the right key, but what was signed is something else.
    let (_, signature) = good.rsplit_once('.').unwrap();
    let mut other = stand.claims();
    other["sub"] = json!("root");
    let changed = format!("{}.{signature}", unsigned(&header("RS256"), &other));
    assert_eq!(stand.asks(&changed), (401, "openid-signature".into()));
    // The name of the key is that of a key of another kind.
    let token = signed(&header("ES256"), &claims, |message| Key::ec().sign(message));
    assert_eq!(stand.asks(&token), (401, "openid-key-unknown".into()));
    // A key of the token's own, or one that is for something else.
    let own = Key::rsa();
    let header =
        json!({ "alg": "RS256", "jwk": own.jwk("one"), "kid": "mine", "jku": "http://127.0.0.1:1/" });
    let token = signed(&header, &claims, |message| own.sign(message));
    assert_eq!(stand.asks(&token), (401, "openid-key-unknown".into()));
    // Our own sessions are not opened by it either.
    let mac =
        |message: &[u8]| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA512, &der), message).as_ref().to_vec();
    let session = signed(&json!({ "alg": "HS512" }), &claims, mac);
    assert_eq!(stand.asks(&session).0, 401);
}

#[test]
fn a_key_for_another_purpose_signs_nobody_on() {
    let stand = Stand::open();
    let key = Key::rsa();
    for (kid, name, value) in [("enc", "use", "enc"), ("alg", "alg", "RS512")] {
        let mut jwk = key.jwk(kid);
        jwk[name] = json!(value);
        stand.publish(jwk);
        let header = json!({ "alg": "RS256", "kid": kid });
        let token = signed(&header, &stand.claims(), |message| key.sign(message));
        assert_eq!(stand.asks(&token), (401, "openid-key-unknown".into()), "{name}");
    }
}

#[test]
fn what_is_signed_is_judged() {
    let stand = Stand::open();
    let cases = [
        ("iss", json!("http://127.0.0.1:1"), 401, "openid-issuer"),
        ("iss", json!(format!("{}/", stand.published.issuer)), 401, "openid-issuer"),
        ("aud", json!("other"), 401, "openid-audience"),
        ("aud", json!(["muster", "other"]), 401, "openid-audience"),
        ("azp", json!("other"), 401, "openid-audience"),
        ("exp", json!(now() - 61), 401, "openid-expired"),
        ("nbf", json!(now() + 300), 401, "openid-not-yet-valid"),
        ("iat", json!(now() + 300), 401, "openid-not-yet-valid"),
        ("exp", Value::Null, 401, "openid-malformed"),
        ("iat", json!("now"), 401, "openid-malformed"),
        ("sub", json!(""), 401, "openid-malformed"),
        ("sub", json!(7), 401, "openid-malformed"),
        (
            "events",
            json!({ "http://schemas.openid.net/event/backchannel-logout": {} }),
            401,
            "openid-malformed",
        ),
        ("groups", json!([]), 403, "openid-no-role"),
        ("groups", Value::Null, 403, "openid-no-role"),
        ("groups", json!({ "admins": true }), 403, "openid-no-role"),
    ];
    for (claim, value, status, code) in cases {
        let mut claims = stand.claims();
        claims[claim] = value;
        let token = signed(&header("RS256"), &claims, |message| stand.rsa.sign(message));
        assert_eq!(stand.asks(&token), (status, code.to_owned()), "{claim}: {}", claims[claim]);
    }
    let logout = json!({ "alg": "RS256", "kid": "one", "typ": "logout+jwt" });
    let token = signed(&logout, &stand.claims(), |message| stand.rsa.sign(message));
    assert_eq!(stand.asks(&token), (401, "openid-malformed".into()));
    for garbage in ["..", "a.b.c", "e30.e30.", &format!("{}.{}.", "x".repeat(10_000), "y")] {
        assert_eq!(stand.asks(garbage).0, 401);
    }
}

fn rules() -> domain::sign_on::Rules {
    domain::sign_on::Rules {
        issuer: "https://id.example".into(),
        client_id: "muster".into(),
        mappings: vec![domain::sign_on::Mapping::parse("admins -> admin").unwrap()],
        email_domains: Vec::new(),
    }
}

/// What the provider says of somebody at that moment.
fn word_of(now: domain::Timestamp) -> domain::sign_on::Vouched {
    domain::sign_on::Vouched {
        issuer: rules().issuer,
        audiences: vec![rules().client_id],
        authorized_party: None,
        subject: "ann".into(),
        issued_at: now,
        not_before: None,
        expires_at: now.plus_ms(60_000),
        verified_email: None,
        groups: vec!["admins".into()],
    }
}

#[test]
fn an_old_token_does_not_bring_a_removed_account_back_whosever_clock_is_ahead() {
    let (registry, clock, _folder) = crate::desk::registry();
    let early = word_of(registry.now().plus_ms(59_000));
    let session = registry.sign_on(&rules(), &early, None, true).unwrap();
    registry.delete_account(&Running::operator(), &session.name).unwrap();
    for _ in 0..2 {
        let refused = registry.sign_on(&rules(), &early, None, true).unwrap_err();
        assert_eq!(refused.code(), "openid-account-removed");
        clock.0.fetch_add(30_000, Ordering::SeqCst);
    }
    clock.0.fetch_add(1000, Ordering::SeqCst);
    registry.sign_on(&rules(), &word_of(registry.now()), None, true).unwrap();
}

#[test]
fn a_token_of_before_that_nobody_has_shown_yet_does_not_bring_a_removed_account_back() {
    let (registry, clock, _folder) = crate::desk::registry();
    let session = registry.sign_on(&rules(), &word_of(registry.now()), None, true).unwrap();
    // Its clock is ahead of ours by as much as it may be.
    let unseen = word_of(registry.now().plus_ms(60_000));
    registry.delete_account(&Running::operator(), &session.name).unwrap();
    let refused = registry.sign_on(&rules(), &unseen, None, true).unwrap_err();
    assert_eq!(refused.code(), "openid-account-removed");
    // What is said later than that opens a new one.
    clock.0.fetch_add(60_001, Ordering::SeqCst);
    assert!(registry.sign_on(&rules(), &unseen, None, true).is_err());
    let again = registry.sign_on(&rules(), &word_of(registry.now()), None, true).unwrap();
    assert_ne!(again.account, session.account);
}

/// A clock of a server on which, just after it was looked at so often, an admin does something.
struct Meanwhile {
    looks: AtomicUsize,
    act: Box<dyn Fn() + Send + Sync>,
}

impl engine::Clock for Meanwhile {
    fn now(&self) -> domain::Timestamp {
        if self.looks.fetch_add(1, Ordering::SeqCst) == 1 {
            (self.act)();
        }
        domain::Timestamp(1_800_000_000_000)
    }
}

/// What an admin does to the account of that name.
type Act = Box<dyn Fn(&Registry, &str) + Send + Sync>;

#[test]
fn an_account_that_is_removed_or_shut_out_in_this_moment_lets_nobody_in() {
    let shut_out = engine::registry::AccountChange { disabled: Some(true), ..Default::default() };
    let cases: [(&str, Act); 2] = [
        (
            "openid-account-removed",
            Box::new(|registry, name| registry.delete_account(&Running::operator(), name).unwrap()),
        ),
        (
            "account-disabled",
            Box::new(move |registry, name| {
                registry.change_account(&Running::operator(), name, &shut_out).map(drop).unwrap();
            }),
        ),
    ];
    for (code, act) in cases {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(crate::desk::Hands(AtomicI64::new(1_800_000_000_000)));
        let store = crate::desk::store(&folder, domain::Timestamp(1_800_000_000_000));
        let registry = crate::desk::by(store.clone(), clock);
        let word = word_of(registry.now());
        let name = registry.sign_on(&rules(), &word, None, true).unwrap().name;
        let admins = registry.clone();
        let act = Box::new(move || act(&admins, &name));
        let other = crate::desk::by(store, Arc::new(Meanwhile { looks: AtomicUsize::new(0), act }));
        assert_eq!(other.sign_on(&rules(), &word, None, true).unwrap_err().code(), code);
    }
}

#[test]
fn no_password_opens_an_account_that_follows_a_provider() {
    let (registry, _clock, _folder) = crate::desk::registry();
    let name = registry.sign_on(&rules(), &word_of(registry.now()), None, true).unwrap().name;
    let password = || domain::Secret::new("a password of some length");
    let wanted = engine::registry::AccountChange { password: Some(password()), ..Default::default() };
    let refused = registry.change_account(&Running::operator(), &name, &wanted).unwrap_err();
    assert_eq!(refused.code(), "value-invalid");
    assert!(refused.to_string().contains("OpenID provider"), "{refused}");
    let runtime = Runtime::new().unwrap();
    assert!(runtime.block_on(registry.log_in(name, password(), None)).is_err());
}

/// Sessions go on without the provider, but not for ever.
#[test]
fn a_session_ends_so_long_after_the_providers_last_word() {
    let (registry, clock, _folder) = crate::desk::registry();
    let registry = registry.with_sign_on_life(3_600_000);
    let rules = rules();
    let word = || word_of(registry.now());
    let session = registry.sign_on(&rules, &word(), None, true).unwrap();
    let goes_on = || registry.resume(session.account, session.epoch, &session.id, None);
    clock.0.fetch_add(3_599_999, Ordering::SeqCst);
    goes_on().unwrap();
    clock.0.fetch_add(1, Ordering::SeqCst);
    assert_eq!(goes_on().unwrap_err().code(), "token-expired");
    // A new word makes it go on; one of before does not.
    let old =
        domain::sign_on::Vouched { issued_at: domain::Timestamp(registry.now().0 - 3_600_000), ..word() };
    registry.sign_on(&rules, &old, None, true).unwrap();
    assert!(goes_on().is_err());
    registry.sign_on(&rules, &word(), None, true).unwrap();
    goes_on().unwrap();
}

#[test]
fn the_configuration_in_the_guide_is_one() {
    let guide = include_str!("../../../../docs/guides/single-sign-on.md");
    let block = guide.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    std::fs::write(&secret, "a secret").unwrap();
    let text = block.replace("/etc/muster/openid-secret", secret.to_str().unwrap());
    let config = server::config::Config::read(&text, std::path::Path::new("m.toml"), &[]).unwrap();
    assert_eq!(config.sign_on.openid.rules().mappings.len(), 3);
    let mistakes = |from: &str, to: &str| {
        let read = server::config::Config::read(&text.replace(from, to), std::path::Path::new("m.toml"), &[]);
        read.unwrap_err().iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    };
    for (from, to, told) in [
        ("https://id", "http://id", "use https"),
        ("\"muster\"", "\"\"", "client_id`: it is needed"),
        ("-> admin", "-> root", "`muster-admins -> root` is not like"),
        ("\"openid\", ", "", "`openid` has to be among them"),
        (
            "client_id",
            "redirect_uri = \"https://muster.example/\"\nclient_id",
            "not an address of this machine",
        ),
    ] {
        assert!(mistakes(from, to).contains(told), "{}", mistakes(from, to));
    }
}

#[test]
fn somebody_with_a_group_may_be_refused_all_the_same() {
    let says = |stand: &Stand, more: &[(&str, Value)]| {
        let mut claims = stand.claims();
        for (claim, value) in more {
            claims[*claim] = value.clone();
        }
        stand.asks(&signed(&header("RS256"), &claims, |message| stand.rsa.sign(message)))
    };
    let stand = Stand::with(|openid| openid.email_domains = vec!["example.org".into()]);
    let email = |verified: bool| [("email", json!("ann@example.org")), ("email_verified", json!(verified))];
    assert_eq!(says(&stand, &email(false)), (403, "openid-email-domain".into()));
    assert_eq!(says(&stand, &email(true)), (200, "account:ann@example.org".into()));

    let stand = Stand::with(|openid| openid.roles = vec!["admins -> admin in nowhere".into()]);
    assert_eq!(says(&stand, &[]), (403, "openid-tenant-unknown".into()));

    let stand = Stand::open();
    let host = stand.published.issuer.trim_start_matches("http://").to_owned();
    let registry = stand.running.registry();
    for name in ["ann@example.org".to_owned(), format!("ann@{host}")] {
        let new = NewAccount { name: &name, tenant: None, role: domain::Role::Viewer, password: None };
        registry.create_account(&Running::operator(), &new).unwrap();
    }
    // A local account is never taken over by whoever has its name.
    assert_eq!(says(&stand, &email(true)), (403, "openid-name-taken".into()));
    registry.delete_account(&Running::operator(), &format!("ann@{host}")).unwrap();
    assert_eq!(says(&stand, &email(true)), (200, format!("account:ann@{host}")));
}

#[test]
fn what_the_provider_says_of_a_code_is_told_and_does_no_harm() {
    let stand = Stand::open();
    let device = |code: &str| stand.shows("", &json!({ "grant": "device", "device_code": code }));
    let (status, problem) = device("waits");
    assert_eq!((status, &problem["code"]), (503, &json!("openid-pending")), "{problem}");
    let (status, problem) = device("forged");
    assert_eq!((status, &problem["code"]), (401, &json!("openid-code-refused")), "{problem}");
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.ends_with("It says: invalid_grant: no[31m"), "{detail}");
    let (status, problem) = stand.shows("/device", &json!({}));
    assert_eq!((status, &problem["code"]), (404, &json!("openid-device-unsupported")), "{problem}");
    for body in [json!({}), json!({ "grant": "password" }), json!({ "grant": "token" })] {
        let (status, problem) = stand.shows("", &body);
        assert!((400..500).contains(&status), "{problem}");
    }
}

#[test]
fn strangers_cannot_make_us_ask_the_provider_again_and_again() {
    let stand = Stand::open();
    let stranger = Key::rsa();
    for number in 0..30 {
        let header = json!({ "alg": "RS256", "kid": format!("unknown {number}") });
        let token = signed(&header, &stand.claims(), |message| stranger.sign(message));
        assert_eq!(stand.asks(&token), (401, "openid-key-unknown".into()));
    }
    let asked = stand.published.asked.load(Ordering::SeqCst);
    assert!((2..=6).contains(&asked), "the provider was asked {asked} times");
}

#[test]
fn a_source_has_only_so_many_codes_looked_at_while_the_provider_takes_its_time() {
    let stand = Stand::open();
    std::thread::scope(|scope| {
        let (tell, told) = std::sync::mpsc::channel();
        for _ in 0..200 {
            let (tell, stand) = (tell.clone(), &stand);
            scope.spawn(move || {
                let (status, problem) = stand.shows("", &json!({ "grant": "device", "device_code": "held" }));
                // Whoever counts may have seen enough.
                let _ = tell.send((status, problem["code"].as_str().unwrap().to_owned()));
            });
        }
        // The provider has answered nobody.
        let first = told.recv().unwrap();
        stand.published.released.add_permits(200);
        assert_eq!(first, (429, "too-many-attempts".into()));
    });
}

/// Each is given back at once, so that nobody who may sign on has to wait.
#[test]
fn whoever_shows_something_good_never_runs_out_of_tries() {
    let stand = Stand::open();
    let token = signed(&header("RS256"), &stand.claims(), |message| stand.rsa.sign(message));
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..40 {
                    let (status, told) = stand.shows("", &json!({ "grant": "token", "token": token }));
                    assert_eq!(status, 200, "{told}");
                }
            });
        }
    });
}

#[test]
fn a_provider_that_is_not_what_it_should_be_is_told_by_name() {
    let told = |fault: String, expected: &str| {
        let stand = Stand::open();
        *stand.published.fault.lock().unwrap() = Some(fault);
        let token = signed(&header("RS256"), &stand.claims(), |message| stand.rsa.sign(message));
        let (status, problem) = stand.call(&token);
        assert_eq!((status, &problem["code"]), (503, &json!("openid-unreachable")), "{problem}");
        assert!(problem["detail"].as_str().unwrap().contains(expected), "{problem}");
        assert!(problem["hint"].is_string(), "{problem}");
    };
    told("<html>".into(), "cannot be read");
    told("x".repeat(100_000), "more than 65536 bytes");
    let other = json!({ "issuer": "https://evil.example", "authorization_endpoint": "", "token_endpoint": "",
        "jwks_uri": "http://127.0.0.1:1/" });
    told(other.to_string(), "it calls itself `https://evil.example`");
}
