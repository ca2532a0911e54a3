//! Signed calls: how a receiver knows that a call is ours, whole, and of now.
//!
//! `Muster-Signature: t=1795651200,v1=5257a8…` – `t` is the time of this attempt in Unix seconds, each `v1` the
//! HMAC-SHA-256, in hexadecimal digits, over `t`, a dot and the bytes of the body, under one shared secret. Each
//! attempt is signed anew, so a receiver can refuse what is older than a few minutes and a late retry still
//! passes. While a secret is being exchanged there are two `v1`, one under each, and a receiver takes either.
//!
//! Everything that a receiver acts on stands in the body, under the signature; the headers repeat it for its
//! convenience. The body of a step is the same at each attempt.

use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, ensure};
use aws_lc_rs::hmac;
use domain::{StepKey, Timestamp};
use engine::{Clock, Fault};
use reqwest::StatusCode;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use serde::Serialize;
use zeroize::Zeroizing;

use super::{Outbound, Reply, Settings};

const SIGNATURE: HeaderName = HeaderName::from_static("muster-signature");
const EVENT: HeaderName = HeaderName::from_static("muster-event");
const DELIVERY: HeaderName = HeaderName::from_static("muster-delivery");
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("muster-idempotency-key");

/// The shortest and the longest secret, in bytes.
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 16..=1024;

/// The secrets that calls are signed with: the current one, then the one before. The key schedule is all that is
/// kept; it is wiped when it is dropped, and prints nothing.
pub struct Keys(Vec<hmac::Key>);

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Keys({})", self.0.len())
    }
}

impl Keys {
    /// Reads each file: a text of 16 to 1024 bytes, mode 0600; a line end after it does not count.
    ///
    /// # Errors
    /// If one cannot be read, is open to others, or holds no secret of that length.
    pub fn read<'a>(files: impl IntoIterator<Item = &'a Path>) -> anyhow::Result<Keys> {
        files.into_iter().map(read_key).collect::<anyhow::Result<_>>().map(Keys)
    }

    /// The value of the header for a body at a time.
    fn sign(&self, now: Timestamp, body: &[u8]) -> String {
        let seconds = now.0.div_euclid(1000);
        let mut value = format!("t={seconds}");
        for key in &self.0 {
            let mut signed = hmac::Context::with_key(key);
            signed.update(format!("{seconds}.").as_bytes());
            signed.update(body);
            value.push_str(",v1=");
            hex(signed.sign().as_ref(), &mut value);
        }
        value
    }
}

fn read_key(path: &Path) -> anyhow::Result<hmac::Key> {
    let told = path.display();
    let found = std::fs::metadata(path).with_context(|| format!("cannot read {told}"))?;
    let mode = found.permissions().mode() & 0o777;
    ensure!(mode & 0o077 == 0, "{told} is open to others (mode {mode:03o}); close it with: chmod 600 {told}");
    let bytes = Zeroizing::new(std::fs::read(path).with_context(|| format!("cannot read {told}"))?);
    let secret = bytes.trim_ascii_end();
    let (least, most) = (SECRET_BYTES.start(), SECRET_BYTES.end());
    ensure!(
        SECRET_BYTES.contains(&secret.len()),
        "{told} holds no secret of {least} to {most} bytes; make one with: openssl rand -hex 32"
    );
    Ok(hmac::Key::new(hmac::HMAC_SHA256, secret))
}

fn hex(bytes: &[u8], text: &mut String) {
    for byte in bytes {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
    }
}

/// What is delivered.
#[derive(Debug)]
pub struct Delivery<'a, B> {
    /// The event, such as `device.ensure`; it stands in the body too.
    pub event: &'static str,
    /// The step, where it is one.
    pub key: Option<&'a StepKey>,
    /// The body, as JSON.
    pub body: &'a B,
    /// Statuses that are answers besides 2xx.
    pub also: &'a [StatusCode],
}

/// A client whose calls are signed.
pub struct SignedCalls {
    outbound: Outbound,
    keys: Keys,
    clock: Box<dyn Clock>,
}

impl SignedCalls {
    /// Prepares to call.
    ///
    /// # Errors
    /// As [`Outbound::new`].
    pub fn new(settings: &Settings, keys: Keys, clock: Box<dyn Clock>) -> anyhow::Result<SignedCalls> {
        Ok(SignedCalls { outbound: Outbound::new(settings)?, keys, clock })
    }

    /// Scheme, host and port, for faults and logs.
    pub fn origin(&self) -> String {
        self.outbound.origin()
    }

    /// The most calls at a time.
    pub fn most_at_once(&self) -> usize {
        self.outbound.most_at_once()
    }

    /// Delivers once. Whether to try again is the caller's business.
    ///
    /// # Errors
    /// As [`Outbound::post`].
    pub async fn deliver<B: Serialize>(&self, delivery: Delivery<'_, B>) -> Result<Reply, Fault> {
        let body = serde_json::to_vec(delivery.body).map_err(|_| unsaid())?;
        let headers = self.headers(&delivery, &body).ok_or_else(unsaid)?;
        self.outbound.post(headers, body, delivery.also).await
    }

    /// Asks whether a call would be taken: an event without a step.
    ///
    /// # Errors
    /// As [`Outbound::post`].
    pub async fn check<B: Serialize>(&self, event: &'static str, body: &B) -> Result<(), Fault> {
        self.deliver(Delivery { event, key: None, body, also: &[] }).await.map(drop)
    }

    /// The fault of an answer that came whole and means nothing: what it is, and what was to come.
    pub fn misunderstood(&self, answered: &str, expected: &str) -> Fault {
        let origin = self.origin();
        Fault::permanent("answer-invalid", format!("{origin} answered {answered}; it {expected}"))
    }

    fn headers<B>(&self, delivery: &Delivery<'_, B>, body: &[u8]) -> Option<HeaderMap> {
        let mut headers = HeaderMap::with_capacity(5);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(EVENT, HeaderValue::from_static(delivery.event));
        headers.insert(DELIVERY, text(&delivery_id()?)?);
        headers.insert(SIGNATURE, text(&self.keys.sign(self.clock.now(), body))?);
        if let Some(key) = delivery.key {
            headers.insert(IDEMPOTENCY_KEY, text(&key.to_string())?);
        }
        Some(headers)
    }
}

/// Names one attempt, so that both sides can find it in their logs.
fn delivery_id() -> Option<String> {
    let mut bytes = [0; 16];
    aws_lc_rs::rand::fill(&mut bytes).ok()?;
    let mut id = String::with_capacity(32);
    hex(&bytes, &mut id);
    Some(id)
}

fn text(value: &str) -> Option<HeaderValue> {
    HeaderValue::from_str(value).ok()
}

fn unsaid() -> Fault {
    Fault::permanent("unsaid", "the call cannot be put into words; this is a mistake of ours")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn secret_file(folder: &Path, name: &str, text: &str, mode: u32) -> std::path::PathBuf {
        let path = folder.join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    /// Expected values by `printf '1795651200.{"a":1}' | openssl dgst -sha256 -hmac SECRET`.
    #[test]
    fn a_signature_is_what_openssl_says() {
        let folder = tempfile::tempdir().unwrap();
        let new = secret_file(folder.path(), "new", "correct-horse-battery\n", 0o600);
        let old = secret_file(folder.path(), "old", "tr0ub4dor&3-tr0ub4dor&3", 0o400);
        let now = Timestamp(1_795_651_200_999);
        let one = Keys::read([new.as_path()]).unwrap().sign(now, br#"{"a":1}"#);
        assert_eq!(one, format!("t=1795651200,v1={NEW}"));
        let two = Keys::read([new.as_path(), old.as_path()]).unwrap().sign(now, br#"{"a":1}"#);
        assert_eq!(two, format!("t=1795651200,v1={NEW},v1={OLD}"));
    }

    const NEW: &str = "16a8ffeb3b42af4618d66bb691c9e270349be48e9d8a08fc10ddf90610f1ee2a";
    const OLD: &str = "196586d8ec0ca3ea5824771c37f251db1a1c3f348e8eba3482c051564c983f27";

    #[test]
    fn a_secret_that_others_can_read_or_anybody_guess_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let read = |text: &str, mode| {
            let path = secret_file(folder.path(), "secret", text, mode);
            let told = Keys::read([path.as_path()]).map_err(|error| format!("{error:#}"));
            fs::remove_file(path).unwrap();
            told
        };
        assert!(read("correct-horse-battery", 0o600).is_ok());
        for mode in [0o640, 0o604, 0o666] {
            assert!(read("correct-horse-battery", mode).unwrap_err().contains("chmod 600"));
        }
        for short in ["", "\n", "fifteen-letters\n"] {
            assert!(read(short, 0o600).unwrap_err().contains("openssl rand"));
        }
        assert!(Keys::read([Path::new("/nowhere")]).is_err());
    }

    #[test]
    fn keys_do_not_print_themselves() {
        let folder = tempfile::tempdir().unwrap();
        let path = secret_file(folder.path(), "secret", "correct-horse-battery", 0o600);
        assert_eq!(format!("{:?}", Keys::read([path.as_path()]).unwrap()), "Keys(1)");
    }
}
