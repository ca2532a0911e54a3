//! Deadlines, limits, certificates, and the end.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, ProtocolVersion, RootCertStore, StreamOwned};
use server::config::Bind;
use testkit::http::HttpConnection;
use testkit::mqtt::MqttConnection;

use crate::conversation::packets::{V5, packet};
use crate::running::Running;

const PROVISION: &str = r#"{"provisionDeviceKey":"the-key","provisionDeviceSecret":"the-secret"}"#;

fn quick(config: &mut server::config::Config) {
    config.http.header_timeout_s = 1;
    config.http.body_timeout_s = 1;
    config.http.idle_timeout_s = 1;
    config.mqtt.connect_timeout_s = 1;
}

/// Sends this and expects nothing but the end.
fn is_cut(address: SocketAddr, bytes: &[u8]) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream.write_all(bytes).unwrap();
    let mut heard = Vec::new();
    stream.read_to_end(&mut heard).unwrap();
    assert_eq!(String::from_utf8_lossy(&heard), "");
}

#[test]
fn a_slow_header_a_slow_body_and_a_slow_connect_are_cut() {
    let running = Running::start(quick);
    is_cut(running.http(), b"");
    is_cut(running.http(), b"POST /api/v1/provision HTTP/1.1\r\nHost:");
    is_cut(running.http(), b"POST /api/v1/provision HTTP/1.1\r\nHost: x\r\nContent-Length: 70\r\n\r\n{\"pro");
    is_cut(running.mqtt(), b"");
    is_cut(running.mqtt(), &packet("connect user=provision", V5)[..9]);
}

#[test]
fn a_byte_now_and_then_does_not_lengthen_a_header() {
    let running = Running::start(quick);
    let stream = TcpStream::connect(running.http()).unwrap();
    let ended = Arc::new(AtomicBool::new(false));
    let drip = {
        let (mut stream, ended) = (stream.try_clone().unwrap(), Arc::clone(&ended));
        std::thread::spawn(move || {
            while !ended.load(Ordering::Relaxed) && stream.write_all(b"X").is_ok() {
                std::thread::sleep(Duration::from_millis(20));
            }
        })
    };
    let mut heard = Vec::new();
    // A reset is an end too: bytes were on their way.
    let _ = (&stream).read_to_end(&mut heard);
    ended.store(true, Ordering::Relaxed);
    drip.join().unwrap();
    assert_eq!(heard, b"");
}

#[test]
fn a_connection_is_kept_for_many_requests_and_a_client_of_http_1_0_is_served() {
    let running = Running::start(|_| {});
    running.profile("main", "the-key", "the-secret");
    let mut http = HttpConnection::open(running.http()).unwrap();
    for _ in 0..3 {
        assert_eq!(http.post_json("/api/v1/provision", PROVISION).unwrap().status, 200);
    }
    let mut old = HttpConnection::open(running.http()).unwrap();
    let length = PROVISION.len();
    old.send(
        format!("POST /api/v1/provision HTTP/1.0\r\nContent-Length: {length}\r\n\r\n{PROVISION}").as_bytes(),
    )
    .unwrap();
    let reply = old.read_reply().unwrap();
    assert!(reply.text().contains("SUCCESS"), "{}", reply.text());
    assert_eq!(old.read_to_end().unwrap(), b"");
}

#[test]
fn a_header_that_is_too_long_is_refused() {
    let running = Running::start(|config| config.http.header_bytes = 8192);
    let mut http = HttpConnection::open(running.http()).unwrap();
    http.send(format!("GET / HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "x".repeat(20_000)).as_bytes()).unwrap();
    assert_eq!(http.read_reply().unwrap().status, 431);
}

#[test]
fn connections_above_the_limit_are_closed_at_once() {
    let running = Running::start(|config| {
        config.http.connections = 1;
        config.mqtt.connections = 1;
    });
    let mut first = HttpConnection::open(running.http()).unwrap();
    assert_eq!(first.get("/healthz").unwrap().text(), "ok\n");
    is_cut(running.http(), b"");
    assert_eq!(first.get("/readyz").unwrap().text(), "ready\n");
    let mut first = MqttConnection::open(running.mqtt()).unwrap();
    first.send(&packet("connect user=provision client=c", V5)).unwrap();
    assert!(first.read_packet().unwrap().is_some());
    is_cut(running.mqtt(), b"");
}

#[test]
fn figures_are_shown_to_this_machine() {
    let running = Running::start(|_| {});
    let mut http = HttpConnection::open(running.http()).unwrap();
    http.get("/healthz").unwrap();
    let reply = http.get("/metrics").unwrap();
    assert!(reply.text().contains("muster_http_responses_total"), "{}", reply.text());
    assert!(reply.header("content-type").unwrap().starts_with("text/plain"));
}

#[test]
fn a_stop_finishes_what_is_in_flight_and_tells_kept_connections() {
    let mut running = Running::start(|_| {});
    running.profile("main", "the-key", "the-secret");
    let address = running.http();
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let mut http = HttpConnection::open(address).unwrap();
            http.post_json("/api/v1/provision", PROVISION).unwrap();
            std::thread::spawn(move || {
                loop {
                    let reply = http.post_json("/api/v1/provision", PROVISION).unwrap();
                    assert!(reply.text().contains("SUCCESS"), "{}", reply.text());
                    if reply.header("connection") == Some("close") {
                        return;
                    }
                }
            })
        })
        .collect();
    let mut session = MqttConnection::open(running.mqtt()).unwrap();
    session.send(&packet("connect user=provision client=c", V5)).unwrap();
    session.read_packet().unwrap();
    let stopped = running.stop();
    for client in clients {
        client.join().unwrap();
    }
    assert_eq!(session.read_packet().unwrap(), Some(packet("disconnect 0x8b", V5)));
    running.wait(stopped);
    assert!(TcpStream::connect(address).is_err());
}

/// A certificate for `localhost`, written to files; gives it in DER.
fn write_certificate(folder: &Path) -> CertificateDer<'static> {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    std::fs::write(folder.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
    std::fs::write(folder.join("cert.pem"), made.cert.pem()).unwrap();
    made.cert.der().clone()
}

fn with_tls(folder: &Path) -> Running {
    Running::start(|config| {
        config.https.bind = vec![Bind::Address(([127, 0, 0, 1], 0).into())];
        config.https.certificate = folder.join("cert.pem");
        config.https.key = folder.join("key.pem");
    })
}

/// Who trusts this certificate.
fn client(
    trusted: &CertificateDer<'static>,
    version: &'static rustls::SupportedProtocolVersion,
) -> ClientConnection {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    ClientConnection::new(Arc::new(config), ServerName::try_from("localhost").unwrap()).unwrap()
}

/// Asks for `/healthz` of a server that must show this certificate.
fn ask(
    address: SocketAddr,
    trusted: &CertificateDer<'static>,
    version: &'static rustls::SupportedProtocolVersion,
) -> std::io::Result<ProtocolVersion> {
    let mut stream = StreamOwned::new(client(trusted, version), TcpStream::connect(address)?);
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut heard = String::new();
    stream.read_to_string(&mut heard)?;
    assert!(heard.ends_with("ok\n"), "{heard}");
    Ok(stream.conn.protocol_version().unwrap())
}

#[test]
fn https_speaks_tls_1_2_and_1_3() {
    let folder = tempfile::tempdir().unwrap();
    let certificate = write_certificate(folder.path());
    let address = with_tls(folder.path());
    let address = address.server().addresses().https[0];
    for (version, spoken) in [
        (&rustls::version::TLS12, ProtocolVersion::TLSv1_2),
        (&rustls::version::TLS13, ProtocolVersion::TLSv1_3),
    ] {
        assert_eq!(ask(address, &certificate, version).unwrap(), spoken);
    }
}

#[test]
fn a_new_certificate_is_taken_and_a_broken_one_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let old = write_certificate(folder.path());
    let running = with_tls(folder.path());
    let address = running.server().addresses().https[0];
    ask(address, &old, &rustls::version::TLS13).unwrap();
    let new = write_certificate(folder.path());
    running.server().reload();
    ask(address, &new, &rustls::version::TLS13).unwrap();
    assert!(ask(address, &old, &rustls::version::TLS13).is_err());
    for broken in ["", "no certificate", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        std::fs::write(folder.path().join("cert.pem"), broken).unwrap();
        running.server().reload();
        ask(address, &new, &rustls::version::TLS13).unwrap();
    }
    write_certificate(folder.path());
    let other_key = rcgen::KeyPair::generate().unwrap().serialize_pem();
    std::fs::write(folder.path().join("key.pem"), other_key).unwrap();
    running.server().reload();
    ask(address, &new, &rustls::version::TLS13).unwrap();
}

#[test]
fn a_handshake_that_does_not_come_holds_nobody_up() {
    let folder = tempfile::tempdir().unwrap();
    let certificate = write_certificate(folder.path());
    let running = with_tls(folder.path());
    let address = running.server().addresses().https[0];
    // More than may shake hands at a time.
    let many = 65 * std::thread::available_parallelism().map_or(1, usize::from);
    let _silent: Vec<TcpStream> = (0..many).map(|_| TcpStream::connect(address).unwrap()).collect();
    ask(address, &certificate, &rustls::version::TLS13).unwrap();
    // Nor does one that begins and does not go on.
    let begun = |address| {
        let mut stream = TcpStream::connect(address).unwrap();
        client(&certificate, &rustls::version::TLS13).write_tls(&mut stream).unwrap();
        stream
    };
    let _begun: Vec<TcpStream> = (0..many).map(|_| begun(address)).collect();
    ask(address, &certificate, &rustls::version::TLS13).unwrap();
}

#[test]
fn both_loopback_addresses_are_served() {
    let running = Running::start(|config| config.http.bind = vec![Bind::Loopback(0)]);
    for address in &running.server().addresses().http {
        assert_eq!(HttpConnection::open(address).unwrap().get("/healthz").unwrap().status, 200, "{address}");
    }
}

#[test]
fn an_unknown_token_whose_body_comes_late_is_answered_and_its_connection_goes_on() {
    let running = Running::start(|_| {});
    let head = b"POST /api/v1/nobody/telemetry HTTP/1.1\r\nHost: x\r\nContent-Length: 7\r\n\r\n";
    let mut late = HttpConnection::open(running.http()).unwrap();
    late.send(head).unwrap();
    // Meanwhile another one has asked and been answered.
    let mut other = HttpConnection::open(running.http()).unwrap();
    for _ in 0..3 {
        assert_eq!(other.post_json("/api/v1/nobody/telemetry", r#"{"a":1}"#).unwrap().status, 401);
    }
    late.send(br#"{"a":1}"#).unwrap();
    assert_eq!(late.read_reply().unwrap().status, 401);
    assert_eq!(late.post_json("/api/v1/nobody/telemetry", r#"{"a":1}"#).unwrap().status, 401);
}
