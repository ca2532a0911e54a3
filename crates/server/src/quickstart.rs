//! `musterd quickstart`: a server with a demonstration profile, and something to paste.
//!
//! Standard output carries the demonstration's secrets on purpose. They are kept in the keys folder, so that
//! a second start shows the same ones: the registry itself never shows a secret again. Whatever was done to the
//! demonstration meanwhile, the server starts, and says what of it is no longer what it was.

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context, ensure};
use bytes::Bytes;
use domain::Secret;
use engine::Registry;
use engine::registry::{NewProfile, Operator, RegistryError};
use http_body_util::{BodyExt, Full};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use wire::thingsboard::{Credentials, ProvisionRequest, ProvisionResponse};
use zeroize::Zeroizing;

use crate::config::{Bind, Config};
use crate::layout::write_private;
use crate::serve::{Server, load_config, reachable, until_signalled};

/// The name of the demonstration profile.
const PROFILE: &str = "demo";

/// How many names are tried for the simulated device, where earlier ones are taken.
const MOST_NAMES: u32 = 1000;

/// What the command takes.
#[derive(clap::Args)]
pub struct Arguments {
    /// The folder that holds everything; made if it is not there.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// The provision key of the demonstration profile; made at random unless given.
    #[arg(long, requires = "provision_secret", value_name = "K")]
    provision_key: Option<String>,
    /// The provision secret of the demonstration profile; made at random unless given.
    #[arg(long, requires = "provision_key", value_name = "S")]
    provision_secret: Option<String>,
    /// Where to serve HTTP.
    #[arg(long, value_name = "ADDR", default_value = "localhost:8080")]
    http: Bind,
    /// Where to serve MQTT.
    #[arg(long, value_name = "ADDR", default_value = "localhost:1883")]
    mqtt: Bind,
}

impl Arguments {
    /// The settings that these words mean, over the defaults and the environment.
    ///
    /// # Errors
    /// What is wrong with the environment.
    pub fn config(&self) -> anyhow::Result<Config> {
        let mut config = load_config(None)?;
        config.directory = self.data.clone().unwrap_or(config.directory);
        config.http.bind = vec![self.http];
        config.mqtt.bind = vec![self.mqtt];
        Ok(config)
    }
}

/// What the demonstration is made of.
#[derive(Serialize, Deserialize)]
struct Demo {
    provision_key: String,
    #[serde(serialize_with = "wire::Secret::serialize_clear")]
    provision_secret: wire::Secret,
    /// The simulated device, once it has been provisioned.
    device: Option<DemoDevice>,
}

#[derive(Serialize, Deserialize)]
struct DemoDevice {
    name: String,
    #[serde(serialize_with = "wire::Secret::serialize_clear")]
    token: wire::Secret,
}

/// Serves, shows what to try, and goes on until it is stopped.
///
/// # Errors
/// What keeps the server from starting, or the demonstration from working.
pub async fn run(wanted: &Arguments, config: &Config) -> anyhow::Result<()> {
    let server = Server::start(config).await?;
    match show(wanted, &server).await {
        Ok(()) => until_signalled(server).await,
        Err(error) => {
            server.stop().await;
            Err(error)
        }
    }
}

async fn show(wanted: &Arguments, server: &Server) -> anyhow::Result<()> {
    let path = server.layout().keys.join("demo.json");
    let is_first = !path.exists();
    let mut demo = Demo::of(&path, wanted)?;
    let (registry, key) = (server.registry().clone(), demo.provision_key.clone());
    let secret = Secret::new(demo.provision_secret.expose());
    let profile = tokio::task::spawn_blocking(move || ensure_profile(&registry, &key, &secret)).await?;
    let has_changed = match profile {
        Ok(is_current) => !is_current,
        Err(error) if is_first => return Err(error),
        Err(_) => true,
    };
    let [http, mqtt] = [&server.addresses().http, &server.addresses().mqtt]
        .map(|addresses| addresses.first().map(|address| reachable(*address)));
    let (http, mqtt) = http.zip(mqtt).context("neither HTTP nor MQTT is served")?;
    let is_there = match &demo.device {
        Some(device) => still_works(http, device).await?,
        None => false,
    };
    let refused = match is_there {
        true => None,
        false => match simulate(server.registry(), http, &demo).await? {
            Ok(device) => {
                demo.device = Some(device);
                // Only what is new is written: a server on a full disk starts, and reads.
                demo.save(&path)?;
                None
            }
            Err(why) => Some(why),
        },
    };
    let demonstration =
        Demonstration { demo: &demo, has_changed, refused, http, mqtt, folder: folder(server) };
    let text = demonstration.text(&server.layout().db.display().to_string())?;
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}

impl Demo {
    /// The folder's own, or a new one, which is kept before anything is made of it.
    fn of(path: &std::path::Path, wanted: &Arguments) -> anyhow::Result<Demo> {
        if path.exists() {
            let text = Zeroizing::new(std::fs::read(path)?);
            let demo: Demo =
                serde_json::from_slice(&text).with_context(|| format!("cannot read {}", path.display()))?;
            demo.agrees_with(wanted)?;
            return Ok(demo);
        }
        let demo = Demo {
            provision_key: wanted.provision_key.clone().map_or_else(random_text, Ok)?,
            provision_secret: wire::Secret::new(
                wanted.provision_secret.clone().map_or_else(random_text, Ok)?,
            ),
            device: None,
        };
        demo.save(path)?;
        Ok(demo)
    }

    fn agrees_with(&self, wanted: &Arguments) -> anyhow::Result<()> {
        let same = |given: &Option<String>, ours: &str| given.as_ref().is_none_or(|given| given == ours);
        ensure!(
            same(&wanted.provision_key, &self.provision_key)
                && same(&wanted.provision_secret, self.provision_secret.expose()),
            "this folder's demonstration profile has another key or secret; leave them out, or choose another \
             folder with --data, or make a profile of your own: muster profile create"
        );
        Ok(())
    }

    fn save(&self, path: &std::path::Path) -> anyhow::Result<()> {
        let json = Zeroizing::new(serde_json::to_vec(self)?);
        write_private(path, &json).with_context(|| format!("cannot write {}", path.display()))
    }
}

/// Twenty random letters and digits.
fn random_text() -> anyhow::Result<String> {
    Ok(domain::name::random_text(20, &mut engine::ports::SystemEntropy::default()))
}

/// Makes the profile if it is not there. Whether it lets in by this key, and by this secret before all others.
fn ensure_profile(registry: &Registry, key: &str, secret: &Secret) -> anyhow::Result<bool> {
    let operator = Operator::server("quickstart");
    let tenant = registry.tenant(&operator, None)?;
    let there = registry.profiles(&tenant)?.into_iter().any(|view| view.profile.name == PROFILE);
    if !there {
        let wanted = NewProfile {
            name: PROFILE.to_owned(),
            provision_key: Some(key.to_owned()),
            provision_secret: Some(secret.clone()),
            ..NewProfile::default()
        };
        registry.create_profile(&operator, &tenant, wanted)?;
    }
    Ok(registry.is_current(&tenant, PROFILE, key, secret)?)
}

/// Whether the device of an earlier start is still in the registry.
async fn still_works(http: SocketAddr, device: &DemoDevice) -> anyhow::Result<bool> {
    let path = format!("/api/v1/{}/telemetry", device.token.expose());
    Ok(post(http, &path, Bytes::from_static(b"{}")).await?.0 == StatusCode::OK)
}

/// A device provisions as any device does, over the wire; or why it was refused. Names that are taken, also by devices
/// that are shut out or leave, are passed over.
async fn simulate(
    registry: &Registry,
    http: SocketAddr,
    demo: &Demo,
) -> anyhow::Result<Result<DemoDevice, String>> {
    for number in 1..=MOST_NAMES {
        let name = format!("demo-device-{number}");
        if is_taken(registry.clone(), name.clone()).await? {
            continue;
        }
        let mut request = ProvisionRequest::new(&demo.provision_key, demo.provision_secret.expose());
        request.device_name = Some(name.clone());
        let (status, body) = post(http, "/api/v1/provision", request.to_json().into()).await?;
        if status != StatusCode::OK {
            return Ok(Err(format!("it was answered with status {status}")));
        }
        match ProvisionResponse::parse(&body)? {
            ProvisionResponse::Success { credentials: Credentials::AccessToken(token) } => {
                return Ok(Ok(DemoDevice { name, token }));
            }
            ProvisionResponse::Failure { error_msg } if error_msg.contains("already") => {}
            ProvisionResponse::Failure { error_msg } => return Ok(Err(error_msg)),
            _ => return Ok(Err(format!("the profile `{PROFILE}` was changed since the first start"))),
        }
    }
    Ok(Err(format!("{MOST_NAMES} demonstration devices are there already")))
}

async fn is_taken(registry: Registry, name: String) -> anyhow::Result<bool> {
    let taken = tokio::task::spawn_blocking(move || {
        let tenant = registry.tenant(&Operator::server("quickstart"), None)?;
        match registry.device(&tenant, &name) {
            Ok(_) => Ok(true),
            Err(RegistryError::NotFound { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    });
    Ok(taken.await??)
}

async fn post(http: SocketAddr, path: &str, body: Bytes) -> anyhow::Result<(StatusCode, Bytes)> {
    let stream = tokio::net::TcpStream::connect(http).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let request = Request::post(path)
        .header("host", http.to_string())
        .header("content-type", "application/json")
        .header("connection", "close")
        .body(Full::new(body))?;
    let response = sender.send_request(request).await?;
    Ok((response.status(), response.into_body().collect().await?.to_bytes()))
}

/// What there is to show.
struct Demonstration<'a> {
    demo: &'a Demo,
    /// The profile no longer lets in by what was shown at first.
    has_changed: bool,
    /// Why no simulated device could be made.
    refused: Option<String>,
    http: SocketAddr,
    mqtt: SocketAddr,
    folder: String,
}

impl Demonstration<'_> {
    /// What to try. Every line works as it is printed, in a POSIX shell.
    fn text(&self, data: &str) -> anyhow::Result<String> {
        let (http, mqtt, folder) = (self.http, self.mqtt, quoted(&self.folder));
        let mut text = format!("Muster is serving: HTTP {http}, MQTT {mqtt}, data in {data}\n\n");
        text += &match self.has_changed {
            false => self.profile(),
            true => format!(
                "The demonstration profile `{PROFILE}` has another key or secret than at the first start; what it was is\n\
                 not shown any more. To make a new secret, which is shown once:\n\
                 \n\
                 muster --data {folder} profile set {PROFILE} --rotate-secret\n\
                 \n"
            ),
        };
        let device = self.demo.device.as_ref().filter(|_| self.refused.is_none());
        text += &match (device, &self.refused) {
            (Some(device), _) => format!(
                "Simulated device `{}` was provisioned and received\n\
                 \x20 access token      {}\n\
                 \n",
                device.name,
                device.token.expose()
            ),
            (None, why) => format!(
                "No simulated device could be provisioned: {}\n\
                 \n\
                 muster --data {folder} attempts\n\
                 \n",
                why.as_deref().unwrap_or_default()
            ),
        };
        if !self.has_changed {
            text += &self.provisioning()?;
        }
        if let Some(device) = device {
            text += &self.telemetry(device);
        }
        Ok(text)
    }

    fn profile(&self) -> String {
        format!(
            "Demonstration profile `{PROFILE}`\n\
             \x20 provision key     {}\n\
             \x20 provision secret  {}\n\
             \n",
            self.demo.provision_key,
            self.demo.provision_secret.expose()
        )
    }

    fn provisioning(&self) -> anyhow::Result<String> {
        let (http, mqtt_host, mqtt_port) = (self.http, self.mqtt.ip(), self.mqtt.port());
        let key = serde_json::to_string(&self.demo.provision_key)?;
        let secret = serde_json::to_string(self.demo.provision_secret.expose())?;
        // The name is closed by the shell, so that the same line works again.
        let body = |kind: &str| {
            let head = quoted(&format!(r#"{{"deviceName":"{kind}-"#));
            let tail = quoted(&format!(r#"","provisionDeviceKey":{key},"provisionDeviceSecret":{secret}}}"#));
            format!(r#"{head}"$(date +%s)"{tail}"#)
        };
        let python = quoted(&format!(
            "import json, time, urllib.request as r; print(r.urlopen(r.Request({url}, json.dumps(\
             {{\"deviceName\": \"python-%d\" % time.time(), \"provisionDeviceKey\": {key}, \
             \"provisionDeviceSecret\": {secret}}}).encode(), {{\"Content-Type\": \"application/json\"}})).read().decode())",
            url = serde_json::to_string(&format!("http://{http}/api/v1/provision"))?,
        ));
        Ok(format!(
            "Provision a device of your own:\n\
             \n\
             curl -s -H 'Content-Type: application/json' -d {curl} http://{http}/api/v1/provision\n\
             mosquitto_rr -V 5 -h {mqtt_host} -p {mqtt_port} -u provision -t /provision/request -e /provision/response -m {rr}\n\
             python3 -c {python}\n\
             \n",
            curl = body("curl"),
            rr = body("mosquitto"),
        ))
    }

    fn telemetry(&self, device: &DemoDevice) -> String {
        let (http, mqtt_host, mqtt_port) = (self.http, self.mqtt.ip(), self.mqtt.port());
        let (name, token, folder) = (&device.name, device.token.expose(), quoted(&self.folder));
        format!(
            "Send telemetry as the simulated device:\n\
             \n\
             curl -s -H 'Content-Type: application/json' -d '{{\"temperature\":25}}' http://{http}/api/v1/{token}/telemetry\n\
             mosquitto_pub -h {mqtt_host} -p {mqtt_port} -u {token} -t v1/devices/me/telemetry -m '{{\"temperature\":25}}'\n\
             \n\
             Look at it from the operators' side:\n\
             \n\
             muster --data {folder} device telemetry {name}\n\
             \n"
        )
    }
}

fn folder(server: &Server) -> String {
    let db = &server.layout().db;
    db.parent().unwrap_or(db).display().to_string()
}

/// A word for a POSIX shell.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_for_the_shell_may_hold_anything() {
        assert_eq!(quoted(r#"it's "x""#), r#"'it'\''s "x"'"#);
    }
}
