//! Servers that answer in every bad way, on sockets of this machine.

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::*;

fn settings(url: &str) -> Settings {
    Settings {
        url: url.to_owned(),
        allow_http: true,
        allow_networks: vec!["127.0.0.0/8".parse().unwrap()],
        root_certificate: None,
        timeout: Duration::from_secs(20),
        connect_timeout: Duration::from_secs(20),
        concurrency: 4,
        patience: Duration::from_secs(20),
    }
}

/// What one answer becomes. The server reads the whole request, sends `answer` and closes.
async fn answered(answer: &[u8]) -> Result<Reply, Fault> {
    let (address, listener) = listen().await;
    let answer = answer.to_vec();
    let server = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        read_request(&mut socket).await;
        // The client may have seen enough before the end.
        let _ = socket.write_all(&answer).await;
        let _ = socket.shutdown().await;
    });
    let outbound =
        Outbound::new(&settings(&format!("http://{address}/secret-path?key=secret-query"))).unwrap();
    let reply = outbound.post(HeaderMap::new(), b"{}".to_vec(), &[StatusCode::GONE]).await;
    server.await.unwrap();
    reply
}

async fn listen() -> (SocketAddr, TcpListener) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    (listener.local_addr().unwrap(), listener)
}

async fn read_request(socket: &mut TcpStream) {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n{}") {
        let mut piece = [0; 1024];
        let read = socket.read(&mut piece).await.unwrap();
        assert_ne!(read, 0, "the request ended early");
        request.extend_from_slice(&piece[..read]);
    }
}

async fn fault(answer: &[u8]) -> Fault {
    let fault = answered(answer).await.unwrap_err();
    assert!(!format!("{fault:?}").contains("secret-"), "{fault:?}");
    fault
}

#[tokio::test]
async fn an_answer_is_its_status_and_body() {
    let reply = answered(b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
    assert_eq!((reply.status, reply.body.as_slice()), (StatusCode::CREATED, &b"ok"[..]));
    let gone = answered(b"HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n").await.unwrap();
    assert_eq!(gone.status, StatusCode::GONE);
}

#[tokio::test]
async fn every_bad_answer_has_its_fault() {
    let cases: &[(&[u8], bool, &str)] = &[
        (b"HTTP/1.1 500 X\r\nContent-Length: 0\r\n\r\n", false, "server-error"),
        (b"HTTP/1.1 404 X\r\nContent-Length: 0\r\n\r\n", true, "rejected"),
        (b"HTTP/1.1 401 X\r\nContent-Length: 0\r\n\r\n", true, "rejected"),
        (b"HTTP/1.1 302 X\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n", true, "redirected"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort", false, "connection-lost"),
        (b"HTTP/1.1 200 OK\r\n", false, "connection-lost"),
        (b"", false, "connection-lost"),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", true, "answer-invalid"),
    ];
    for (answer, permanent, code) in cases {
        let fault = fault(answer).await;
        let told = String::from_utf8_lossy(answer);
        assert_eq!((fault.permanent, fault.code), (*permanent, *code), "{told}: {}", fault.message);
    }
}

#[tokio::test]
async fn a_busy_neighbour_says_when_to_come_again() {
    let answer = b"HTTP/1.1 429 X\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n";
    let fault = fault(answer).await;
    assert_eq!((fault.permanent, fault.retry_after), (false, Some(Duration::from_secs(7))));
}

#[tokio::test]
async fn a_large_answer_is_not_read_to_its_end() {
    let head = |length: usize| format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n").into_bytes();
    let whole = [head(ANSWER_BYTES), vec![b' '; ANSWER_BYTES]].concat();
    assert_eq!(answered(&whole).await.unwrap().body.len(), ANSWER_BYTES);
    // The second never ends: the server would write for ever if it were read.
    for large in [
        [head(ANSWER_BYTES + 1), vec![b' '; ANSWER_BYTES + 1]].concat(),
        [head(usize::MAX >> 1), vec![b' '; 1 << 22]].concat(),
    ] {
        let fault = fault(&large).await;
        assert_eq!((fault.permanent, fault.code), (true, "answer-too-large"));
    }
}

#[tokio::test]
async fn silence_and_absence_are_temporary() {
    let (address, listener) = listen().await;
    let short = Settings { timeout: Duration::from_millis(50), ..settings(&format!("http://{address}/")) };
    let fault = Outbound::new(&short).unwrap().post(HeaderMap::new(), Vec::new(), &[]).await.unwrap_err();
    assert_eq!((fault.permanent, fault.code), (false, "timeout"));
    drop(listener);
    let absent = Outbound::new(&settings(&format!("http://{address}/"))).unwrap();
    let fault = absent.post(HeaderMap::new(), Vec::new(), &[]).await.unwrap_err();
    assert_eq!((fault.permanent, fault.code), (false, "unreachable"), "{}", fault.message);
    let nameless = Outbound::new(&settings("http://no-such-host.invalid/")).unwrap();
    let fault = nameless.post(HeaderMap::new(), Vec::new(), &[]).await.unwrap_err();
    assert_eq!((fault.permanent, fault.code), (false, "unreachable"), "{}", fault.message);
}

#[tokio::test]
async fn an_answer_that_never_ends_is_given_up() {
    let (address, listener) = listen().await;
    let server = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        read_request(&mut socket).await;
        socket.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf").await.unwrap();
        // Held open until the client has gone.
        let _ = socket.read(&mut [0]).await;
    });
    let short = Settings { timeout: Duration::from_millis(50), ..settings(&format!("http://{address}/")) };
    let outbound = Outbound::new(&short).unwrap();
    let fault = outbound.post(HeaderMap::new(), b"{}".to_vec(), &[]).await.unwrap_err();
    assert_eq!((fault.permanent, fault.code), (false, "timeout"), "{}", fault.message);
    drop(outbound);
    server.await.unwrap();
}

#[tokio::test]
async fn no_more_calls_at_a_time_than_are_allowed() {
    let (address, listener) = listen().await;
    let outbound = Arc::new(Outbound::new(&settings(&format!("http://{address}/"))).unwrap());
    let calls: Vec<_> = (0..5)
        .map(|_| {
            let outbound = Arc::clone(&outbound);
            tokio::spawn(async move { outbound.post(HeaderMap::new(), b"{}".to_vec(), &[]).await })
        })
        .collect();
    let mut sockets = Vec::new();
    for _ in 0..4 {
        let (mut socket, _) = listener.accept().await.unwrap();
        read_request(&mut socket).await;
        sockets.push(socket);
    }
    assert_eq!(outbound.turns.available_permits(), 0);
    // The fifth has its turn once one is answered.
    let serve = tokio::spawn(async move {
        for mut socket in sockets {
            socket
                .write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
                .await
                .unwrap();
        }
        let (mut socket, _) = listener.accept().await.unwrap();
        read_request(&mut socket).await;
        socket.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.unwrap();
    });
    for call in calls {
        assert_eq!(call.await.unwrap().unwrap().status, StatusCode::OK);
    }
    serve.await.unwrap();
}

#[tokio::test]
async fn whoever_has_no_turn_in_time_is_told_so() {
    let (address, listener) = listen().await;
    let short = Settings {
        concurrency: 1,
        patience: Duration::from_millis(50),
        ..settings(&format!("http://{address}/"))
    };
    let outbound = Arc::new(Outbound::new(&short).unwrap());
    let first = Arc::clone(&outbound);
    let first = tokio::spawn(async move { first.post(HeaderMap::new(), b"{}".to_vec(), &[]).await });
    let (mut socket, _) = listener.accept().await.unwrap();
    read_request(&mut socket).await;
    for fault in [outbound.get().await, outbound.post(HeaderMap::new(), Vec::new(), &[]).await] {
        let fault = fault.unwrap_err();
        assert_eq!((fault.permanent, fault.code), (false, "busy"), "{}", fault.message);
    }
    // The one that has it is not concerned.
    socket.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.unwrap();
    first.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_name_of_this_machine_is_not_called_unless_its_network_is_allowed() {
    let (address, listener) = listen().await;
    let url = format!("http://localhost:{}/", address.port());
    let closed = Settings { allow_networks: Vec::new(), ..settings(&url) };
    let fault = Outbound::new(&closed).unwrap().post(HeaderMap::new(), Vec::new(), &[]).await.unwrap_err();
    assert_eq!((fault.permanent, fault.code), (true, "address-forbidden"), "{}", fault.message);
    assert!(fault.message.contains("allow_networks"));
    drop(listener);
}

#[test]
fn an_address_is_refused_where_it_is_written() {
    let with = |url: &str, allow_http: bool| {
        let settings = Settings { allow_http, allow_networks: Vec::new(), ..settings(url) };
        address_problem(&settings).unwrap_or_default()
    };
    assert_eq!(with("https://crm.example/muster", false), "");
    assert_eq!(with("http://crm.example/muster", true), "");
    for (url, told) in [
        ("", "not an address"),
        ("crm.example", "not an address"),
        ("http://crm.example/", "allow_http"),
        ("ftp://crm.example/", "not https"),
        ("https://user@crm.example/", "user name"),
        ("https://:secret@crm.example/", "user name"),
        ("https://127.0.0.1/", "not a public"),
        ("https://2130706433/", "not a public"),
        ("https://0x7f.1/", "not a public"),
        ("https://[::ffff:127.0.0.1]/", "not a public"),
        ("https://[::1]/", "not a public"),
        ("https://169.254.169.254/latest", "not a public"),
    ] {
        let problem = with(url, false);
        assert!(problem.contains(told) && !problem.contains("secret"), "{url}: {problem}");
    }
}

#[tokio::test]
async fn a_certificate_is_trusted_by_its_own_root_alone() {
    let folder = tempfile::tempdir().unwrap();
    let (address, root) = serve_tls().await;
    let file = folder.path().join("root.pem");
    std::fs::write(&file, root).unwrap();
    let url = format!("https://localhost:{}/", address.port());
    let trusting = Settings { root_certificate: Some(file), ..settings(&url) };
    let reply = Outbound::new(&trusting).unwrap().post(HeaderMap::new(), b"{}".to_vec(), &[]).await.unwrap();
    assert_eq!(reply.body, b"ok");

    let (_, other) = serve_tls().await;
    std::fs::write(folder.path().join("other.pem"), other).unwrap();
    let other = Settings { root_certificate: Some(folder.path().join("other.pem")), ..settings(&url) };
    let fault = Outbound::new(&other).unwrap().post(HeaderMap::new(), b"{}".to_vec(), &[]).await.unwrap_err();
    assert_eq!((fault.permanent, fault.code), (false, "tls-failed"), "{}", fault.message);

    let absent = Settings { root_certificate: Some("/nowhere.pem".into()), ..settings(&url) };
    assert!(Outbound::new(&absent).is_err());
}

/// A server with a certificate of its own, and that certificate.
async fn serve_tls() -> (SocketAddr, String) {
    let certified = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(certified.signing_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config =
        config.with_no_client_auth().with_single_cert(vec![certified.cert.der().clone()], key).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let (address, listener) = listen().await;
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let Ok(mut socket) = acceptor.accept(socket).await else { continue };
            let mut piece = [0; 4096];
            let _ = socket.read(&mut piece).await;
            let _ = socket.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
        }
    });
    (address, certified.cert.pem())
}
