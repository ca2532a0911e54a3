//! A device's part of ThingsBoard over HTTP (thingsboard page, sections 4.2 and 9.2).

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper::header::{CONTENT_TYPE, HOST, HeaderMap, HeaderValue, RETRY_AFTER};
use hyper::{Method, Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;
use wire::Secret;
use wire::thingsboard::{Credentials, ErrorBody, ProvisionRequest};
use zeroize::Zeroizing;

use super::{DEFAULT_PATIENCE, connect, granted};
use crate::error::ClientError;

/// The longest answer that is read, in bytes.
const LONGEST_ANSWER: usize = 64 * 1024;

/// One kept connection to a server.
///
/// The connection is driven by the task that waits for an answer, so a request costs no switch between
/// tasks; between requests nobody listens to it.
pub struct Client {
    server: String,
    host: HeaderValue,
    sender: http1::SendRequest<Full<Bytes>>,
    connection: Pin<Box<http1::Connection<TokioIo<TcpStream>, Full<Bytes>>>>,
    ended: bool,
    patience: Duration,
}

/// What came back.
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Client {
    /// Connects to `host:port`.
    ///
    /// # Errors
    /// [`ClientError::Connection`]; [`ClientError::Unsendable`] for a host that no header can carry.
    pub async fn connect(server: &str) -> Result<Self, ClientError> {
        Self::connect_within(server, DEFAULT_PATIENCE).await
    }

    /// As [`Client::connect`], with a limit on how long the connection and each answer may take.
    ///
    /// # Errors
    /// As [`Client::connect`].
    pub async fn connect_within(server: &str, patience: Duration) -> Result<Self, ClientError> {
        let host = HeaderValue::from_str(server)
            .map_err(|_| ClientError::Unsendable(format!("{server:?} is not an address")))?;
        let stream = connect(server, patience).await?;
        let (sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| lost(server, error))?;
        let connection = Box::pin(connection);
        Ok(Self { server: server.to_owned(), host, sender, connection, ended: false, patience })
    }

    /// Whether another request can be sent, as far as is known without asking the server.
    #[must_use]
    pub fn is_open(&self) -> bool {
        !self.ended && !self.sender.is_closed()
    }

    /// Asks to be provisioned.
    ///
    /// # Errors
    /// [`ClientError::Refused`] with the status of the page, section 3.3; all others.
    pub async fn provision(&mut self, request: &ProvisionRequest) -> Result<Credentials, ClientError> {
        let body = Bytes::from_owner(Zeroizing::new(request.to_json()));
        let answer = self.post(Uri::from_static("/api/v1/provision"), body).await?;
        match answer.status {
            StatusCode::OK => granted(&answer.body),
            _ => Err(answer.into_error()),
        }
    }

    /// Posts telemetry (page, section 9.1: `{"key":value,…}` or one of its other forms) as the device that
    /// the token belongs to.
    ///
    /// # Errors
    /// [`ClientError::Refused`] with status `401` for an unknown token; all others.
    pub async fn telemetry(&mut self, token: &Secret, payload: Bytes) -> Result<(), ClientError> {
        let uri = device_uri(token, "telemetry")?;
        let answer = self.post(uri, payload).await?;
        if answer.status == StatusCode::OK { Ok(()) } else { Err(answer.into_error()) }
    }

    async fn post(&mut self, uri: Uri, body: Bytes) -> Result<Answer, ClientError> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = uri;
        request.headers_mut().insert(HOST, self.host.clone());
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        match timeout(self.patience, exchange(self, request)).await {
            Ok(answer) => answer,
            Err(_) => {
                self.ended = true;
                Err(ClientError::late(format!("waiting for {}", self.server)))
            }
        }
    }
}

/// Sends a request and reads the answer while driving the connection.
async fn exchange(client: &mut Client, request: Request<Full<Bytes>>) -> Result<Answer, ClientError> {
    let Client { server, sender, connection, ended, .. } = client;
    let mut answer = pin!(answer(sender, request));
    let outcome = poll_fn(|context| {
        if let Poll::Ready(outcome) = answer.as_mut().poll(context) {
            return Poll::Ready(outcome);
        }
        drive(connection, ended, context);
        answer.as_mut().poll(context)
    })
    .await;
    outcome.map_err(|error| {
        *ended = true;
        match error {
            Cut::Connection(error) => lost(server, error),
            Cut::TooLong => ClientError::protocol(format!("an answer of more than {LONGEST_ANSWER} bytes")),
        }
    })
}

/// Why an answer is not whole.
enum Cut {
    Connection(hyper::Error),
    TooLong,
}

/// How the connection ended is told to the request that waits for an answer, so it does not matter here.
fn drive(
    connection: &mut Pin<Box<http1::Connection<TokioIo<TcpStream>, Full<Bytes>>>>,
    ended: &mut bool,
    context: &mut Context<'_>,
) {
    if !*ended && connection.as_mut().poll(context).is_ready() {
        *ended = true;
    }
}

async fn answer(
    sender: &mut http1::SendRequest<Full<Bytes>>,
    request: Request<Full<Bytes>>,
) -> Result<Answer, Cut> {
    sender.ready().await.map_err(Cut::Connection)?;
    let (head, body) = sender.send_request(request).await.map_err(Cut::Connection)?.into_parts();
    let body = Limited::new(body, LONGEST_ANSWER).collect().await.map_err(cut)?.to_bytes();
    Ok(Answer { status: head.status, headers: head.headers, body })
}

fn cut(error: Box<dyn std::error::Error + Send + Sync>) -> Cut {
    error.downcast::<hyper::Error>().map_or(Cut::TooLong, |error| Cut::Connection(*error))
}

fn lost(server: &str, error: hyper::Error) -> ClientError {
    if error.is_parse() {
        return ClientError::protocol(error.to_string());
    }
    if error.is_closed() || error.is_canceled() || error.is_incomplete_message() {
        return ClientError::closed(format!("waiting for {server}"));
    }
    ClientError::connection(format!("waiting for {server}"), std::io::Error::other(error))
}

impl Answer {
    /// What a status other than 200 means (page, section 4.2).
    fn into_error(self) -> ClientError {
        let message = self.message();
        match self.status {
            StatusCode::TOO_MANY_REQUESTS => self.temporary(message),
            status if status.is_server_error() => self.temporary(message),
            status if status.is_client_error() => {
                ClientError::Refused { status: status.as_str().to_owned(), message }
            }
            status => ClientError::protocol(format!("status {status} to a POST")),
        }
    }

    fn temporary(&self, message: String) -> ClientError {
        let retry_after = self.headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        ClientError::Temporary { message, retry_after: retry_after.map(Duration::from_secs) }
    }

    fn message(&self) -> String {
        let reason = self.status.canonical_reason().unwrap_or("no reason");
        let said = serde_json::from_slice::<ErrorBody>(&self.body).map(|body| body.message);
        said.unwrap_or_else(|_| format!("{} {reason}", self.status.as_str()))
    }
}

/// The path of a device, which carries its token. A token may hold any character, so each byte that a path
/// cannot hold is escaped (RFC 3986, section 2.1).
fn device_uri(token: &Secret, verb: &str) -> Result<Uri, ClientError> {
    let mut path = Zeroizing::new(String::with_capacity(token.expose().len() * 3 + 32));
    path.push_str("/api/v1/");
    for byte in token.expose().bytes() {
        push_escaped(byte, &mut path);
    }
    path.push('/');
    path.push_str(verb);
    Uri::try_from(path.as_str())
        .map_err(|_| ClientError::Unsendable("the token fits into no path".to_owned()))
}

fn push_escaped(byte: u8, path: &mut String) {
    if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
        path.push(char::from(byte));
        return;
    }
    path.push('%');
    for nibble in [byte >> 4, byte & 0x0f] {
        path.push(char::from_digit(nibble.into(), 16).unwrap_or('0').to_ascii_uppercase());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clients::test_peer::Peer;

    const GRANTED: &str = r#"{"credentialsValue":"tok","credentialsType":"ACCESS_TOKEN","status":"SUCCESS"}"#;

    fn http(status: &str, headers: &str, body: &str) -> Vec<u8> {
        format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
    }

    async fn provision_against(answer: Vec<u8>) -> Result<Credentials, ClientError> {
        let peer = Peer::answering(b"}", vec![answer]).await;
        let mut client = Client::connect(&peer.address).await.unwrap();
        client.provision(&ProvisionRequest::new("key", "secret")).await
    }

    #[tokio::test]
    async fn two_requests_travel_on_one_connection() {
        let peer = Peer::answering(b"}", vec![http("200 OK", "", GRANTED), http("200 OK", "", "")]).await;
        let mut client = Client::connect(&peer.address).await.unwrap();
        let credentials = client.provision(&ProvisionRequest::new("key", "secret")).await.unwrap();
        let Credentials::AccessToken(token) = credentials else { panic!("not a token") };
        assert_eq!(token.expose(), "tok");
        client.telemetry(&Secret::from("a/b ü"), Bytes::from_static(b"{\"t\":1}")).await.unwrap();
        let sent = peer.received().await;
        assert!(sent.starts_with("POST /api/v1/provision HTTP/1.1\r\n"), "{sent}");
        assert!(sent.contains("POST /api/v1/a%2Fb%20%C3%BC/telemetry HTTP/1.1\r\n"), "{sent}");
        assert!(sent.contains(r#"{"provisionDeviceKey":"key","provisionDeviceSecret":"secret"}"#), "{sent}");
    }

    #[tokio::test]
    async fn an_answer_before_a_close_still_counts() {
        let credentials = provision_against(http("200 OK", "Connection: close\r\n", GRANTED)).await;
        assert!(matches!(credentials, Ok(Credentials::AccessToken(_))));
    }

    #[tokio::test]
    async fn a_refusal_carries_the_servers_words() {
        let answer = r#"{"errorMsg":"Device not found","status":"FAILURE"}"#;
        let error = provision_against(http("200 OK", "", answer)).await.unwrap_err();
        assert_eq!(error.to_string(), "the server refused: Device not found (FAILURE)");

        let answer =
            r#"{"status":400,"message":"Request is not a JSON object","errorCode":31,"timestamp":1}"#;
        let error = provision_against(http("400 Bad Request", "", answer)).await.unwrap_err();
        assert_eq!(error.to_string(), "the server refused: Request is not a JSON object (400)");
    }

    #[tokio::test]
    async fn an_overloaded_server_says_when_to_come_back() {
        let error =
            provision_against(http("503 Service Unavailable", "Retry-After: 2\r\n", "")).await.unwrap_err();
        let ClientError::Temporary { retry_after, .. } = error else { panic!("{error}") };
        assert_eq!(retry_after, Some(Duration::from_secs(2)));
    }

    #[tokio::test]
    async fn a_connection_that_ends_in_the_middle_is_no_refusal() {
        for half in ["", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 90\r\n\r\n{\"cred"] {
            let error = provision_against(half.into()).await.unwrap_err();
            assert!(matches!(error, ClientError::Connection { .. }), "{half:?}: {error}");
        }
    }

    #[tokio::test]
    async fn what_is_not_the_protocol_is_told_apart() {
        for answer in [
            b"220 mail.example ESMTP\r\n\r\n".to_vec(),
            http("200 OK", "", "<html>"),
            http("302 Found", "", ""),
        ] {
            let error = provision_against(answer).await.unwrap_err();
            assert!(matches!(error, ClientError::Protocol(_)), "{error}");
        }
        let endless = http("200 OK", "", &"x".repeat(LONGEST_ANSWER + 1));
        assert!(matches!(provision_against(endless).await, Err(ClientError::Protocol(_))));
    }

    #[tokio::test]
    async fn a_silent_server_does_not_hold_the_device_for_ever() {
        let peer = Peer::answering(b"never sent", vec![Vec::new()]).await;
        let mut client = Client::connect_within(&peer.address, Duration::from_millis(50)).await.unwrap();
        let error = client.provision(&ProvisionRequest::new("key", "secret")).await.unwrap_err();
        assert!(matches!(error, ClientError::Connection { .. }), "{error}");
        assert!(!client.is_open());
    }

    #[tokio::test]
    async fn nobody_listening_is_a_failed_connection() {
        let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let error = Client::connect(&free.to_string()).await.err().unwrap();
        assert!(error.to_string().starts_with("cannot connect to 127.0.0.1:"), "{error}");
    }
}
