//! People sign on at a real OpenID provider, and are here what their groups make them.

use anyhow::{Result, ensure};
use e2e::musterd::Musterd;
use e2e::openid::Provider;
use e2e::operator::Operator;
use serde_json::{Value, json};

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
