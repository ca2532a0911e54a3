//! The whole server as one value, put together here and nowhere else.

mod sockets;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::Extension;
use domain::{Secret, Wire};
use engine::{Engine, Ports, Rate, Registry};
use store::{KeySource, Store};
use zeroize::Zeroizing;

use crate::config::{self, Config};
use crate::hub::sessions::Sessions;
use crate::key_providers::KeySources;
use crate::layout::{Layout, make_private, say_private};
use crate::listeners::tls::Certificate;
use crate::listeners::{self, Stop, Stopper};
use crate::protocols::{Faces, Protocols, thingsboard};
use crate::sign_on::SignOn;
use crate::{api, connectors, hooks, metrics, probes};
use sockets::{Certificates, Sockets};

/// How often figures that summarise others are brought up to date.
const UPKEEP_EVERY: Duration = Duration::from_secs(5);

/// How often a locked server looks whether its keys have come.
const UNLOCK_EVERY: Duration = Duration::from_secs(1);

/// Random bytes of the first admin's secret.
const ADMIN_SECRET_BYTES: usize = 32;

/// A running server.
pub struct Server {
    addresses: Addresses,
    layout: Layout,
    registry: Registry,
    engine: Arc<Engine>,
    sessions: Arc<Sessions>,
    certificates: Vec<Arc<Certificate>>,
    stopper: Stopper,
    grace: Duration,
}

/// Where a server listens.
#[derive(Clone, Debug, Default)]
pub struct Addresses {
    /// Plain HTTP.
    pub http: Vec<SocketAddr>,
    /// HTTPS.
    pub https: Vec<SocketAddr>,
    /// MQTT.
    pub mqtt: Vec<SocketAddr>,
    /// MQTT over TLS.
    pub mqtts: Vec<SocketAddr>,
}

impl Server {
    /// Opens the store and the sockets and begins to serve.
    ///
    /// # Errors
    /// What is in the way: an address in use, another server on the folder, a key that does not fit.
    pub async fn start(config: &Config) -> anyhow::Result<Server> {
        let figures = metrics::start();
        let sockets = Sockets::open(config)?;
        let certificates = Certificates::open(config)?;
        let layout = config.layout();
        let sessions = Arc::new(Sessions::default());
        let (engine, registry) = open(config, &layout, &sessions).await?;
        let faces = Faces {
            provisioner: engine.provisioner.clone(),
            device_auth: engine.device_auth.clone(),
            hub: engine.hub.clone(),
            sessions: Arc::clone(&sessions),
            traces: registry.listener(),
            device_calls: hooks::device_calls::device_calls(config)?.map(Arc::new),
        };
        let protocols = Protocols::new(faces, settings(config));
        let (stopper, stop) = listeners::stopper();
        let rest = api::thingsboard_rest::router(registry.clone(), stop.stopping())
            .merge(api::recover::router(registry.clone(), &layout.keys));
        let operators = api::router(registry.clone(), stop.stopping()).merge(rest).merge(probes::router(
            registry.clone(),
            figures.clone(),
            Arc::clone(&sessions),
            stop.stopping(),
            config.http.trusted_proxies.is_empty() && config.https.trusted_proxies.is_empty(),
        ));
        let operators = match SignOn::new(&config.sign_on.openid)? {
            Some(sign_on) => operators.layer(Extension(sign_on)),
            None => operators,
        };
        let addresses = sockets.addresses()?;
        let http = Arc::new(listeners::http::Shared::new(protocols.clone(), operators, &config.http));
        let mqtt = Arc::new(listeners::mqtt::Shared::new(protocols, Arc::clone(&sessions), &config.mqtt));
        sockets.serve(config, &http, &mqtt, &certificates, &stop);
        tokio::spawn(unlock_when_possible(registry.clone(), stop.clone()));
        tokio::spawn(keep_up(figures, stop));
        tracing::info!(name = config.name, http = ?addresses.http, https = ?addresses.https, mqtt = ?addresses.mqtt, mqtts = ?addresses.mqtts, "serving");
        let grace = config::seconds(config.stop.grace_s);
        Ok(Server {
            addresses,
            layout,
            registry,
            engine: Arc::new(engine),
            sessions,
            certificates: certificates.all().cloned().collect(),
            stopper,
            grace,
        })
    }

    /// Where it listens.
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// The face for operators.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Where things lie.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Says in the folder that this server runs on it, so that `muster --data DIR` finds it.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn announce(&self) -> anyhow::Result<()> {
        write_server_json(&self.layout, &self.addresses)
    }

    /// Reads the certificate files again.
    pub fn reload(&self) {
        if self.certificates.is_empty() {
            tracing::info!("there is no certificate to be read anew");
        }
        self.certificates.iter().for_each(|certificate| certificate.reload());
    }

    /// Takes no more connections, finishes what is in flight, and closes the store.
    pub async fn stop(self) {
        tracing::info!("stopping");
        self.stopper.stop();
        self.sessions.stop_waiting();
        if tokio::time::timeout(self.grace, self.stopper.everybody_is_gone()).await.is_err() {
            tracing::warn!(grace_s = self.grace.as_secs(), "some connections did not end in time");
        }
        // It may not be there any more, and that is what is wanted.
        let _ = std::fs::remove_file(&self.layout.server_json);
        let (engine, registry) = (self.engine, self.registry);
        let closed = tokio::task::spawn_blocking(move || {
            engine.stop();
            drop((registry, engine));
        });
        if closed.await.is_err() {
            tracing::error!("the engine did not end well");
        }
        tracing::info!("stopped");
    }
}

fn settings(config: &Config) -> thingsboard::Settings {
    thingsboard::Settings {
        anonymous_provisioning: config.mqtt.anonymous_provisioning,
        error_detail: config.provisioning.error_detail,
        client_dates: config.mqtts.client_dates,
    }
}

/// Of each wire's connections half may belong to devices that wait for a hook, a person or a neighbour.
fn waiting(config: &Config) -> [usize; Wire::ALL.len()] {
    std::array::from_fn(|at| {
        let connections = match Wire::ALL[at] {
            Wire::ThingsboardHttp => config.http.connections,
            Wire::ThingsboardMqtt => config.mqtt.connections,
        };
        (connections / 2).max(1) as usize
    })
}

/// Opens keys, store, engine and registry; on a thread that may block, because disks do.
async fn open(
    config: &Config,
    layout: &Layout,
    sessions: &Arc<Sessions>,
) -> anyhow::Result<(Engine, Registry)> {
    let unproven = Rate {
        per_second: config.provisioning.unproven_per_second,
        burst: config.provisioning.unproven_burst,
    };
    let settings = engine::Settings {
        unproven,
        patience: config::seconds(config.provisioning.patience_s),
        queue: config.provisioning.queue as usize,
        waiting: waiting(config),
        lease: config::seconds(config.operations.lease_s),
        ..engine::Settings::default()
    };
    let ports = Ports {
        connectors: connectors::connectors(config)?.into(),
        hooks: hooks::hooks(config)?.into(),
        ..Ports::system(Arc::clone(sessions) as Arc<dyn engine::Sessions>)
    };
    let options = store::Options {
        dir: layout.db.clone(),
        server: config.name.clone(),
        backend: config.database.backend(),
    };
    let session_ms = u64::from(config.sign_on.openid.session_h) * 3_600_000;
    let (layout, keys, backups) = (layout.clone(), config.keys.clone(), config.backups());
    let opened = tokio::task::spawn_blocking(move || {
        layout.make()?;
        let sources = Arc::new(KeySources::new(&keys, &layout));
        sources.check()?;
        sources.ask(keys.passphrase_from)?;
        let place = match &options.backend {
            store::Backend::Directory => layout.db.display().to_string(),
            store::Backend::Postgres(_) => "the PostgreSQL of database.url".to_owned(),
        };
        let store = Store::open_with(options, Arc::clone(&sources) as Arc<dyn KeySource>, ports.clock.now())
            .with_context(|| format!("cannot open {place}"))?;
        sources.offer(Vec::new());
        let engine = Engine::start(store.clone(), settings, &ports)?;
        let registry = Registry::new(store, ports, engine.told())
            .with_admin(admin_secret(&layout)?)
            .with_sign_on_life(session_ms)
            .with_backups(backups, concat!("musterd ", env!("CARGO_PKG_VERSION")));
        match registry.why_locked() {
            None => registry.ensure_admin()?,
            Some(why) => tracing::error!("the secrets are locked, and nobody is let in: {why}"),
        }
        Ok((engine, registry))
    });
    opened.await.context("opening the store")?
}

/// The first admin's secret: made on the first start, shown to a terminal only.
fn admin_secret(layout: &Layout) -> anyhow::Result<Secret> {
    let path = &layout.admin_secret;
    if !path.exists() {
        let mut bytes = Zeroizing::new([0_u8; ADMIN_SECRET_BYTES]);
        anyhow::ensure!(
            aws_lc_rs::rand::fill(&mut *bytes).is_ok(),
            "the operating system has no random numbers"
        );
        let text = Zeroizing::new(
            bytes.iter().fold(String::from("mst_"), |text, byte| text + &format!("{byte:02x}")),
        );
        make_private(path, text.as_bytes()).with_context(|| format!("cannot write {}", path.display()))?;
        show_on_terminal(&text);
    }
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let text = Zeroizing::new(text);
    anyhow::ensure!(
        text.trim().len() >= ADMIN_SECRET_BYTES,
        "{} holds no secret: remove it, and the next start makes a new one",
        path.display()
    );
    Ok(Secret::new(text.trim()))
}

/// Standard error may go to a file or a journal, where a secret must not be.
fn show_on_terminal(secret: &str) {
    use std::io::{IsTerminal, Write};
    let mut terminal = std::io::stderr();
    if terminal.is_terminal() {
        // Without a terminal the file has it all the same.
        let _ = writeln!(terminal, "The first admin's secret, shown this once: {secret}");
    }
}

async fn keep_up(figures: metrics_exporter_prometheus::PrometheusHandle, mut stop: Stop) {
    let mut times = tokio::time::interval(UPKEEP_EVERY);
    loop {
        tokio::select! {
            () = stop.asked() => return,
            _ = times.tick() => figures.run_upkeep(),
        }
    }
}

/// A locked server is opened by the keys themselves: a file that is put back, a token that is plugged in.
async fn unlock_when_possible(registry: Registry, mut stop: Stop) {
    let mut times = tokio::time::interval(UNLOCK_EVERY);
    while registry.why_locked().is_some() {
        tokio::select! {
            () = stop.asked() => return,
            _ = times.tick() => {}
        }
        let registry = registry.clone();
        // Why not is known already, and said by `secrets list`.
        let _ = tokio::task::spawn_blocking(move || registry.unlock_by_itself()).await;
    }
}

/// How `muster --data DIR` finds this server.
fn write_server_json(layout: &Layout, addresses: &Addresses) -> anyhow::Result<()> {
    let plain = addresses.http.first().map(|address| ("http", address));
    let Some((scheme, address)) = plain.or(addresses.https.first().map(|address| ("https", address))) else {
        return Ok(());
    };
    let json = serde_json::json!({
        "pid": std::process::id(),
        "http": format!("{scheme}://{}", reachable(*address)),
    });
    say_private(&layout.server_json, json.to_string().as_bytes())
        .with_context(|| format!("cannot write {}", layout.server_json.display()))
}

/// An address of this machine that a socket on "all addresses" can be reached at.
pub(crate) fn reachable(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        ip if !ip.is_unspecified() => address,
        IpAddr::V4(_) => (Ipv4Addr::LOCALHOST, address.port()).into(),
        IpAddr::V6(_) => (std::net::Ipv6Addr::LOCALHOST, address.port()).into(),
    }
}

/// Announces the server and lets it serve until a signal asks to stop: the first one gracefully, a second one
/// at once. SIGHUP reads the certificate anew.
///
/// # Errors
/// If signals cannot be heard, or the folder cannot be written to.
pub async fn until_signalled(server: Server) -> anyhow::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    // Whoever finds the server there may stop it there and then.
    server.announce()?;
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hang_up.recv() => server.reload(),
        }
    }
    tokio::select! {
        () = server.stop() => Ok(()),
        _ = terminate.recv() => ended_at_once(),
        _ = interrupt.recv() => ended_at_once(),
    }
}

fn ended_at_once() -> ! {
    tracing::warn!("asked twice: ending at once");
    std::process::exit(1)
}

/// The configuration file that a command names, or the defaults, with the environment over it.
///
/// # Errors
/// Every mistake, a line each.
pub fn load_config(file: Option<&Path>) -> anyhow::Result<Config> {
    Config::load(file, &config::environment()).map_err(|mistakes| {
        let lines: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
        anyhow::anyhow!(lines.join("\n"))
    })
}
