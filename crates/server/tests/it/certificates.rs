//! MQTT over TLS, and certificates that clients show there.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use domain::Secret;
use domain::credentials::Certificate;
use engine::registry::{Chosen, CredentialsSave};
use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use rustls::client::ResolvesClientCert;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned};
use server::certificates;
use server::config::Bind;
use testkit::http::HttpConnection;
use wire::x509::Named;

use crate::conversation::packets::{V3, V5, packet};
use crate::running::Running;

const VERSIONS: [&rustls::SupportedProtocolVersion; 2] = [&rustls::version::TLS12, &rustls::version::TLS13];

/// A server with MQTT over TLS, and the folder of its certificate.
fn running(change: impl FnOnce(&mut server::config::Config)) -> (Running, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    std::fs::write(folder.path().join("key.pem"), made.signing_key.serialize_pem()).unwrap();
    std::fs::write(folder.path().join("cert.pem"), made.cert.pem()).unwrap();
    let running = Running::start(|config| {
        config.mqtts.bind = vec![Bind::Address(([127, 0, 0, 1], 0).into())];
        config.mqtts.certificate = folder.path().join("cert.pem");
        config.mqtts.key = folder.path().join("key.pem");
        change(config);
    });
    running.profile("main", "the-key", "the-secret");
    (running, folder)
}

/// A key and its certificate.
struct Identity {
    certificate: CertificateDer<'static>,
    key: KeyPair,
}

impl Identity {
    fn until(year: i32) -> Identity {
        let mut params = CertificateParams::new(vec!["pump".to_owned()]).unwrap();
        (params.not_before, params.not_after) = (date_time_ymd(2019, 1, 1), date_time_ymd(year, 1, 1));
        let key = KeyPair::generate().unwrap();
        Identity { certificate: params.self_signed(&key).unwrap().der().clone(), key }
    }

    fn text(&self) -> String {
        Named::Certificate(self.certificate.to_vec()).text()
    }

    fn named(&self) -> Certificate {
        certificates::named(&self.text()).unwrap()
    }

    fn fingerprint(&self) -> Certificate {
        certificates::named(&self.named().fingerprint).unwrap()
    }

    fn shown(&self) -> Arc<Shows> {
        let key = PrivateKeyDer::try_from(self.key.serialize_der()).unwrap();
        let key = default_provider().key_provider.load_private_key(key).unwrap();
        let certified = CertifiedKey::new(vec![self.certificate.clone()], key);
        Arc::new(Shows { certified: Arc::new(certified), issuers: Mutex::default() })
    }
}

/// Shows one certificate to whoever asks, and keeps which issuers it was told of.
#[derive(Debug)]
struct Shows {
    certified: Arc<CertifiedKey>,
    issuers: Mutex<Vec<usize>>,
}

impl ResolvesClientCert for Shows {
    fn resolve(&self, issuers: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.issuers.lock().unwrap().push(issuers.len());
        Some(Arc::clone(&self.certified))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// The server's certificate is not what is tested here.
#[derive(Debug)]
struct AnyServer;

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        default_provider().signature_verification_algorithms.supported_schemes()
    }
}

struct Client {
    stream: StreamOwned<ClientConnection, TcpStream>,
    level: u8,
}

impl Client {
    fn open(
        running: &Running,
        version: &'static rustls::SupportedProtocolVersion,
        level: u8,
        shows: Option<Arc<Shows>>,
    ) -> Client {
        let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(&[version])
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyServer));
        let config = match shows {
            Some(shows) => config.with_client_cert_resolver(shows),
            None => config.with_no_client_auth(),
        };
        let name = ServerName::try_from("localhost").unwrap();
        let client = ClientConnection::new(Arc::new(config), name).unwrap();
        let socket = TcpStream::connect(running.server().addresses().mqtts[0]).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        Client { stream: StreamOwned::new(client, socket), level }
    }

    fn says(&mut self, line: &str) {
        self.stream.write_all(&packet(line, self.level)).unwrap();
    }

    fn hears(&mut self, line: &str) {
        let wanted = packet(line, self.level);
        let mut heard = vec![0; wanted.len()];
        self.stream.read_exact(&mut heard).unwrap();
        assert_eq!(heard, wanted, "{line}");
    }

    fn is_ended(&mut self) {
        let mut rest = Vec::new();
        // However the other end says it.
        let _ = self.stream.read_to_end(&mut rest);
        assert_eq!(rest, b"");
    }
}

/// Gives a new device these credentials.
fn holds(running: &Running, name: &str, chosen: Chosen) {
    running.provision("the-key", "the-secret", name);
    sets(running, name, chosen);
}

fn sets(running: &Running, name: &str, chosen: Chosen) {
    let (operator, tenant) = (Running::operator(), running.tenant());
    let device = running.registry().device(&tenant, name).unwrap().id;
    let save = CredentialsSave { device, chosen, revision: None };
    running.registry().set_credentials(&operator, &tenant, &save).unwrap();
}

#[test]
fn a_certificate_opens_whatever_issuers_it_has_and_no_issuer_is_asked_for() {
    let (running, _folder) = running(|_| {});
    let identity = Identity::until(2100);
    holds(&running, "pump-1", Chosen::Certificate(identity.named()));
    for (number, version) in VERSIONS.into_iter().enumerate() {
        let shows = identity.shown();
        let mut client = Client::open(&running, version, V5, Some(Arc::clone(&shows)));
        client.says("connect user=nobody password=wrong client=c");
        client.hears("connack 0");
        client.says(&format!("publish 1:7 v1/devices/me/telemetry {{\"number\":{number}}}"));
        client.hears("puback 7");
        assert_eq!(running.telemetry("pump-1"), [format!("number=Integer({number})")]);
        assert_eq!(*shows.issuers.lock().unwrap(), [0]);
    }
}

#[test]
fn dates_count_unless_an_operator_says_otherwise() {
    for (counts, five, three) in [(true, "connack 0x87", "connack 5"), (false, "connack 0", "connack 0")] {
        let (running, _folder) = running(|config| config.mqtts.client_dates = counts);
        let identity = Identity::until(2020);
        holds(&running, "pump-1", Chosen::Certificate(identity.named()));
        for (level, told) in [(V5, five), (V3, three)] {
            let mut client = Client::open(&running, VERSIONS[1], level, Some(identity.shown()));
            client.says("connect client=c");
            client.hears(told);
        }
    }
}

#[test]
fn what_everybody_knows_of_a_certificate_makes_nobody_its_holder() {
    let (running, _folder) = running(|_| {});
    let identity = Identity::until(2100);
    holds(&running, "pump-1", Chosen::Certificate(identity.named()));
    let tenant = running.tenant();
    let device = running.registry().device(&tenant, "pump-1").unwrap().id;
    let name = running.registry().credentials(&Running::operator(), &tenant, &device).unwrap().lookup;
    // What it was known by is free again, and somebody takes it for a token.
    sets(&running, "pump-1", Chosen::ServerMade);
    holds(&running, "thief", Chosen::Token(name));
    holds(&running, "other-thief", Chosen::Token(Secret::new(identity.named().fingerprint)));
    let mut client = Client::open(&running, VERSIONS[1], V5, Some(identity.shown()));
    client.says("connect client=c");
    client.hears("connack 0x87");
    client.is_ended();
}

#[test]
fn a_certificate_and_its_fingerprint_belong_to_one_device() {
    let (running, _folder) = running(|_| {});
    let identity = Identity::until(2100);
    let forms = [identity.named(), identity.fingerprint()];
    for first in [0, 1] {
        let (device, thief) = (format!("pump-{first}"), format!("thief-{first}"));
        holds(&running, &device, Chosen::Certificate(forms[first].clone()));
        // A device can bring what everybody knows, and is told that it is taken.
        let hash = &forms[1 - first].text;
        let body = format!(
            r#"{{"deviceName":"{thief}","provisionDeviceKey":"the-key","provisionDeviceSecret":"the-secret","credentialsType":"X509_CERTIFICATE","hash":"{hash}"}}"#
        );
        let mut http = HttpConnection::open(running.http()).unwrap();
        let told = http.post_json("/api/v1/provision", &body).unwrap().text();
        assert!(told.contains("already assigned to another device"), "{told}");
        let mut client = Client::open(&running, VERSIONS[1], V5, Some(identity.shown()));
        client.says("connect client=c");
        client.hears("connack 0");
        client.says("publish 1:7 v1/devices/me/telemetry {\"here\":true}");
        client.hears("puback 7");
        assert_eq!(running.telemetry(&device), ["here=Bool(true)"]);
        sets(&running, &device, Chosen::Certificate(forms[1 - first].clone()));
        sets(&running, &device, Chosen::ServerMade);
    }
}

#[test]
fn a_certificate_that_is_taken_away_ends_its_session_at_once() {
    let (running, _folder) = running(|_| {});
    let identity = Identity::until(2100);
    holds(&running, "pump-1", Chosen::Certificate(identity.named()));
    for version in VERSIONS {
        sets(&running, "pump-1", Chosen::Certificate(identity.named()));
        let mut client = Client::open(&running, version, V5, Some(identity.shown()));
        client.says("connect client=c");
        client.hears("connack 0");
        sets(&running, "pump-1", Chosen::ServerMade);
        client.hears("disconnect 0x98");
        client.is_ended();
    }
}

#[test]
fn long_messages_and_many_at_once_come_through_tls_whole() {
    let (running, _folder) = running(|_| {});
    let token = running.provision("the-key", "the-secret", "pump-1");
    for version in VERSIONS {
        let mut client = Client::open(&running, version, V3, None);
        let long = "x".repeat(60_000);
        let mut bytes = packet(&format!("connect user={token}"), V3);
        bytes.extend(packet(&format!("publish 1:1 v1/devices/me/attributes {{\"long\":\"{long}\"}}"), V3));
        for number in 2..200 {
            let line = format!("publish 1:{number} v1/devices/me/telemetry {{\"number\":{number}}}");
            bytes.extend(packet(&line, V3));
        }
        client.stream.write_all(&bytes).unwrap();
        client.hears("connack 0");
        (1..200).for_each(|number| client.hears(&format!("puback {number}")));
        let latest = running.telemetry("pump-1");
        assert!(latest.contains(&"number=Integer(199)".to_owned()), "{latest:?}");
        client.says("pingreq");
        client.hears("pingresp");
    }
}

#[test]
fn a_device_is_told_again_which_certificate_it_was_given_or_brought() {
    let (running, _folder) = running(|_| {});
    running.profile_with("again", "again-key", "the-secret", |profile| {
        profile.reprovision = domain::Reprovision::ReturnExisting;
        profile.redelivery_window_ms = 3_600_000;
    });
    running.profile_with("expected", "expected-key", "the-secret", |profile| {
        profile.strategy = domain::Strategy::CheckPreProvisioned;
    });
    let [brought, given] = [Identity::until(2100), Identity::until(2100)].map(|identity| identity.text());
    running.expect_device("given", "expected");
    sets(&running, "given", Chosen::Certificate(certificates::named(&given).unwrap()));
    let ask = |name: &str, key: &str, hash: Option<&str>| {
        let mut body = serde_json::json!({
            "deviceName": name, "provisionDeviceKey": key, "provisionDeviceSecret": "the-secret",
        });
        if let Some(hash) = hash {
            body["credentialsType"] = "X509_CERTIFICATE".into();
            body["hash"] = hash.into();
        }
        let mut http = HttpConnection::open(running.http()).unwrap();
        http.post_json("/api/v1/provision", &body.to_string()).unwrap().text()
    };
    let success = |text: &str| {
        format!(r#"{{"credentialsValue":"{text}","credentialsType":"X509_CERTIFICATE","status":"SUCCESS"}}"#)
    };
    for _ in 0..2 {
        assert_eq!(ask("brought", "again-key", Some(&brought)), success(&brought));
    }
    // The same certificate belongs to one device only, and a device has one certificate.
    assert!(ask("brought", "again-key", Some(&given)).contains("FAILURE"));
    assert_eq!(ask("given", "expected-key", None), success(&given));
}

#[test]
fn without_files_of_its_own_it_shows_the_certificate_of_https() {
    let folder = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    std::fs::write(folder.path().join("key.pem"), made.signing_key.serialize_pem()).unwrap();
    std::fs::write(folder.path().join("cert.pem"), made.cert.pem()).unwrap();
    let running = Running::start(|config| {
        config.mqtts.bind = vec![Bind::Address(([127, 0, 0, 1], 0).into())];
        config.https.certificate = folder.path().join("cert.pem");
        config.https.key = folder.path().join("key.pem");
    });
    let mut client = Client::open(&running, VERSIONS[1], V3, None);
    client.says("connect user=provision client=c");
    client.hears("connack 0");
    let shown = client.stream.conn.peer_certificates().unwrap();
    assert_eq!(shown, std::slice::from_ref(made.cert.der()));
}

#[test]
fn a_handshake_that_does_not_come_is_cut_and_holds_nobody_up() {
    let (running, _folder) = running(|config| config.mqtts.handshake_timeout_s = 1);
    let token = running.provision("the-key", "the-secret", "pump-1");
    let there = running.server().addresses().mqtts[0];
    let silent: Vec<TcpStream> = (0..20).map(|_| TcpStream::connect(there).unwrap()).collect();
    let mut client = Client::open(&running, VERSIONS[1], V3, None);
    client.says(&format!("connect user={token}"));
    client.hears("connack 0");
    for mut stream in silent {
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        assert_eq!(stream.read(&mut [0; 8]).unwrap_or(0), 0);
    }
}

#[test]
fn who_has_not_the_key_of_a_certificate_or_shows_a_broken_chain_ends_in_the_handshake() {
    let (running, _folder) = running(|_| {});
    let [identity, stranger] = [Identity::until(2100), Identity::until(2100)];
    holds(&running, "pump-1", Chosen::Certificate(identity.named()));
    let [own, foreign] = [&identity, &stranger].map(|identity| Arc::clone(&identity.shown().certified.key));
    let leaf = identity.certificate.clone();
    for version in VERSIONS {
        for (chain, key) in
            [(vec![leaf.clone()], &foreign), (vec![leaf.clone(), stranger.certificate.clone()], &own)]
        {
            let certified = Arc::new(CertifiedKey::new(chain, Arc::clone(key)));
            let shows = Arc::new(Shows { certified, issuers: Mutex::default() });
            let mut client = Client::open(&running, version, V5, Some(shows));
            let said = client.stream.write_all(&packet("connect client=c", V5));
            let heard = said.and_then(|()| client.stream.read(&mut [0; 8]));
            let told = heard.unwrap_err().to_string();
            assert!(told.contains("DecryptError"), "{told}");
        }
    }
}
