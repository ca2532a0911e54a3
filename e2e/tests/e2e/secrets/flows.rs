//! Everything that secrets go through.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use e2e::device::{Connect, Group};
use e2e::mqtt;
use e2e::muster::Muster;
use e2e::musterd::Musterd;
use serde_json::{Value, json};

use super::witness::Witness;

const JSON: (&str, &str) = ("Content-Type", "application/json");
const TELEMETRY: &str = "v1/devices/me/telemetry";
const API: &str = "/api/muster/v1";

/// All of it.
pub(crate) fn everything(witness: &mut Witness, server: &Musterd) -> Result<()> {
    let mut scene = Scene::set(witness, server)?;
    scene.profiles()?;
    scene.derived_tokens()?;
    scene.chosen_tokens()?;
    scene.passwords()?;
    scene.wrong_secrets()?;
    scene.malformed_requests()?;
    scene.wrong_tokens()?;
    scene.wrong_passwords()?;
    scene.operators()?;
    scene.odd_calls_of_the_api()?;
    scene.devices()?;
    scene.journal_and_figures()
}

/// A part of it, for a server that was started again.
pub(crate) fn once_more(witness: &mut Witness, server: &Musterd) -> Result<()> {
    let mut scene = Scene::set(witness, server)?;
    scene.round = 1;
    scene.derived_tokens()?;
    scene.chosen_tokens()?;
    scene.wrong_secrets()?;
    scene.journal_and_figures()
}

struct Scene<'a> {
    witness: &'a mut Witness,
    muster: Muster,
    url: String,
    home: PathBuf,
    group: Group,
    round: u32,
}

impl<'a> Scene<'a> {
    /// A profile of its own for each time.
    fn set(witness: &'a mut Witness, server: &Musterd) -> Result<Self> {
        let (muster, home) = (server.muster()?, server.setup().home().to_owned());
        let url = format!("http://{}", server.address().http());
        let key = witness.mint("a provision key, which is none")[..12].to_owned();
        let mut scene = Self { witness, muster, url, home, group: Group::new(&key, ""), round: 0 };
        let secret = scene.secret_in_a_file("a provision secret")?;
        let words = ["profile", "create", &key, "--strategy", "create-new", "--provision-key", &key];
        let given = ["--provision-secret-file", &secret.1];
        scene.witness.new_group_secret(&scene.muster, &[&words[..], &given].concat())?;
        scene.group.secret = secret.0;
        Ok(scene)
    }

    /// A secret, and the file that holds it: on a command line everybody could read it.
    fn secret_in_a_file(&mut self, what: &str) -> Result<(String, String)> {
        let secret = self.witness.mint(what);
        let file = self.home.join("secret");
        fs::write(&file, &secret)?;
        Ok((secret, file.to_str().context("a path")?.to_owned()))
    }

    fn name(&self, what: &str, number: usize) -> String {
        format!("{what}-{}-{number}", self.round)
    }

    /// Provisions by one of the wires in turn.
    fn provision(&mut self, number: usize, ask: &Value) -> Result<bool> {
        let answer = match number % 3 {
            0 => self.witness.provision_by_http(ask),
            1 => self.witness.provision_by_mqtt(ask, false),
            _ => self.witness.provision_by_mqtt(ask, true),
        };
        Ok(answer?.is_granted())
    }

    // === Secrets that are right ===

    fn profiles(&mut self) -> Result<()> {
        for number in 0..20 {
            let name = format!("profile-{number}");
            let create = ["profile", "create", &name, "--strategy", "check-pre-provisioned"];
            let (_, file) = self.secret_in_a_file("a provision secret")?;
            self.witness.new_group_secret(
                &self.muster,
                &[&create[..], &["--provision-secret-file", &file]].concat(),
            )?;
            let (_, file) = self.secret_in_a_file("a provision secret that took another's place")?;
            let rotate = ["profile", "set", &name, "--rotate-secret", "--overlap", "1h"];
            self.witness.new_group_secret(
                &self.muster,
                &[&rotate[..], &["--provision-secret-file", &file]].concat(),
            )?;
            let rotate = ["profile", "set", &name, "--rotate-secret", "--yes"];
            self.witness.new_group_secret(&self.muster, &rotate)?;
            self.witness.muster(&self.muster, &["profile", "show", &name])?;
            self.witness.muster(&self.muster, &["profile", "set", &name, "--uses", "5"])?;
            self.witness.muster(&self.muster, &create)?;
        }
        for format in ["table", "json", "yaml"] {
            self.witness.muster(&self.muster, &["profile", "list", "-o", format])?;
        }
        Ok(())
    }

    /// The same device again gets the same token, or another one: both are its own.
    fn derived_tokens(&mut self) -> Result<()> {
        for number in 0..120 {
            let ask = self.group.ask(&self.name("derived", number));
            ensure!(self.provision(number, &ask)?);
        }
        let profile = self.group.key.clone();
        for policy in ["return-existing", "rotate"] {
            self.witness.muster(&self.muster, &["profile", "set", &profile, "--reprovision", policy])?;
            for number in 0..30 {
                let ask = self.group.ask(&self.name("derived", number));
                ensure!(self.provision(number + 1, &ask)?);
            }
        }
        self.witness.muster(&self.muster, &["profile", "set", &profile, "--reprovision", "refuse"])?;
        let (ask, token) =
            (self.group.ask(&self.name("used", 0)), |answer: e2e::device::Answer| answer.into_token());
        let token = token(self.witness.provision_by_http(&ask)?)?;
        self.use_token(&token)
    }

    fn use_token(&mut self, token: &str) -> Result<()> {
        for (path, body) in [
            ("telemetry", r#"{"temperature": 25}"#),
            ("attributes", r#"{"firmware": "1.0"}"#),
            ("telemetry", "no JSON"),
            ("nonsense", "{}"),
        ] {
            self.witness.http("POST", &format!("/api/v1/{token}/{path}"), &[JSON], body.as_bytes())?;
        }
        self.witness.http("GET", &format!("/api/v1/{token}/attributes?clientKeys=a"), &[], b"")?;
        for five in [false, true] {
            let login = Connect { user_name: Some(token), five, ..Connect::default() };
            let telemetry = mqtt::publish(TELEMETRY, Some(7), b"{\"temperature\": 26}", five);
            self.witness.mqtt(&[mqtt::connect(&login), telemetry], 2)?;
            let bad = mqtt::publish(TELEMETRY, Some(8), b"no JSON", five);
            self.witness.mqtt(&[mqtt::connect(&login), bad], 2)?;
        }
        Ok(())
    }

    fn chosen_tokens(&mut self) -> Result<()> {
        for number in 0..150 {
            let token = self.witness.mint("a token that a device chose");
            let mut ask = self.group.ask(&self.name("chosen", number));
            ask["token"] = json!(token);
            ensure!(self.provision(number, &ask)?);
            if number % 15 == 0 {
                self.use_token(&token)?;
                // Another device wants the same one.
                ask["deviceName"] = json!(self.name("twin", number));
                ensure!(!self.provision(number, &ask)?);
            }
        }
        Ok(())
    }

    fn passwords(&mut self) -> Result<()> {
        for number in 0..150 {
            let password = self.witness.mint("a password");
            let user = self.name("user", number);
            let mut ask = self.group.ask(&self.name("basic", number));
            ask["credentialsType"] = json!("MQTT_BASIC");
            ask["username"] = json!(user);
            ask["password"] = json!(password);
            ensure!(self.provision(number, &ask)?);
            let five = number % 2 == 0;
            let login = Connect { user_name: Some(&user), password: Some(&password), five, client_id: "c" };
            let telemetry = mqtt::publish(TELEMETRY, Some(7), b"{\"temperature\": 27}", five);
            let heard = self.witness.mqtt(&[mqtt::connect(&login), telemetry], 2)?;
            ensure!(heard.len() == 2 && heard[0][3] == 0, "{heard:02x?}");
        }
        Ok(())
    }

    // === Secrets that are wrong, or in the wrong place ===

    fn wrong_secrets(&mut self) -> Result<()> {
        for number in 0..120 {
            let wrong = self.witness.mint("a wrong provision secret");
            let group = match number % 4 {
                // Whoever mixes up key and secret.
                0 => Group::new(&wrong, &self.group.key),
                1 => Group::new("no-such-key", &wrong),
                _ => Group::new(&self.group.key, &wrong),
            };
            ensure!(!self.provision(number, &group.ask(&self.name("wrong", number)))?);
        }
        Ok(())
    }

    fn malformed_requests(&mut self) -> Result<()> {
        for number in 0..20 {
            for body in self.malformed_bodies(number)? {
                self.witness.http("POST", "/api/v1/provision", &[JSON], &body)?;
                for five in [false, true] {
                    let provision = Connect { user_name: Some("provision"), five, ..Connect::default() };
                    let ask = mqtt::publish("/provision/request", Some(3), &body, five);
                    self.witness.mqtt(&[mqtt::connect(&provision), ask], 3)?;
                }
            }
        }
        let secret = self.witness.mint("a secret in an address");
        let target = format!("/api/v1/provision?provisionDeviceSecret={secret}");
        self.witness.http("POST", &target, &[JSON], b"{}")?;
        self.witness.http("PUT", &target, &[JSON], b"{}")?;
        let secret = self.witness.mint("a secret in a header");
        self.witness.http("POST", "/api/v1/provision", &[JSON, ("X-Secret", &secret)], b"{}")?;
        Ok(())
    }

    fn malformed_bodies(&mut self, number: usize) -> Result<Vec<Vec<u8>>> {
        let name = self.name("malformed", number);
        let mut bodies = Vec::new();
        for change in [
            |ask: &mut Value, secret: &str| ask["provisionDeviceSecret"] = json!([secret, secret]),
            |ask: &mut Value, secret: &str| ask["provisionDeviceSecret"] = json!({ secret: secret }),
            |ask: &mut Value, secret: &str| ask["token"] = json!(format!("{secret}\u{7}")),
            |ask: &mut Value, secret: &str| ask["token"] = json!(secret.repeat(20)),
            |ask: &mut Value, secret: &str| ask["token"] = json!([[secret]]),
            |ask: &mut Value, secret: &str| ask["password"] = json!(secret),
            |ask: &mut Value, secret: &str| ask["hash"] = json!(secret),
        ] {
            let mut ask = self.group.ask(&name);
            let secret = self.witness.mint("a secret in a request that is refused");
            change(&mut ask, &secret);
            bodies.push(ask.to_string().into_bytes());
        }
        // One that ends in the middle, and one that is no text.
        let mut ask = self.group.ask(&name);
        ask["token"] = json!(self.witness.mint("a secret in half a request"));
        let mut text = ask.to_string().into_bytes();
        text.pop();
        bodies.push(text.clone());
        text.extend(b"\xff\xfe}");
        bodies.push(text);
        Ok(bodies)
    }

    fn wrong_tokens(&mut self) -> Result<()> {
        for number in 0..60 {
            let token = self.witness.mint("a wrong token");
            match number % 3 {
                0 => self.use_token(&token)?,
                1 => drop(self.witness.mqtt(&[login(&token, None, true)], 1)?),
                _ => drop(self.witness.mqtt(&[login(&token, Some(&token), false)], 1)?),
            }
        }
        // A token with a letter too much, as a typing error makes it.
        let ask = self.group.ask(&self.name("mistyped", 0));
        let token = self.witness.provision_by_http(&ask)?.into_token()?;
        self.witness.http("POST", &format!("/api/v1/{token}x/telemetry"), &[JSON], b"{}")?;
        self.witness.mqtt(&[login(&format!("{token}x"), None, true)], 1)?;
        Ok(())
    }

    fn wrong_passwords(&mut self) -> Result<()> {
        for number in 0..60 {
            let password = self.witness.mint("a wrong password");
            let user = self.name("user", number);
            self.witness.mqtt(&[login(&user, Some(&password), number % 2 == 0)], 2)?;
        }
        // A second CONNECT, and one that is cut off in its password.
        let secret = self.witness.mint("a password that comes too late");
        let late = login("user", Some(&secret), true);
        self.witness.mqtt(&[login("provision", None, true), late.clone()], 3)?;
        let secret = self.witness.mint("a secret on a topic of nobody");
        let publish = mqtt::publish("/somewhere/else", Some(9), secret.as_bytes(), true);
        self.witness.mqtt(&[login("provision", None, true), publish], 3)?;
        let topic = self.witness.mint("a secret as a topic");
        let publish = mqtt::publish(&topic, Some(9), b"{}", true);
        self.witness.mqtt(&[login("provision", None, true), publish], 3)?;
        self.witness.mqtt(&[login("provision", None, true), mqtt::subscribe(&topic, true)], 2)?;
        Ok(())
    }

    // === Operators ===

    fn operators(&mut self) -> Result<()> {
        self.witness.muster(&self.muster, &["tenant", "create", "acme"])?;
        for number in 0..20 {
            let mut words = vec!["operator", "token", "create", "--label", "ci"];
            words.extend((number % 2 == 0).then_some(["--tenant", "acme"]).into_iter().flatten());
            let token = self.witness.new_operator_token(&self.muster, &words)?;
            self.use_operator_token(&token)?;
        }
        for _ in 0..40 {
            let wrong = self.witness.mint("a wrong operator token");
            self.use_operator_token(&wrong)?;
        }
        for format in ["table", "json", "yaml"] {
            self.witness.muster(&self.muster, &["operator", "token", "list", "-o", format])?;
        }
        self.witness.muster(&self.muster, &["operator", "token", "revoke", "2", "--yes"])?;
        Ok(())
    }

    fn use_operator_token(&mut self, token: &str) -> Result<()> {
        let file = self.home.join("token");
        fs::write(&file, token)?;
        let muster = Muster::with_token(&self.url, &file)?;
        self.witness.muster(&muster, &["device", "list", "--limit", "2"])?;
        let bearer = format!("Bearer {token}");
        for path in ["/metrics", "/api/muster/v1/whoami", "/api/muster/v1/tenants", "/api/muster/v1/nonsense"]
        {
            self.witness.http("GET", path, &[("Authorization", &bearer)], b"")?;
        }
        let basic = format!("Basic {token}");
        self.witness.http("GET", "/api/muster/v1/whoami", &[("Authorization", &basic)], b"")?;
        self.witness.http("GET", &format!("/api/muster/v1/whoami?token={token}"), &[], b"")?;
        Ok(())
    }

    fn odd_calls_of_the_api(&mut self) -> Result<()> {
        let admin = fs::read_to_string(self.home.join("data/keys/admin-secret"))?;
        let bearer = format!("Bearer {}", admin.trim());
        for number in 0..20 {
            let secret = self.witness.mint("a secret in a call that is refused");
            let body = match number % 5 {
                0 => json!({"name": "x", "strategy": "create-new", "provision_secret": [secret]}),
                1 => json!({"name": "x", "strategy": "create-new", "provision_secrt": secret}),
                2 => json!({"name": "", "strategy": "create-new", "provision_secret": secret}),
                3 => json!({"name": "x", "strategy": "create-new", "provision_secret": {"text": secret}}),
                _ => json!({"name": "profile-1", "strategy": "create-new", "provision_secret": secret}),
            };
            let headers = [("Authorization", bearer.as_str()), JSON];
            let body = body.to_string();
            let reply = self.witness.http("POST", &format!("{API}/profiles"), &headers, body.as_bytes())?;
            ensure!(reply.status >= 400, "{reply:?}");
            let half = &body.as_bytes()[..body.len() - 1];
            self.witness.http("POST", &format!("{API}/profiles"), &headers, half)?;
            let rotate = json!({"rotate_secret": {"secret": [secret]}}).to_string();
            self.witness.http("PATCH", &format!("{API}/profiles/profile-1"), &headers, rotate.as_bytes())?;
        }
        Ok(())
    }

    fn devices(&mut self) -> Result<()> {
        let file = self.home.join("fleet.csv");
        fs::write(&file, "name,type,label\nimported-1,profile-1,x\nimported-2,none,x\n")?;
        let device = self.name("chosen", 0);
        for words in [
            &["device", "add", "added-1", "--profile", "profile-1"][..],
            &["device", "import", file.to_str().context("a path")?],
            &["device", "list"],
            &["device", "list", "-o", "json"],
            &["device", "show", &device, "-o", "json"],
            &["device", "telemetry", &device, "-o", "json"],
            &["device", "disable", &device],
            &["device", "enable", &device],
            &["device", "delete", &device, "--yes"],
            &["explain", &device],
            &["explain", "nobody", "-o", "json"],
        ] {
            self.witness.muster(&self.muster, words)?;
        }
        Ok(())
    }

    fn journal_and_figures(&mut self) -> Result<()> {
        for words in [
            &["attempts", "--limit", "10000"][..],
            &["attempts", "--limit", "10000", "-o", "json"],
            &["audit", "head", "-o", "json"],
            &["audit", "verify", "-o", "json"],
        ] {
            let ended = self.witness.muster(&self.muster, words)?;
            ensure!(ended.code == 0, "{ended:?}");
        }
        let figures = self.witness.http("GET", "/metrics", &[], b"")?;
        ensure!(
            figures.status == 200 && figures.text().contains("muster_provisionings_total"),
            "{figures:?}"
        );
        Ok(())
    }
}

fn login(user: &str, password: Option<&str>, five: bool) -> Vec<u8> {
    mqtt::connect(&Connect { user_name: Some(user), password, five, client_id: "" })
}
