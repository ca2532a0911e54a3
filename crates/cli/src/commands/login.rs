//! `muster login` and `muster logout`: sessions of people who have an account at the server, or for whom an OpenID
//! provider vouches.
//!
//! For the latter the browser is sent to the provider and comes back to this program, which listens for that moment on this machine
//! alone (RFC 8252). Only the code that it brings and what the challenge was made of (RFC 7636) open a session.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::process::{Command, Stdio};
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::{Method, Url};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use wire::Secret;
use wire::admin::{OpenIdDevice, OpenIdOffered, OpenIdShown, SignedOn};
use wire::thingsboard::rest::login::TOKEN_LIFE_S;

use super::account::PasswordFrom;
use crate::client::Client;
use crate::connection::{Connection, ServerFlags};
use crate::contexts::{Context, Contexts};
use crate::failure::{Failure, Kind};
use crate::render::Output;
use crate::session::{Renewed, Session};

/// Where a server answers to whoever signs on.
const PATH: &[&str] = &["sign-on", "openid"];
/// How long somebody may take at the provider.
const PATIENCE: Duration = Duration::from_secs(600);
/// How long a connection may take to say what it comes with: browsers open some that say nothing.
const REQUEST_PATIENCE: Duration = Duration::from_secs(2);
/// The most bytes of what it says.
const MOST_REQUEST_BYTES: usize = 16 * 1024;
/// What the browser shows in the end.
const DONE: &str = "You are signed on. This window may be closed.";

/// Signing on.
#[derive(Debug, clap::Args)]
pub(crate) struct Login {
    /// What the server is to be called; without this, as the host in its address
    name: Option<String>,
    /// Sign on at the OpenID provider that the server trusts
    #[arg(long, required_unless_present = "user", conflicts_with = "password_file")]
    sso: bool,
    /// Sign on with this account of the server's own, and its password
    #[arg(long, value_name = "NAME", conflicts_with_all = ["sso", "device", "no_browser"])]
    user: Option<String>,
    #[command(flatten)]
    password: PasswordFrom,
    /// Sign on with a browser on another machine, by typing a code there
    #[arg(long)]
    device: bool,
    /// Print the address only, and start no browser
    #[arg(long)]
    no_browser: bool,
}

/// Signing off.
#[derive(Debug, clap::Args)]
pub(crate) struct Logout {
    /// What the server is called; without this, the one in use
    name: Option<String>,
}

impl Login {
    pub(crate) async fn run(self, flags: &ServerFlags, out: &mut Output) -> Result<(), Failure> {
        let url = flags.address()?;
        let client = client_for(&url, Secret::from(""))?;
        let name = self.name.clone().map_or_else(|| host_of(&url), Ok)?;
        let file = Contexts::session_file(&name)?;
        let signed_on = match &self.user {
            Some(user) => by_password(&client, user, &self.password.known()?).await?,
            None if self.device => by_device(&client).await?,
            None => self.by_browser(&client).await?,
        };
        keep(&signed_on, &name, url, &file, out)
    }

    async fn by_browser(&self, client: &Client) -> Result<SignedOn, Failure> {
        let offered: OpenIdOffered = client.get(PATH, &[]).await?;
        let door = Door::open(&offered.redirect_uri).await?;
        let (verifier, state, nonce): (_, _, String) = (random()?, random()?, random()?);
        let address = begin(&offered, &door.redirect_uri, &verifier, &state, &nonce)?;
        told(&format!("Sign on here:\n\n  {address}\n"));
        if !self.no_browser {
            open_browser(&address);
        }
        let waited = timeout(PATIENCE, door.code(&offered, &state)).await;
        let code = waited.map_err(|_| not_in_time())??;
        let redirect_uri = door.redirect_uri.into();
        let shown = OpenIdShown::Code { code, code_verifier: verifier, redirect_uri, nonce };
        client.send_json(Method::POST, PATH, &[], &shown).await
    }
}

impl Logout {
    pub(crate) async fn run(self, flags: &ServerFlags, out: &mut Output) -> Result<(), Failure> {
        let mut contexts = Contexts::read()?;
        let name = self.name.or_else(|| flags.context.clone()).or_else(|| contexts.current.clone());
        let name =
            name.ok_or_else(|| Failure::usage("which server is meant?").hint("muster context list"))?;
        let Context::SignedOn { url, session_file } = contexts.named(&name)?.clone() else {
            return Err(Failure::usage(format!("nobody has signed on at {name}"))
                .hint("its token stays good until it is revoked: muster operator token revoke"));
        };
        if let Ok(session) = Session::read(&session_file) {
            client_for(&url, session.token)?.post_off("/api/auth/logout").await?;
        }
        let _ = fs::remove_file(&session_file);
        contexts.contexts.remove(&name);
        contexts.current.take_if(|current| *current == name);
        contexts.write()?;
        out.note(&format!("You are signed off from {name}."))
    }
}

fn client_for(url: &str, token: Secret) -> Result<Client, Failure> {
    Client::new(Connection { url: url.to_owned(), token, data: None, session: None })
}

fn host_of(url: &str) -> Result<String, Failure> {
    let parsed = Url::parse(url).ok();
    let host =
        parsed.as_ref().and_then(Url::host_str).map(|host| host.trim_matches(['[', ']']).replace(':', "-"));
    host.ok_or_else(|| Failure::usage(format!("{url} is not an address of a server")))
}

fn keep(
    signed_on: &SignedOn,
    name: &str,
    url: String,
    file: &std::path::Path,
    out: &mut Output,
) -> Result<(), Failure> {
    Session::begun(signed_on).write(file)?;
    let mut contexts = Contexts::read()?;
    contexts.contexts.insert(name.to_owned(), Context::SignedOn { url, session_file: file.to_owned() });
    contexts.current = Some(name.to_owned());
    contexts.write()?;
    let who = &signed_on.name;
    out.note(&format!(
        "You are signed on as {who}; the server is called {name}, and is used where none is named."
    ))
}

/// Accounts of the server's own sign on as ThingsBoard's clients do.
async fn by_password(client: &Client, user: &str, password: &Secret) -> Result<SignedOn, Failure> {
    let asked = json!({ "username": user, "password": password.expose() });
    let begun: Renewed = client.post_to("/api/auth/login", &asked).await?;
    let Renewed { token, refresh_token } = begun;
    Ok(SignedOn { name: user.to_owned(), token, expires_in_s: TOKEN_LIFE_S.unsigned_abs(), refresh_token })
}

/// Whoever sits at another machine types a code there, and we ask until that is done.
async fn by_device(client: &Client) -> Result<SignedOn, Failure> {
    let begun: OpenIdDevice = client.act(&[PATH[0], PATH[1], "device"], &[]).await?;
    told(&format!("Open {} and type {}\n", begun.verification_uri, begun.user_code));
    if let Some(whole) = &begun.verification_uri_complete {
        told(&format!("or open this, with the code in it:\n\n  {whole}\n"));
    }
    let asking = async {
        loop {
            let shown = OpenIdShown::Device { device_code: begun.device_code.clone() };
            match client.send_json(Method::POST, PATH, &[], &shown).await {
                Err(failure) if failure.code() == Some("openid-pending") => {
                    tokio::time::sleep(Duration::from_secs(begun.interval_s.clamp(1, 60))).await;
                }
                ended => return ended,
            }
        }
    };
    timeout(Duration::from_secs(begun.expires_in_s), asking).await.map_err(|_| not_in_time())?
}

fn not_in_time() -> Failure {
    Failure::new(Kind::Unauthorized, "nobody has signed on in time").hint("begin anew: muster login --sso")
}

/// What the browser begins with.
fn begin(
    offered: &OpenIdOffered,
    redirect_uri: &Url,
    verifier: &Secret,
    state: &Secret,
    nonce: &str,
) -> Result<Url, Failure> {
    let unusable = || Failure::new(Kind::Refused, "the provider's address is none that a browser can open");
    let mut address = Url::parse(&offered.authorization_endpoint).map_err(|_| unusable())?;
    if !matches!(address.scheme(), "http" | "https") {
        return Err(unusable());
    }
    let challenge = URL_SAFE_NO_PAD.encode(digest(&SHA256, verifier.expose().as_bytes()));
    address
        .query_pairs_mut()
        .append_pair("response_type", "code")
        .append_pair("client_id", &offered.client_id)
        .append_pair("redirect_uri", redirect_uri.as_str())
        .append_pair("scope", &offered.scopes.join(" "))
        .append_pair("state", state.expose())
        .append_pair("nonce", nonce)
        .append_pair("code_challenge", &challenge)
        .append_pair("code_challenge_method", "S256");
    Ok(address)
}

/// 32 bytes that nobody can guess.
fn random<T: From<String>>() -> Result<T, Failure> {
    let mut bytes = [0_u8; 32];
    let filled = aws_lc_rs::rand::fill(&mut bytes);
    filled.map_err(|_| Failure::usage("the operating system has no random numbers"))?;
    Ok(URL_SAFE_NO_PAD.encode(bytes).into())
}

/// For the person, and not part of what the command prints.
fn told(text: &str) {
    use std::io::Write as _;
    // Whoever closed standard error does not want to be told.
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Starts a browser where there is one; the address was printed in any case.
fn open_browser(address: &Url) {
    let program = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };
    let mut browser = Command::new(program);
    browser.arg(address.as_str()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let _ = browser.spawn();
}

/// Where the browser comes back to.
struct Door {
    listener: TcpListener,
    redirect_uri: Url,
}

impl Door {
    /// Listens at the address, on this machine alone; at any port where it names none.
    async fn open(address: &str) -> Result<Door, Failure> {
        let unusable =
            |why: String| Failure::usage(format!("cannot wait for the browser at {address}: {why}"));
        let mut redirect_uri = Url::parse(address).map_err(|error| unusable(error.to_string()))?;
        let host = match redirect_uri.host_str() {
            Some("127.0.0.1" | "localhost") => IpAddr::V4(Ipv4Addr::LOCALHOST),
            Some("[::1]") => IpAddr::V6(Ipv6Addr::LOCALHOST),
            _ => return Err(unusable("it is not on this machine".to_owned())),
        };
        let listener = TcpListener::bind((host, redirect_uri.port().unwrap_or(0)));
        let listener = listener.await.map_err(|error| unusable(error.to_string()))?;
        let port = listener.local_addr().map_err(|error| unusable(error.to_string()))?.port();
        // An address of this machine has a port.
        let _ = redirect_uri.set_port(Some(port));
        Ok(Door { listener, redirect_uri })
    }

    /// Waits for the browser that was sent away with `state`. Whatever else comes is sent away.
    async fn code(&self, offered: &OpenIdOffered, state: &Secret) -> Result<Secret, Failure> {
        loop {
            let Ok((mut stream, _)) = self.listener.accept().await else { continue };
            let Ok(Some(target)) = timeout(REQUEST_PATIENCE, target(&mut stream)).await else { continue };
            let Some(come) =
                self.redirect_uri.join(&target).ok().and_then(|url| self.come(&url, offered, state))
            else {
                answer(&mut stream, "400 Bad Request", "Nobody waits for this.").await;
                continue;
            };
            let text = if come.is_ok() { DONE } else { "Nobody was signed on." };
            answer(&mut stream, "200 OK", text).await;
            return come;
        }
    }

    /// What the browser brings; `None` where it is not the one that was sent away.
    fn come(&self, url: &Url, offered: &OpenIdOffered, state: &Secret) -> Option<Result<Secret, Failure>> {
        let value = |wanted: &str| url.query_pairs().find(|(name, _)| name == wanted).map(|(_, value)| value);
        if url.path() != self.redirect_uri.path() || value("state")? != state.expose() {
            return None;
        }
        // RFC 9207: who answers has to be the one who was asked.
        if value("iss").is_some_and(|issuer| issuer != offered.issuer) {
            return None;
        }
        if let Some(code) = value("code") {
            return Some(Ok(Secret::from(code.into_owned())));
        }
        let why = [value("error")?.into_owned(), value("error_description").unwrap_or_default().into_owned()];
        let told = format!("the provider did not sign you on: {}", why.join(" ").trim_end());
        Some(Err(Failure::new(Kind::Unauthorized, told)))
    }
}

/// The target of the first line of a request.
async fn target(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        let mut piece = [0; 1024];
        let read = stream.read(&mut piece).await.ok().filter(|read| *read > 0)?;
        head.extend_from_slice(&piece[..read]);
        if head.len() > MOST_REQUEST_BYTES {
            return None;
        }
    }
    let line = String::from_utf8(head).ok()?;
    let target = line.strip_prefix("GET ")?.split(' ').next()?;
    target.starts_with('/').then(|| target.to_owned())
}

async fn answer(stream: &mut TcpStream, status: &str, text: &str) {
    let answer = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{text}",
        text.len()
    );
    // A browser that has gone has brought what it had.
    let _ = stream.write_all(answer.as_bytes()).await;
    let _ = stream.shutdown().await;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offered() -> OpenIdOffered {
        OpenIdOffered {
            issuer: "https://id.example".into(),
            client_id: "muster".into(),
            authorization_endpoint: "https://id.example/auth?theme=dark".into(),
            redirect_uri: "http://127.0.0.1/callback".into(),
            scopes: vec!["openid".into(), "email".into()],
            device: false,
        }
    }

    #[test]
    fn the_browser_is_sent_away_with_a_challenge() {
        let verifier = Secret::from("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
        let back = Url::parse("http://127.0.0.1:5000/callback").unwrap();
        let address = begin(&offered(), &back, &verifier, &Secret::from("s"), "n").unwrap();
        // The challenge of RFC 7636, appendix B.
        let expected = "https://id.example/auth?theme=dark&response_type=code&client_id=muster\
            &redirect_uri=http%3A%2F%2F127.0.0.1%3A5000%2Fcallback&scope=openid+email&state=s&nonce=n\
            &code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM&code_challenge_method=S256";
        assert_eq!(address.as_str(), expected);
        let script = OpenIdOffered { authorization_endpoint: "file:///etc/passwd".into(), ..offered() };
        assert!(begin(&script, &back, &verifier, &Secret::from("s"), "n").is_err());
    }

    #[tokio::test]
    async fn only_the_browser_that_was_sent_away_is_let_back_in() {
        let door = Door::open("http://127.0.0.1/callback").await.unwrap();
        let state = Secret::from("right");
        let comes = |target: &str| {
            let url = door.redirect_uri.join(target).unwrap();
            door.come(&url, &offered(), &state).map(|come| come.map(|code| code.expose().to_owned()))
        };
        let code = comes("/callback?code=c&state=right&iss=https%3A%2F%2Fid.example").unwrap();
        assert_eq!(code.unwrap(), "c");
        for target in [
            "/callback?code=c",
            "/callback?code=c&state=wrong",
            "/other?code=c&state=right",
            "/callback?state=right",
            "/callback?code=c&state=right&iss=https%3A%2F%2Fevil.example",
        ] {
            assert!(comes(target).is_none(), "{target}");
        }
        let refused = comes("/callback?error=access_denied&state=right").unwrap();
        assert_eq!(refused.unwrap_err().kind(), Kind::Unauthorized);
        assert!(Door::open("http://192.0.2.1/callback").await.is_err());
    }
}
