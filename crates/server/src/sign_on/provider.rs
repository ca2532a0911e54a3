//! The provider's configuration and keys: asked for when they are first needed, kept, asked for anew when a token
//! names a key that is not among them.
//!
//! Tokens are strangers' texts, so a token makes us call the provider only so often. A provider that does not answer
//! is not asked by everybody who waits for it. What it said last goes on counting for a day: after an hour it is
//! asked anew behind everybody's back, so nobody waits for one that hangs.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use engine::Fault;
use jsonwebtoken::jwk::Jwk;
use serde::de::DeserializeOwned;
use tokio::sync::{Mutex, OwnedMutexGuard};
use wire::openid::{DISCOVERY_PATH, Discovery, KeySet};

use crate::config::OpenId;
use crate::outbound::{Outbound, Reply};

/// When what is kept is asked for anew.
const FRESH: Duration = Duration::from_secs(3600);
/// How long it counts while the provider has not said anything newer.
const OLDEST: Duration = Duration::from_secs(24 * 3600);
/// How long a failure is remembered.
const FAILED: Duration = Duration::from_secs(2);
/// How often unknown keys make us ask: so many times at once, and once more after so long.
const MOST_AT_ONCE: u32 = 5;
const ONCE_MORE: Duration = Duration::from_secs(10);

/// The most addresses that a client is kept for; a provider has four.
const MOST_CLIENTS: usize = 16;

/// What a provider has said of itself.
pub(super) struct Known {
    /// Where it answers.
    pub(super) discovery: Discovery,
    /// Its keys, those of them that are of use.
    pub(super) keys: Vec<Jwk>,
    at: Instant,
    fresh_until: Instant,
    counts_until: Instant,
}

/// A provider and what is known of it. Its copies are the same one.
#[derive(Clone)]
pub(super) struct Provider(Arc<Inner>);

struct Inner {
    config: OpenId,
    known: ArcSwapOption<Known>,
    turn: Arc<Mutex<Turn>>,
    clients: parking_lot::Mutex<HashMap<String, Arc<Outbound>>>,
}

/// Held by the one who asks.
struct Turn {
    failed: Option<(Instant, Fault)>,
    left: u32,
    refilled_at: Instant,
}

impl Provider {
    /// Nothing is known of it yet.
    pub(super) fn new(config: OpenId) -> Provider {
        let turn = Turn { failed: None, left: MOST_AT_ONCE, refilled_at: Instant::now() };
        Provider(Arc::new(Inner {
            config,
            known: ArcSwapOption::empty(),
            turn: Arc::new(Mutex::new(turn)),
            clients: Default::default(),
        }))
    }

    /// What is known of it; asked for where that is nothing, or too old.
    pub(super) async fn known(&self) -> Result<Arc<Known>, Fault> {
        let known = self.0.known.load_full();
        let now = Instant::now();
        match known {
            Some(known) if now < known.fresh_until => Ok(known),
            Some(known) if now < known.counts_until => {
                self.renew(&known);
                Ok(known)
            }
            known => self.ask(known.as_ref()).await,
        }
    }

    /// What it says now, because what it said `before` does not do. The same again where it was asked too often.
    pub(super) async fn newer(&self, before: &Arc<Known>) -> Result<Arc<Known>, Fault> {
        let allowed = self.0.turn.lock().await.take();
        if !allowed {
            return Ok(self.0.known.load_full().unwrap_or_else(|| Arc::clone(before)));
        }
        self.ask(Some(before)).await
    }

    /// Asks it while nobody waits, unless somebody asks already.
    fn renew(&self, old: &Arc<Known>) {
        let Ok(turn) = Arc::clone(&self.0.turn).try_lock_owned() else { return };
        let (this, old) = (self.clone(), Arc::clone(old));
        // What went wrong is in the log.
        tokio::spawn(async move { drop(this.ask_in(turn, Some(&old)).await) });
    }

    /// One asks, and all who wait meanwhile have the same answer.
    async fn ask(&self, before: Option<&Arc<Known>>) -> Result<Arc<Known>, Fault> {
        let turn = Arc::clone(&self.0.turn).lock_owned().await;
        self.ask_in(turn, before).await
    }

    async fn ask_in(
        &self,
        mut turn: OwnedMutexGuard<Turn>,
        before: Option<&Arc<Known>>,
    ) -> Result<Arc<Known>, Fault> {
        if let Some(known) = self.0.known.load_full()
            && before.is_none_or(|before| known.at > before.at)
        {
            return Ok(known);
        }
        if let Some((at, fault)) = &turn.failed
            && at.elapsed() < FAILED
        {
            return Err(fault.clone());
        }
        match self.asked().await {
            Ok(known) => {
                let known = Arc::new(known);
                turn.failed = None;
                self.0.known.store(Some(Arc::clone(&known)));
                Ok(known)
            }
            Err(fault) => {
                tracing::warn!(
                    issuer = self.0.config.issuer,
                    error = fault.message,
                    "the OpenID provider cannot be asked"
                );
                turn.failed = Some((Instant::now(), fault.clone()));
                Err(fault)
            }
        }
    }

    async fn asked(&self) -> Result<Known, Fault> {
        let at = Instant::now();
        let address = format!("{}/{DISCOVERY_PATH}", self.0.config.issuer.trim_end_matches('/'));
        let discovery: Discovery = self.get(&address).await?;
        if discovery.issuer != self.0.config.issuer {
            let told = format!("it calls itself `{}`, not `{}`", discovery.issuer, self.0.config.issuer);
            return Err(Fault::permanent("answer-invalid", told));
        }
        let keys: KeySet = self.get(&discovery.jwks_uri).await?;
        let keys = keys.keys.into_iter().filter_map(|key| serde_json::from_value(key).ok()).collect();
        Ok(Known { discovery, keys, at, fresh_until: at + FRESH, counts_until: at + OLDEST })
    }

    async fn get<T: DeserializeOwned>(&self, address: &str) -> Result<T, Fault> {
        let reply = self.outbound(address)?.get().await?;
        read(address, &reply)
    }

    /// A client for one of its addresses: always the same, so that its limit on calls at a time holds.
    pub(super) fn outbound(&self, address: &str) -> Result<Arc<Outbound>, Fault> {
        let mut clients = self.0.clients.lock();
        if let Some(client) = clients.get(address) {
            return Ok(Arc::clone(client));
        }
        let refused =
            |error: anyhow::Error| Fault::permanent("address-forbidden", format!("{address}: {error:#}"));
        let client = Arc::new(Outbound::new(&self.0.config.outbound(address)).map_err(refused)?);
        if clients.len() >= MOST_CLIENTS {
            clients.clear();
        }
        clients.insert(address.to_owned(), Arc::clone(&client));
        Ok(client)
    }
}

/// What the answer of a success says.
pub(super) fn read<T: DeserializeOwned>(address: &str, reply: &Reply) -> Result<T, Fault> {
    if !reply.status.is_success() {
        return Err(Fault::temporary("rejected", format!("{address} answered {}", reply.status)));
    }
    serde_json::from_slice(&reply.body).map_err(|error| {
        Fault::permanent("answer-invalid", format!("{address} answered what cannot be read: {error}"))
    })
}

impl Turn {
    /// Whether an unknown key may make us ask once more.
    fn take(&mut self) -> bool {
        while self.left < MOST_AT_ONCE && self.refilled_at.elapsed() >= ONCE_MORE {
            self.left += 1;
            self.refilled_at += ONCE_MORE;
        }
        if self.left == MOST_AT_ONCE {
            self.refilled_at = Instant::now();
        }
        let allowed = self.left > 0;
        self.left = self.left.saturating_sub(1);
        allowed
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::config::Config;

    /// A provider on this machine, of whom something is known that is no longer fresh.
    async fn stale() -> (Provider, Arc<Known>, TcpListener) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut config = Config::defaults().unwrap().sign_on.openid;
        config.issuer = format!("http://{}", listener.local_addr().unwrap());
        config.allow_http = true;
        config.allow_networks = vec!["127.0.0.0/8".parse().unwrap()];
        let now = Instant::now();
        let said = said(&config.issuer);
        let discovery = serde_json::from_str(&said).unwrap();
        let known = Known { discovery, keys: vec![], at: now, fresh_until: now, counts_until: now + OLDEST };
        let (provider, known) = (Provider::new(config), Arc::new(known));
        provider.0.known.store(Some(Arc::clone(&known)));
        (provider, known, listener)
    }

    fn said(issuer: &str) -> String {
        serde_json::json!({ "issuer": issuer, "authorization_endpoint": "", "token_endpoint": "",
            "jwks_uri": format!("{issuer}/keys") })
        .to_string()
    }

    async fn answer(listener: &TcpListener, body: &str) {
        let (mut socket, _) = listener.accept().await.unwrap();
        asked(&mut socket).await;
        let head = format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
        socket.write_all(&[head.as_bytes(), body.as_bytes()].concat()).await.unwrap();
    }

    async fn asked(socket: &mut TcpStream) {
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            request.push(socket.read_u8().await.unwrap());
        }
    }

    #[tokio::test]
    async fn nobody_waits_for_a_provider_that_hangs_while_what_it_said_last_counts() {
        let (provider, before, listener) = stale().await;
        for _ in 0..3 {
            let known = provider.known().now_or_never().expect("it is told at once").unwrap();
            assert!(Arc::ptr_eq(&known, &before));
        }
        // One asks, and only one.
        let (mut socket, _) = listener.accept().await.unwrap();
        asked(&mut socket).await;
        provider.known().now_or_never().expect("it is told at once").unwrap();
        assert!(listener.accept().now_or_never().is_none());
    }

    #[tokio::test]
    async fn what_is_asked_for_behind_everybodys_back_is_known_to_the_next_one() {
        let (provider, before, listener) = stale().await;
        provider.known().await.unwrap();
        answer(&listener, &said(&provider.0.config.issuer)).await;
        answer(&listener, r#"{"keys": []}"#).await;
        drop(provider.0.turn.lock().await);
        let known = provider.known().now_or_never().unwrap().unwrap();
        assert!(!Arc::ptr_eq(&known, &before) && known.at > before.at);
    }

    #[tokio::test]
    async fn what_has_counted_for_too_long_is_waited_for() {
        let (provider, before, listener) = stale().await;
        let now = Instant::now();
        let old = Known {
            discovery: before.discovery.clone(),
            keys: vec![],
            at: now,
            fresh_until: now,
            counts_until: now,
        };
        provider.0.known.store(Some(Arc::new(old)));
        assert!(provider.known().now_or_never().is_none());
        drop(listener);
        assert_eq!(provider.known().await.err().unwrap().code, "unreachable");
    }
}
