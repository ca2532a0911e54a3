//! People sign on at a real OpenID provider, and are here what their groups make them.

use std::fs;

use anyhow::{Context, Result, ensure};
use e2e::PATIENCE;
use e2e::muster::{Ended, ended};
use e2e::musterd::{Musterd, Setup};
use e2e::openid::Provider;
use e2e::operator::Operator;
use serde_json::{Value, json};
use testkit::process::{Process, binary};
use testkit::wait::eventually;

/// Groups of the provider's, and what they may do here.
const ROLES: &str = r#"["admins -> admin", "lookers -> viewer", "plant-7 -> operator in plant 7"]"#;

#[test]
fn groups_at_the_provider_are_roles_here() -> Result<()> {
    let stand = Stand::open()?;
    stand.server.muster()?.ok(&["tenant", "create", "plant 7"])?;
    for (who, groups) in [("ann", "staff,admins"), ("vic", "lookers"), ("pia", "plant-7"), ("noa", "staff")] {
        stand.provider.put(who, groups)?;
    }
    let mut ann = stand.signed_on("ann")?;
    let who = ann.get("/whoami")?;
    let account = "account:ann@example.org";
    ensure!(who == json!({ "actor": account, "right": "server", "role": "admin" }), "{who}");
    ann.post("/tenants", &json!({ "name": "acme" }))?;

    let mut vic = stand.signed_on("vic")?;
    ensure!(vic.get("/tenants")?["items"].as_array().is_some_and(|all| all.len() == 3));
    refused(&mut vic, "POST", "/tenants", (403, "role-insufficient"))?;

    let mut pia = stand.signed_on("pia")?;
    let own = pia.get("/tenants")?;
    ensure!(own["items"].as_array().is_some_and(|all| all.len() == 1), "{own}");
    ensure!(own["items"][0]["name"] == "plant 7", "{own}");
    refused(&mut pia, "GET", "/devices?tenant=acme", (404, "tenant-not-found"))?;
    refused(&mut pia, "GET", "/operators", (403, "role-insufficient"))?;

    refused(&mut stand.signed_on("noa")?, "GET", "/whoami", (403, "openid-no-role"))?;
    // An access token that is a JWT for us does as well.
    let access = stand.provider.sign_on("muster", "vic")?.access;
    ensure!(stand.bearer(&access)?.get("/whoami")?["role"] == "viewer");
    // Both are in the journal, with who vouches for whom.
    let events = stand.server.operator()?.get("/events?after=start")?.to_string();
    let (issuer, from) = (stand.provider.issuer(), "\"source\":\"127.0.0.1\"");
    for told in ["operator-signed-on", "operator-sign-on-failed", "openid-no-role", &issuer, from] {
        ensure!(events.contains(told), "{told} is not in {events}");
    }
    Ok(())
}

#[test]
fn a_provider_may_sign_by_elliptic_curves() -> Result<()> {
    let provider = Provider::start()?;
    provider.put("vic", "lookers")?;
    for (client, algorithm) in [("es", "ES256"), ("ed", "EdDSA")] {
        let config = provider.config(ROLES)?.replace("\"muster\"", &format!("\"{client}\""));
        let server = Musterd::serve(&config)?;
        let token = provider.sign_on(client, "vic")?.id;
        let who = Operator::open(server.address().http(), &token)?.get("/whoami")?;
        ensure!(who["role"] == "viewer", "{algorithm}: {who}");
    }
    Ok(())
}

#[test]
fn tokens_that_are_over_or_meant_for_others_let_nobody_in() -> Result<()> {
    let stand = Stand::open()?;
    let stranger = Provider::start()?;
    for provider in [&stand.provider, &stranger] {
        provider.put("ann", "admins")?;
    }
    let foreign = stranger.sign_on("muster", "ann")?;
    refused(&mut stand.bearer(&foreign.id)?, "GET", "/whoami", (401, "openid-key-unknown"))?;
    refused(&mut stand.bearer(&foreign.access)?, "GET", "/whoami", (401, "openid-key-unknown"))?;
    let others = stand.provider.sign_on("other", "ann")?.id;
    refused(&mut stand.bearer(&others)?, "GET", "/whoami", (401, "openid-audience"))?;
    stand.provider.set_life(-3600)?;
    refused(&mut stand.signed_on("ann")?, "GET", "/whoami", (401, "openid-expired"))?;
    stand.provider.set_life(600)?;
    stand.signed_on("ann")?.get("/whoami")?;
    // The journal knows who was refused, and no token.
    let mut admin = stand.server.operator()?;
    let events = admin.get("/events?after=start")?.to_string();
    let claimed = format!("\"claimed_issuer\":\"{}\"", stranger.issuer());
    ensure!(events.contains(&claimed) && events.contains("\"claimed_subject\":\"ann\""), "{events}");
    let files = stand.server.process().transcript() + &events;
    for token in [&foreign.id, &foreign.access, &others] {
        let signature = token.rsplit('.').next().unwrap_or_default();
        ensure!(!files.contains(signature), "a token is in the log or the journal");
    }
    Ok(())
}

#[test]
fn the_most_talkative_log_holds_no_token_code_or_secret() -> Result<()> {
    let provider = Provider::start()?;
    let server = Setup::serve(&provider.config(ROLES)?)?.setting("LOG__FILTER", "trace").start()?;
    let stand = Stand { provider, server };
    stand.provider.put("ann", "admins")?;
    let mut login = stand.login(&["work"])?;
    let arrived =
        stand.provider.browse(&format!("{}&login_hint=ann", printed(&login, &stand.provider.issuer())?))?;
    ensure!(login.wait(PATIENCE)?.success(), "{}", login.transcript());
    ensure!(stand.at_home(&["tenant", "list"])?.code == 0);
    let token = stand.provider.sign_on("muster", "ann")?.id;
    stand.bearer(&token)?.get("/whoami")?;
    let kept: Value =
        serde_json::from_slice(&fs::read(stand.server.setup().home().join("muster/sessions/work.json"))?)?;
    let code = arrived.split("code=").nth(1).and_then(|rest| rest.split('&').next()).context("no code")?;
    // The client's name and secret as they are sent.
    let basic = "bXVzdGVyOnRoZSUyMHNlY3JldCUyMG9mJTIwbXVzdGVy";
    let secrets = [
        code,
        basic,
        "the secret of muster",
        "the%20secret%20of%20muster",
        token.rsplit('.').next().context("no signature")?,
        kept["token"].as_str().context("no token")?,
        kept["refresh_token"].as_str().context("no token")?,
    ];
    let log = stand.server.process().transcript();
    ensure!(log.contains("TRACE"), "the log is not talkative");
    for secret in secrets {
        ensure!(!log.contains(secret), "{secret} is in the log");
    }
    Ok(())
}

#[test]
fn new_keys_of_the_provider_are_learnt_without_a_restart() -> Result<()> {
    let stand = Stand::open()?;
    stand.provider.put("vic", "lookers")?;
    let before = stand.provider.sign_on("muster", "vic")?.id;
    stand.bearer(&before)?.get("/whoami")?;
    stand.provider.rotate_keys()?;
    stand.signed_on("vic")?.get("/whoami")?;
    refused(&mut stand.bearer(&before)?, "GET", "/whoami", (401, "openid-key-unknown"))
}

#[test]
fn a_provider_that_is_down_shuts_out_nobody_whom_it_has_let_in() -> Result<()> {
    let mut stand = Stand::open()?;
    stand.provider.put("vic", "lookers")?;
    let token = stand.provider.sign_on("muster", "vic")?.id;
    let mut vic = stand.bearer(&token)?;
    vic.get("/whoami")?;
    stand.provider.stop()?;
    vic.get("/whoami")?;
    stand.server.operator()?.get("/whoami")?;
    // A server that starts now serves, and says what is wrong.
    let setup = stand.server.setup().clone();
    stand.server.stop()?;
    let server = setup.start()?;
    server.operator()?.get("/whoami")?;
    let mut vic = Operator::open(server.address().http(), &token)?;
    let reply = vic.call("GET", "/whoami", None)?;
    let problem: Value = serde_json::from_slice(&reply.body)?;
    ensure!((reply.status, &problem["code"]) == (503, &json!("openid-unreachable")), "{problem}");
    let told = format!("{}: cannot be reached", stand.provider.issuer());
    ensure!(problem["detail"].as_str().is_some_and(|detail| detail.contains(&told)), "{problem}");
    // Once it is back nothing has to be done.
    stand.provider.start_again()?;
    stand.provider.put("vic", "lookers")?;
    let token = stand.provider.sign_on("muster", "vic")?.id;
    let mut vic = Operator::open(server.address().http(), &token)?;
    eventually("the provider to be asked anew", PATIENCE, || vic.get("/whoami").ok().map(drop))
}

#[test]
fn whoever_is_shut_out_here_or_moved_there_is_so_at_once() -> Result<()> {
    let stand = Stand::open()?;
    let muster = stand.server.muster()?;
    stand.provider.put("ann", "admins")?;
    let mut ann = stand.signed_on("ann")?;
    ensure!(ann.get("/whoami")?["role"] == "admin");
    muster.ok(&["operator", "set", "ann@example.org", "--disabled", "on"])?;
    refused(&mut ann, "GET", "/whoami", (401, "account-disabled"))?;
    refused(&mut stand.signed_on("ann")?, "GET", "/whoami", (401, "account-disabled"))?;
    muster.ok(&["operator", "set", "ann@example.org", "--disabled", "off"])?;
    ann.get("/whoami")?;
    // What was said before an account was removed makes no other one, nor what may have been said before by a clock
    // that is ahead.
    muster.ok(&["operator", "remove", "ann@example.org", "--yes"])?;
    refused(&mut ann, "GET", "/whoami", (401, "openid-account-removed"))?;
    refused(&mut stand.signed_on("ann")?, "GET", "/whoami", (401, "openid-account-removed"))?;
    ensure!(muster.json(&["operator", "list"])? == json!([]));
    // A later word counts more than an earlier one.
    stand.provider.put("vic", "lookers")?;
    let before = stand.provider.sign_on("muster", "vic")?.id;
    let who = stand.bearer(&before)?.get("/whoami")?;
    ensure!(who["role"] == "viewer", "{who}");
    let listed = muster.json(&["operator", "list"])?;
    ensure!(listed[0]["issuer"] == stand.provider.issuer() && listed[0]["password"] == false, "{listed}");
    stand.provider.put("vic", "")?;
    refused(&mut stand.signed_on("vic")?, "GET", "/whoami", (403, "openid-no-role"))?;
    refused(&mut stand.bearer(&before)?, "GET", "/whoami", (401, "openid-account-removed"))
}

#[test]
fn a_person_signs_on_with_a_browser_and_works_at_the_command_line() -> Result<()> {
    let stand = Stand::open()?;
    stand.provider.put("ann", "admins")?;
    let mut login = stand.login(&["work"])?;
    let address = printed(&login, &stand.provider.issuer())?;
    let arrived = stand.provider.browse(&format!("{address}&login_hint=ann"))?;
    ensure!(arrived.starts_with("http://127.0.0.1:"), "{arrived}");
    ensure!(login.wait(PATIENCE)?.success(), "{}", login.transcript());
    ensure!(login.transcript().contains("You are signed on as ann@example.org"), "{}", login.transcript());

    ensure!(stand.at_home(&["tenant", "create", "acme"])?.code == 0);
    ensure!(stand.at_home(&["tenant", "list", "-o", "name"])?.out == "acme\ndefault\n");
    let listed = stand.at_home(&["context", "list", "-o", "json"])?.out;
    ensure!(listed.contains("signed-on") && !listed.contains("eyJ"), "{listed}");
    // A token that ends is exchanged for another one before it is used.
    let file = stand.server.setup().home().join("muster/sessions/work.json");
    let mut kept: Value = serde_json::from_slice(&fs::read(&file)?)?;
    let before = kept["refresh_token"].clone();
    (kept["ends_at_s"], kept["token"]) = (json!(1), json!("over"));
    fs::write(&file, kept.to_string())?;
    ensure!(stand.at_home(&["tenant", "list"])?.code == 0);
    let renewed: Value = serde_json::from_slice(&fs::read(&file)?)?;
    ensure!(renewed["refresh_token"] != before && renewed["ends_at_s"] != 1);
    // A session is not the provider's business any more.
    let mut stand = stand;
    stand.provider.stop()?;
    ensure!(stand.at_home(&["tenant", "list"])?.code == 0);
    stand.server.muster()?.ok(&["operator", "set", "ann@example.org", "--disabled", "on"])?;
    let shut_out = stand.at_home(&["tenant", "list"])?;
    ensure!(shut_out.code == 4 && shut_out.err.contains("sign on anew with `muster login`"), "{shut_out:?}");
    Ok(())
}

#[test]
fn whoever_signs_off_leaves_nothing_behind() -> Result<()> {
    let stand = Stand::open()?;
    stand.provider.put("ann", "admins")?;
    stand.provider.put("noa", "")?;
    let mut login = stand.login(&["work"])?;
    stand.provider.browse(&format!("{}&login_hint=ann", printed(&login, &stand.provider.issuer())?))?;
    ensure!(login.wait(PATIENCE)?.success(), "{}", login.transcript());
    let file = stand.server.setup().home().join("muster/sessions/work.json");
    let kept: Value = serde_json::from_slice(&fs::read(&file)?)?;
    let token = kept["token"].as_str().context("no token")?;
    stand.bearer(token)?.get("/whoami")?;
    ensure!(stand.at_home(&["logout"])?.code == 0 && !file.exists());
    refused(&mut stand.bearer(token)?, "GET", "/whoami", (401, "token-revoked"))?;
    // Whoever has no role has no session, and hears why.
    let mut login = stand.login(&["work"])?;
    stand.provider.browse(&format!("{}&login_hint=noa", printed(&login, &stand.provider.issuer())?))?;
    ensure!(login.wait(PATIENCE)?.code() == Some(4), "{}", login.transcript());
    ensure!(login.transcript().contains("names no group that has a role here"), "{}", login.transcript());
    ensure!(!file.exists());
    Ok(())
}

#[test]
fn a_person_signs_on_with_a_code_on_another_machine() -> Result<()> {
    let stand = Stand::open()?;
    stand.provider.put("vic", "lookers")?;
    stand.provider.expect("vic")?;
    let mut login = stand.login(&["--device", "work"])?;
    let address = printed(&login, "user_code=")?;
    let page = stand.provider.agree(&address)?;
    ensure!(page.contains("Sign-in Success"), "{page}");
    ensure!(login.wait(PATIENCE)?.success(), "{}", login.transcript());
    ensure!(stand.at_home(&["device", "list"])?.code == 0);
    ensure!(stand.at_home(&["tenant", "create", "acme"])?.code == 4);
    Ok(())
}

#[test]
fn nobody_is_sent_back_to_another_machine_or_signed_on_with_anothers_code() -> Result<()> {
    let stand = Stand::open()?;
    stand.provider.put("ann", "admins")?;
    let mut anybody = stand.bearer("nothing")?;
    let mut shows = |shown: Value| -> Result<(u16, String)> {
        let reply = anybody.call("POST", "/sign-on/openid", Some(&shown))?;
        let problem: Value = serde_json::from_slice(&reply.body)?;
        Ok((reply.status, problem["code"].as_str().unwrap_or_default().to_owned()))
    };
    let code = |redirect: &str| {
        json!({ "grant": "code", "code": "stolen", "code_verifier": "v".repeat(43), "redirect_uri": redirect,
            "nonce": "n" })
    };
    ensure!(shows(code("http://evil.example/callback"))? == (403, "openid-redirect-forbidden".into()));
    ensure!(shows(code("http://127.0.0.1:5000/callback"))? == (401, "openid-code-refused".into()));
    ensure!(shows(json!({ "grant": "device", "device_code": "x" }))? == (401, "openid-code-refused".into()));
    let token = stand.provider.sign_on("muster", "ann")?.id;
    ensure!(shows(json!({ "grant": "token", "token": token }))?.0 == 200);
    let alone = Musterd::serve("")?;
    let reply = Operator::open(alone.address().http(), "x")?.call("GET", "/sign-on/openid", None)?;
    ensure!(reply.status == 404 && reply.text().contains("openid-off"), "{}", reply.text());
    Ok(())
}

/// A provider and a server that trusts it.
struct Stand {
    provider: Provider,
    server: Musterd,
}

impl Stand {
    fn open() -> Result<Self> {
        let provider = Provider::start()?;
        let server = Musterd::serve(&provider.config(ROLES)?)?;
        Ok(Self { provider, server })
    }

    /// Somebody with an ID token.
    fn signed_on(&self, who: &str) -> Result<Operator> {
        self.bearer(&self.provider.sign_on("muster", who)?.id)
    }

    /// `muster login` with a home of its own, waiting for the person.
    fn login(&self, arguments: &[&str]) -> Result<Process> {
        let mut login = self.server.setup().neighbour(binary("muster")?);
        let url = format!("http://{}", self.server.address().http());
        login.args(["--server", &url, "login", "--sso", "--no-browser"]).args(arguments);
        Process::start(login.env("XDG_CONFIG_HOME", self.server.setup().home()))
    }

    /// `muster` as it was left by a login: no server is named.
    fn at_home(&self, arguments: &[&str]) -> Result<Ended> {
        let mut muster = self.server.setup().neighbour(binary("muster")?);
        ended(muster.args(arguments).env("XDG_CONFIG_HOME", self.server.setup().home()))
    }

    fn bearer(&self, token: &str) -> Result<Operator> {
        Operator::open(self.server.address().http(), token)
    }
}

/// The address among what was printed.
fn printed(login: &Process, part: &str) -> Result<String> {
    let line = login.wait_for_line(PATIENCE, |line| line.starts_with("  http") && line.contains(part))?;
    Ok(line.trim().to_owned())
}

fn refused(who: &mut Operator, method: &str, path: &str, expected: (u16, &str)) -> Result<()> {
    let body = (method == "POST").then(|| json!({ "name": "another" }));
    let reply = who.call(method, path, body.as_ref())?;
    let problem: Value = serde_json::from_slice(&reply.body)?;
    ensure!((reply.status, problem["code"].as_str()) == (expected.0, Some(expected.1)), "{problem}");
    Ok(())
}
