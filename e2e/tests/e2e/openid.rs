//! People sign on at a real OpenID provider, and are here what their groups make them.

use anyhow::{Result, ensure};
use e2e::PATIENCE;
use e2e::musterd::Musterd;
use e2e::openid::Provider;
use e2e::operator::Operator;
use serde_json::{Value, json};
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
    for told in ["operator-signed-on", "operator-sign-on-failed", "openid-no-role", &stand.provider.issuer()]
    {
        ensure!(events.contains(told), "{told} is not in {events}");
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
    // What was said before an account was removed makes no other one; a new word does.
    muster.ok(&["operator", "remove", "ann@example.org", "--yes"])?;
    refused(&mut ann, "GET", "/whoami", (401, "openid-account-removed"))?;
    ensure!(muster.json(&["operator", "list"])? == json!([]));
    stand.provider.put("ann", "lookers")?;
    let who = eventually("a token of a later second", PATIENCE, || {
        stand.signed_on("ann").ok()?.get("/whoami").ok()
    })?;
    ensure!(who["role"] == "viewer", "{who}");
    let listed = muster.json(&["operator", "list"])?;
    ensure!(listed[0]["issuer"] == stand.provider.issuer() && listed[0]["password"] == false, "{listed}");
    // A later word counts more than an earlier one.
    let before = stand.provider.sign_on("muster", "ann")?.id;
    stand.provider.put("ann", "")?;
    refused(&mut stand.signed_on("ann")?, "GET", "/whoami", (403, "openid-no-role"))?;
    refused(&mut stand.bearer(&before)?, "GET", "/whoami", (401, "openid-account-removed"))
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

    fn bearer(&self, token: &str) -> Result<Operator> {
        Operator::open(self.server.address().http(), token)
    }
}

fn refused(who: &mut Operator, method: &str, path: &str, expected: (u16, &str)) -> Result<()> {
    let body = (method == "POST").then(|| json!({ "name": "another" }));
    let reply = who.call(method, path, body.as_ref())?;
    let problem: Value = serde_json::from_slice(&reply.body)?;
    ensure!((reply.status, problem["code"].as_str()) == (expected.0, Some(expected.1)), "{problem}");
    Ok(())
}
