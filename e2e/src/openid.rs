//! A real OpenID provider: `oidc-provider` for Node.js, with people who sign on as soon as they come.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;
use testkit::http::{HttpConnection, Reply};
use testkit::netns::NetworkNamespace;
use testkit::process::Process;
use testkit::wait::free_ports;

use crate::PATIENCE;
use crate::muster::ended;
use crate::python::installed;

/// A code verifier and its challenge (RFC 7636, appendix B).
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
/// Where the provider sends people back to; nobody listens there.
const CALLBACK: &str = "http://127.0.0.1:1/callback";

/// Its port in a network namespace of its own.
const USUAL_PORT: u16 = 9400;

/// A provider, killed on drop.
#[derive(Debug)]
pub struct Provider {
    process: Process,
    port: u16,
    packages: PathBuf,
    home: TempDir,
}

/// What somebody who signed on is given.
#[derive(Debug)]
pub struct Tokens {
    /// Says who somebody is.
    pub id: String,
    /// Lets its bearer in; a JWT.
    pub access: String,
}

impl Provider {
    /// Starts one that serves.
    ///
    /// # Errors
    /// If it cannot be installed or started.
    pub fn start() -> Result<Self> {
        let [port] = free_ports()?;
        Self::launched(Command::new("node"), port, &[])
    }

    /// Starts one inside a network namespace; each of `people` is `PERSON=GROUP,GROUP`.
    ///
    /// # Errors
    /// As [`Provider::start`].
    pub fn start_within(namespace: &NetworkNamespace, people: &[&str]) -> Result<Self> {
        Self::launched(namespace.command("node"), USUAL_PORT, people)
    }

    fn launched(mut node: Command, port: u16, people: &[&str]) -> Result<Self> {
        let packages = installed("node-oidc-provider")?;
        let process = launch(node.args(arguments(&packages, port)).args(people))?;
        Ok(Self { process, port, packages, home: tempfile::tempdir()? })
    }

    /// Ends it.
    ///
    /// # Errors
    /// If it cannot be ended.
    pub fn stop(&mut self) -> Result<()> {
        self.process.kill().map(drop)
    }

    /// Starts it again, at the same address, with other keys.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn start_again(&mut self) -> Result<()> {
        self.process = launch(Command::new("node").args(arguments(&self.packages, self.port)))?;
        Ok(())
    }

    /// What it calls itself.
    #[must_use]
    pub fn issuer(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The server's configuration for it: `roles` as a list in TOML.
    ///
    /// # Errors
    /// If the client's secret cannot be written.
    pub fn config(&self, roles: &str) -> Result<String> {
        let secret = self.home.path().join("secret");
        std::fs::write(&secret, "the secret of muster\n")?;
        let (issuer, secret) = (self.issuer(), secret.display());
        Ok(format!(
            "[sign_on.openid]\nissuer = \"{issuer}\"\nclient_id = \"muster\"\nclient_secret_file = \"{secret}\"\n\
             roles = {roles}\nallow_http = true\nallow_networks = [\"127.0.0.0/8\"]\n"
        ))
    }

    /// Puts somebody into groups, and out of all others.
    ///
    /// # Errors
    /// If it does not answer.
    pub fn put(&self, who: &str, groups: &str) -> Result<()> {
        self.order(&format!("groups?sub={who}&groups={groups}"))
    }

    /// Tokens are good for so long from now on; less than nothing makes expired ones.
    ///
    /// # Errors
    /// If it does not answer.
    pub fn set_life(&self, seconds: i64) -> Result<()> {
        self.order(&format!("life?seconds={seconds}"))
    }

    /// Takes new keys and forgets the old ones.
    ///
    /// # Errors
    /// If it does not answer.
    pub fn rotate_keys(&self) -> Result<()> {
        self.order("rotate")
    }

    /// Whoever comes without a name is this one from now on.
    ///
    /// # Errors
    /// If it does not answer.
    pub fn expect(&self, who: &str) -> Result<()> {
        self.order(&format!("who?sub={who}"))
    }

    fn order(&self, what: &str) -> Result<()> {
        let reply = self.get(&format!("/test/{what}"))?;
        ensure!(reply.status == 200, "{what}: {}", reply.status_line);
        Ok(())
    }

    fn get(&self, path: &str) -> Result<Reply> {
        HttpConnection::open(("127.0.0.1", self.port))?.get(path)
    }

    /// Somebody signs on for a client: at the browser first, then with the code.
    ///
    /// # Errors
    /// If that gives no tokens.
    pub fn sign_on(&self, client: &str, who: &str) -> Result<Tokens> {
        let issuer = self.issuer();
        let begin = format!(
            "{issuer}/auth?client_id={client}&response_type=code&scope=openid%20email&redirect_uri={CALLBACK}\
             &code_challenge={CHALLENGE}&code_challenge_method=S256&login_hint={who}&resource=urn:muster"
        );
        let arrived = self.browse(&begin)?;
        let (_, code) = arrived.split_once("code=").with_context(|| format!("no code: {arrived}"))?;
        let code = code.split('&').next().unwrap_or_default();
        let secret = format!("{client}:the%20secret%20of%20{client}");
        let body = format!(
            "grant_type=authorization_code&code={code}&redirect_uri={CALLBACK}&code_verifier={VERIFIER}\
             &resource=urn:muster"
        );
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--user", &secret, "--data", &body]).arg(format!("{issuer}/token"));
        let answer = ended(&mut curl)?.out;
        let answer: Value = serde_json::from_str(&answer).with_context(|| answer.clone())?;
        let token = |name: &str| answer[name].as_str().map(str::to_owned).with_context(|| answer.to_string());
        Ok(Tokens { id: token("id_token")?, access: token("access_token")? })
    }

    /// Follows an address as a browser does; where it ends, whether somebody listens there or not.
    ///
    /// # Errors
    /// If no browser can be started.
    pub fn browse(&self, address: &str) -> Result<String> {
        let jar = tempfile::NamedTempFile::new_in(self.home.path())?;
        let arguments = ["--output", "/dev/null", "--write-out", "%{url_effective}", address];
        Ok(ended(browser(jar.path()).args(arguments))?.out)
    }

    /// Opens the address for signing on at another machine, with the code in it, and agrees; the last page.
    ///
    /// # Errors
    /// If the page asks for nothing.
    pub fn agree(&self, address: &str) -> Result<String> {
        let jar = tempfile::NamedTempFile::new_in(self.home.path())?;
        let page = ended(browser(jar.path()).arg(address))?.out;
        let value = |name: &str| {
            let (_, rest) = page.split_once(&format!("name=\"{name}\" value=\""))?;
            rest.split('"').next()
        };
        let xsrf = value("xsrf").with_context(|| format!("no form: {page}"))?;
        let code = value("user_code").with_context(|| format!("no code: {page}"))?;
        let form = format!("xsrf={xsrf}&user_code={code}&confirm=yes");
        let target = format!("{}/device", self.issuer());
        Ok(ended(browser(jar.path()).args(["--data", &form, &target]))?.out)
    }
}

/// A browser that keeps cookies in a file and goes where it is sent.
fn browser(jar: &Path) -> Command {
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--location"]).arg("--cookie-jar").arg(jar).arg("--cookie").arg(jar);
    curl
}

fn arguments(packages: &Path, port: u16) -> [PathBuf; 3] {
    [crate::own("programs/openid_provider.mjs"), packages.to_owned(), port.to_string().into()]
}

fn launch(node: &mut Command) -> Result<Process> {
    let process = Process::start(node)?;
    process.wait_for_line(PATIENCE, |line| line == "listening")?;
    Ok(process)
}
