//! The provider's configuration and keys: asked for when they are first needed, kept, asked for anew when a token
//! names a key that is not among them.
//!
//! Tokens are strangers' texts, so a token makes us call the provider only so often. A provider that does not answer
//! is not asked by everybody who waits for it, and what it said last goes on counting for a day.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use engine::Fault;
use jsonwebtoken::jwk::Jwk;
use serde::de::DeserializeOwned;
use tokio::sync::Mutex;
use wire::openid::{DISCOVERY_PATH, Discovery, KeySet};

use crate::config::OpenId;
use crate::outbound::{Outbound, Reply};

/// When what is kept is asked for anew.
const FRESH: Duration = Duration::from_secs(3600);
/// How long it counts while the provider cannot be asked.
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
}

/// A provider and what is known of it.
pub(super) struct Provider {
    config: OpenId,
    known: ArcSwapOption<Known>,
    turn: Mutex<Turn>,
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
        Provider {
            config,
            known: ArcSwapOption::empty(),
            turn: Mutex::new(turn),
            clients: Default::default(),
        }
    }

    /// What is known of it; asked for where that is nothing, or old.
    pub(super) async fn known(&self) -> Result<Arc<Known>, Fault> {
        let Some(known) = self.known.load_full() else { return self.ask(None).await };
        if known.at.elapsed() < FRESH {
            return Ok(known);
        }
        match self.ask(Some(&known)).await {
            Err(_) if known.at.elapsed() < OLDEST => Ok(known),
            asked => asked,
        }
    }

    /// What it says now, because what it said `before` does not do. The same again where it was asked too often.
    pub(super) async fn newer(&self, before: &Arc<Known>) -> Result<Arc<Known>, Fault> {
        let allowed = self.turn.lock().await.take();
        if !allowed {
            return Ok(self.known.load_full().unwrap_or_else(|| Arc::clone(before)));
        }
        self.ask(Some(before)).await
    }

    /// One asks, and all who wait meanwhile have the same answer.
    async fn ask(&self, before: Option<&Arc<Known>>) -> Result<Arc<Known>, Fault> {
        let mut turn = self.turn.lock().await;
        if let Some(known) = self.known.load_full()
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
                self.known.store(Some(Arc::clone(&known)));
                Ok(known)
            }
            Err(fault) => {
                tracing::warn!(
                    issuer = self.config.issuer,
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
        let address = format!("{}/{DISCOVERY_PATH}", self.config.issuer.trim_end_matches('/'));
        let discovery: Discovery = self.get(&address).await?;
        if discovery.issuer != self.config.issuer {
            let told = format!("it calls itself `{}`, not `{}`", discovery.issuer, self.config.issuer);
            return Err(Fault::permanent("answer-invalid", told));
        }
        let keys: KeySet = self.get(&discovery.jwks_uri).await?;
        let keys = keys.keys.into_iter().filter_map(|key| serde_json::from_value(key).ok()).collect();
        Ok(Known { discovery, keys, at })
    }

    async fn get<T: DeserializeOwned>(&self, address: &str) -> Result<T, Fault> {
        let reply = self.outbound(address)?.get().await?;
        read(address, &reply)
    }

    /// A client for one of its addresses: always the same, so that its limit on calls at a time holds.
    pub(super) fn outbound(&self, address: &str) -> Result<Arc<Outbound>, Fault> {
        let mut clients = self.clients.lock();
        if let Some(client) = clients.get(address) {
            return Ok(Arc::clone(client));
        }
        let refused =
            |error: anyhow::Error| Fault::permanent("address-forbidden", format!("{address}: {error:#}"));
        let client = Arc::new(Outbound::new(&self.config.outbound(address)).map_err(refused)?);
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
