//! Signed calls to a webhook as a connector makes them, and nothing else: what the neighbour allows.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Result, ensure};
use aws_lc_rs::hmac;
use testkit::receiver::Receiver;

/// What every call is made with.
struct Caller {
    client: reqwest::Client,
    url: String,
    key: hmac::Key,
    made: AtomicU64,
}

/// Calls a second, so many at a time, for so long.
///
/// # Errors
/// If one is not answered well.
pub fn measure(receiver: &Receiver, at_a_time: usize, time: Duration) -> Result<f64> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, receiver.secret()?.as_bytes());
    let client = reqwest::Client::builder().no_proxy().build()?;
    let caller = Arc::new(Caller { client, url: receiver.url(), key, made: AtomicU64::new(0) });
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let began = Instant::now();
    runtime.block_on(async {
        let callers: Vec<_> = (0..at_a_time)
            .map(|_| {
                let caller = Arc::clone(&caller);
                tokio::spawn(async move {
                    while began.elapsed() < time {
                        caller.call().await?;
                    }
                    anyhow::Ok(())
                })
            })
            .collect();
        for caller in callers {
            caller.await??;
        }
        anyhow::Ok(())
    })?;
    Ok(caller.made.load(Ordering::Relaxed) as f64 / began.elapsed().as_secs_f64())
}

impl Caller {
    /// One device joins, as `docs/connectors/webhook.md` says.
    async fn call(&self) -> Result<()> {
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        // Far behind the operations of any server.
        let operation = (1 << 50) + number;
        let body = format!(
            r#"{{"event":"device.ensure","key":"{operation}/0","operation":{operation},"step":0,"device":{{"id":"00000000-0000-4000-8000-{number:012x}","name":"d-{number:016x}","tenant":"default","profile":"pumps","label":null,"gateway":false,"attributes":{{}}}}}}"#
        );
        let reply = self
            .client
            .post(&self.url)
            .header("content-type", "application/json")
            .header("muster-event", "device.ensure")
            .header("muster-idempotency-key", format!("{operation}/0"))
            .header("muster-delivery", format!("{number:032x}"))
            .header("muster-signature", self.signature(&body)?)
            .body(body)
            .send()
            .await?;
        ensure!(reply.status().is_success(), "the neighbour answers {}", reply.status());
        reply.bytes().await?;
        Ok(())
    }

    fn signature(&self, body: &str) -> Result<String> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        let tag = hmac::sign(&self.key, format!("{now}.{body}").as_bytes());
        let digits: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(format!("t={now},v1={digits}"))
    }
}
