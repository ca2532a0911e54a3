//! What a server listens at, and the certificates it shows there.

use std::path::Path;
use std::sync::Arc;

use tokio::net::TcpListener;

use super::Addresses;
use crate::config::{self, Bind, Config};
use crate::listeners::tls::{Certificate, Clients, Handshakes};
use crate::listeners::{self, Limit, Stop};

/// The server's own, for each listener that has TLS.
pub(super) struct Certificates {
    https: Option<Arc<Certificate>>,
    mqtts: Option<Arc<Certificate>>,
}

impl Certificates {
    pub(super) fn open(config: &Config) -> anyhow::Result<Certificates> {
        let open = |used: bool, certificate: &Path, key: &Path, clients| {
            used.then(|| Certificate::open(certificate, key, clients).map(Arc::new)).transpose()
        };
        let [certificate, key] = config.mqtts.files(&config.https);
        Ok(Certificates {
            https: open(
                !config.https.bind.is_empty(),
                &config.https.certificate,
                &config.https.key,
                Clients::Unasked,
            )?,
            mqtts: open(!config.mqtts.bind.is_empty(), certificate, key, Clients::Asked)?,
        })
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<Certificate>> {
        self.https.iter().chain(&self.mqtts)
    }
}

/// Sockets that listen and are not served yet.
pub(super) struct Sockets {
    http: Vec<TcpListener>,
    https: Vec<TcpListener>,
    mqtt: Vec<TcpListener>,
    mqtts: Vec<TcpListener>,
}

impl Sockets {
    pub(super) fn open(config: &Config) -> anyhow::Result<Sockets> {
        let sockets = Sockets {
            http: bind_all(&config.http.bind)?,
            https: bind_all(&config.https.bind)?,
            mqtt: bind_all(&config.mqtt.bind)?,
            mqtts: bind_all(&config.mqtts.bind)?,
        };
        let open = config.http.bind.iter().chain(&config.mqtt.bind).find(|bind| !bind.is_loopback());
        if let Some(bind) = open {
            tracing::warn!(%bind, "secrets travel in clear to whoever is on the network in between: prefer TLS");
        }
        Ok(sockets)
    }

    pub(super) fn addresses(&self) -> std::io::Result<Addresses> {
        let of = |sockets: &[TcpListener]| {
            sockets.iter().map(TcpListener::local_addr).collect::<std::io::Result<Vec<_>>>()
        };
        Ok(Addresses {
            http: of(&self.http)?,
            https: of(&self.https)?,
            mqtt: of(&self.mqtt)?,
            mqtts: of(&self.mqtts)?,
        })
    }

    pub(super) fn serve(
        self,
        config: &Config,
        http: &Arc<listeners::http::Shared>,
        mqtt: &Arc<listeners::mqtt::Shared>,
        certificates: &Certificates,
        stop: &Stop,
    ) {
        for certificate in certificates.all() {
            let (certificate, stop) = (Arc::clone(certificate), stop.clone());
            tokio::spawn(async move { certificate.follow(stop).await });
        }
        let handshakes = certificates.https.as_ref().map(|it| shaking(it, config.https.handshake_timeout_s));
        let limit = Limit::new(config.http.connections);
        for socket in self.http {
            let (limit, front) = (limit.clone(), config.http.front());
            tokio::spawn(listeners::http::serve(socket, limit, front, Arc::clone(http), stop.clone()));
        }
        for (socket, shaking) in with_each(self.https, handshakes) {
            let (limit, front, stop) = (limit.clone(), config.https.front(), stop.clone());
            tokio::spawn(listeners::http::serve_tls(socket, limit, front, Arc::clone(http), shaking, stop));
        }
        let handshakes = certificates.mqtts.as_ref().map(|it| shaking(it, config.mqtts.handshake_timeout_s));
        let limit = Limit::new(config.mqtt.connections);
        for socket in self.mqtt {
            let (limit, front) = (limit.clone(), config.mqtt.front());
            tokio::spawn(listeners::mqtt::serve(socket, limit, front, Arc::clone(mqtt), stop.clone()));
        }
        for (socket, shaking) in with_each(self.mqtts, handshakes) {
            let (limit, front, stop) = (limit.clone(), config.mqtts.front(), stop.clone());
            tokio::spawn(listeners::mqtt::serve_tls(socket, limit, front, Arc::clone(mqtt), shaking, stop));
        }
    }
}

fn shaking(certificate: &Arc<Certificate>, within_s: u32) -> Handshakes {
    Handshakes::new(Arc::clone(certificate), config::seconds(within_s))
}

/// The sockets of an encrypted listener, which share their turns; none without a certificate.
fn with_each(
    sockets: Vec<TcpListener>,
    handshakes: Option<Handshakes>,
) -> impl Iterator<Item = (TcpListener, Handshakes)> {
    sockets.into_iter().zip(std::iter::repeat(handshakes)).filter_map(|(socket, it)| Some((socket, it?)))
}

fn bind_all(places: &[Bind]) -> anyhow::Result<Vec<TcpListener>> {
    let mut sockets = Vec::new();
    for place in places {
        sockets.extend(listeners::bind(*place)?);
    }
    Ok(sockets)
}
