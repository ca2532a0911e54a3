//! The operator API as functions: one place knows its addresses, headers and ways to say no.

use std::error::Error as _;
use std::time::Duration;

use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderValue};
use reqwest::{Body, Method, RequestBuilder, Response, StatusCode, Url};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use wire::Secret;
use wire::admin::{BASE_PATH, Page, Problem};

use crate::connection::Connection;
use crate::failure::{Failure, Kind};

/// How long a call may stay silent. An import is answered in pieces, so it has no limit as a whole.
const SILENCE: Duration = Duration::from_secs(60);

/// Named values in an address.
pub(crate) type Query<'a> = [(&'a str, Option<&'a str>)];

/// A server's operator API.
pub(crate) struct Client {
    http: reqwest::Client,
    base: Url,
    token: Secret,
    origin: Connection,
}

impl Client {
    /// Prepares to speak to a server; nothing is sent yet.
    ///
    /// # Errors
    /// When the address is none.
    pub(crate) fn new(connection: Connection) -> Result<Self, Failure> {
        let base = base_url(&connection.url)?;
        let http = reqwest::Client::builder()
            .user_agent(concat!("muster/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(Duration::from_secs(10))
            .read_timeout(SILENCE)
            .redirect(reqwest::redirect::Policy::none())
            // A token must not pass through whatever the environment names as a proxy on the way to this machine.
            .no_proxy()
            .build()
            .map_err(|error| Failure::usage(format!("cannot prepare a connection: {}", causes(&error))))?;
        let token = connection.token.clone();
        Ok(Self { http, base, token, origin: connection })
    }

    /// Reads one thing.
    pub(crate) async fn get<T: DeserializeOwned>(
        &self,
        path: &[&str],
        query: &Query<'_>,
    ) -> Result<T, Failure> {
        parsed(self.send(self.request(Method::GET, path, query)?).await?).await
    }

    /// Reads a listing page by page and hands each page on as it arrives, until there are `limit` rows.
    pub(crate) async fn pages<T: DeserializeOwned>(
        &self,
        path: &[&str],
        query: &Query<'_>,
        limit: Option<u64>,
        mut each: impl FnMut(Vec<T>) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let mut left = limit.unwrap_or(u64::MAX);
        let mut cursor: Option<String> = None;
        loop {
            let query: Vec<_> = query.iter().copied().chain([("cursor", cursor.as_deref())]).collect();
            let mut page: Page<T> = self.get(path, &query).await?;
            page.items.truncate(usize::try_from(left).unwrap_or(usize::MAX));
            left -= page.items.len() as u64;
            each(page.items)?;
            match page.next {
                Some(next) if left > 0 => cursor = Some(next),
                _ => return Ok(()),
            }
        }
    }

    /// A stream of events; the answer is read by the caller.
    pub(crate) async fn events(&self, path: &[&str], query: &Query<'_>) -> Result<Response, Failure> {
        let request = self.request(Method::GET, path, query)?;
        self.send(request.header(ACCEPT, HeaderValue::from_static("text/event-stream"))).await
    }

    /// Sends something and reads the answer.
    pub(crate) async fn send_json<B: Serialize, T: DeserializeOwned>(
        &self,
        method: Method,
        path: &[&str],
        query: &Query<'_>,
        body: &B,
    ) -> Result<T, Failure> {
        parsed(self.send(self.request(method, path, query)?.json(body)).await?).await
    }

    /// Does something to a thing that needs no words, and reads how it is now.
    pub(crate) async fn act<T: DeserializeOwned>(
        &self,
        path: &[&str],
        query: &Query<'_>,
    ) -> Result<T, Failure> {
        parsed(self.send(self.request(Method::POST, path, query)?).await?).await
    }

    /// Sends a JSON body; the answer does not matter.
    pub(crate) async fn submit<B: Serialize>(
        &self,
        method: Method,
        path: &[&str],
        query: &Query<'_>,
        body: &B,
    ) -> Result<(), Failure> {
        self.send(self.request(method, path, query)?.json(body)).await.map(drop)
    }

    /// Calls something that takes no body and whose answer does not matter.
    pub(crate) async fn call(&self, method: Method, path: &[&str], query: &Query<'_>) -> Result<(), Failure> {
        self.send(self.request(method, path, query)?).await.map(drop)
    }

    /// Posts to a path outside the operator API and reads the answer.
    pub(crate) async fn post_to<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, Failure> {
        let mut url = self.base.clone();
        url.set_path(path);
        parsed(self.send(self.http.post(url).json(body)).await?).await
    }

    /// Ends the session: one that is over already is as good.
    pub(crate) async fn post_off(&self, path: &str) -> Result<(), Failure> {
        let mut url = self.base.clone();
        url.set_path(path);
        match self.send(self.http.post(url).bearer_auth(self.token.expose())).await {
            Err(failure) if failure.kind() != Kind::Unauthorized => Err(failure),
            _ => Ok(()),
        }
    }

    /// Sends a body as it is; the answer is read by the caller.
    pub(crate) async fn stream(
        &self,
        path: &[&str],
        query: &Query<'_>,
        content_type: &'static str,
        body: Body,
    ) -> Result<Response, Failure> {
        let request = self.request(Method::POST, path, query)?;
        self.send(request.header(CONTENT_TYPE, HeaderValue::from_static(content_type)).body(body)).await
    }

    /// What a broken connection means to the person at the terminal.
    pub(crate) fn lost(&self, error: &reqwest::Error) -> Failure {
        let failure =
            Failure::new(Kind::Unreachable, format!("cannot reach {}: {}", self.base, causes(error)));
        failure.hint(match &self.origin.data {
            Some(folder) if error.is_connect() => format!(
                "the folder {0} says that a server listens there; if it has crashed, start it again: musterd quickstart --data {0}",
                folder.display()
            ),
            _ if error.is_timeout() => "the server did not answer in time; it may be overloaded".to_owned(),
            _ if self.base.scheme() == "https" => {
                "a certificate of a private authority is trusted with SSL_CERT_FILE=ca.pem in the environment".to_owned()
            }
            _ => "check the address, and that the server is running".to_owned(),
        })
    }

    fn request(&self, method: Method, path: &[&str], query: &Query<'_>) -> Result<RequestBuilder, Failure> {
        let mut url = address(&self.base, path)?;
        for (name, value) in query.iter().filter_map(|(name, value)| value.map(|value| (name, value))) {
            url.query_pairs_mut().append_pair(name, value);
        }
        Ok(self.http.request(method, url).bearer_auth(self.token.expose()))
    }

    async fn send(&self, request: RequestBuilder) -> Result<Response, Failure> {
        let response = request.send().await.map_err(|error| self.lost(&error))?;
        if response.status().is_success() {
            return Ok(response);
        }
        Err(self.refused(response).await)
    }

    async fn refused(&self, response: Response) -> Failure {
        let status = response.status();
        let may_pass = status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS;
        self.told(status, response).await.passing(may_pass)
    }

    async fn told(&self, status: StatusCode, response: Response) -> Failure {
        let body = response.bytes().await.unwrap_or_default();
        let problem = serde_json::from_slice::<Problem>(&body).ok();
        let kind = match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Kind::Unauthorized,
            _ => Kind::Refused,
        };
        if let Ok(Told { message }) = serde_json::from_slice(&body) {
            return Failure::new(kind, message);
        }
        let Some(problem) = problem else {
            return Failure::new(kind, format!("the server answered {status} without saying why"))
                .hint(format!("is {} a Muster server of this version?", self.base));
        };
        // Where the token came from is known here, and not to the server.
        let ours = problem.code.starts_with("token-").then(|| self.token_hint(status)).flatten();
        let hint = ours.or(problem.hint).or_else(|| self.token_hint(status));
        let failure = Failure::new(kind, problem.detail.unwrap_or(problem.title)).called(problem.code);
        match hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }

    fn token_hint(&self, status: StatusCode) -> Option<String> {
        match status {
            StatusCode::UNAUTHORIZED if self.origin.data.is_some() => {
                Some("the folder may belong to another server than the one that listens there now".to_owned())
            }
            StatusCode::UNAUTHORIZED if self.origin.session.is_some() => {
                Some("the session is over: sign on anew with `muster login`".to_owned())
            }
            StatusCode::UNAUTHORIZED => Some(
                "the token is wrong, has expired or was revoked; `muster operator token create` makes a new one"
                    .to_owned(),
            ),
            StatusCode::FORBIDDEN => Some("this call needs a token with the right to the whole server".to_owned()),
            _ => None,
        }
    }
}

/// A refusal of ThingsBoard's interface, where people sign on.
#[derive(Deserialize)]
struct Told {
    message: String,
}

fn base_url(text: &str) -> Result<Url, Failure> {
    let unusable = |why: String| {
        Failure::usage(format!("{text} is not an address of a server: {why}"))
            .hint("an address looks like http://127.0.0.1:8080 or https://muster.example")
    };
    let url = Url::parse(text).map_err(|error| unusable(error.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(unusable(format!("its scheme is {}", url.scheme())));
    }
    Ok(url)
}

/// The address of a thing. A segment may hold any character, but `.` and `..` have a meaning of their own in
/// every address (URL standard, section 4.4), escaped or not.
fn address(base: &Url, path: &[&str]) -> Result<Url, Failure> {
    if let Some(dots) = path.iter().find(|segment| matches!(**segment, "" | "." | "..")) {
        return Err(Failure::usage(format!("`{dots}` cannot stand in an address"))
            .hint("name the device by its id; `muster device list -o json` shows it"));
    }
    let mut url = base.clone();
    let escaped: Vec<String> = path.iter().map(|segment| escaped(segment)).collect();
    url.set_path(&format!("{BASE_PATH}/{}", escaped.join("/")));
    Ok(url)
}

/// A segment of an address, whatever stands in it (RFC 3986, section 2.1). Left to itself, the URL standard drops line
/// feeds, carriage returns and tabs, and the address becomes that of another device.
fn escaped(segment: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:".contains(&byte);
    segment.bytes().fold(String::new(), |escaped, byte| match byte {
        byte if plain(byte) => escaped + &char::from(byte).to_string(),
        byte => escaped + &format!("%{byte:02X}"),
    })
}

async fn parsed<T: DeserializeOwned>(response: Response) -> Result<T, Failure> {
    let bytes = response.bytes().await.map_err(|error| {
        Failure::new(Kind::Unreachable, format!("the answer was cut short: {}", causes(&error)))
    })?;
    serde_json::from_slice(&bytes).map_err(|error| {
        Failure::new(Kind::Refused, format!("the server's answer cannot be read: {error}"))
            .hint("muster and musterd may be of different versions")
    })
}

/// The deepest cause that an error names; the layers above it only say that something went wrong.
fn causes(error: &reqwest::Error) -> String {
    let mut deepest: &dyn std::error::Error = error;
    let mut next = error.source();
    while let Some(cause) = next {
        deepest = cause;
        next = cause.source();
    }
    deepest.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_a_slash_stays_one_segment() {
        let base = base_url("http://127.0.0.1:8080").unwrap();
        let url = address(&base, &["devices", "a/b?c d%", "disable"]).unwrap();
        assert_eq!(url.as_str(), "http://127.0.0.1:8080/api/muster/v1/devices/a%2Fb%3Fc%20d%25/disable");
        let url = address(&base, &["devices", "x\n\r\ty", "ä:b"]).unwrap();
        assert_eq!(url.as_str(), "http://127.0.0.1:8080/api/muster/v1/devices/x%0A%0D%09y/%C3%A4:b");
    }

    #[test]
    fn a_name_of_dots_never_becomes_another_address() {
        let base = base_url("http://127.0.0.1:8080").unwrap();
        for name in ["", ".", ".."] {
            assert_eq!(address(&base, &["devices", name]).unwrap_err().kind(), Kind::Usage);
        }
    }

    #[test]
    fn only_http_addresses_are_taken() {
        for text in ["", "nonsense", "ftp://x", "unix:/run/x"] {
            assert_eq!(base_url(text).unwrap_err().kind(), Kind::Usage, "{text}");
        }
        assert!(base_url("https://muster.example/").is_ok());
    }
}
