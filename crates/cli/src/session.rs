//! What `muster login` leaves: a session at a server, in a file that only its owner reads, renewed as long as the
//! server goes on with it.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use serde_json::json;
use wire::Secret;
use wire::admin::SignedOn;
use wire::thingsboard::rest::login::TOKEN_LIFE_S;

use crate::client::Client;
use crate::connection::Connection;
use crate::failure::Failure;

/// How long before its end a token is renewed, in seconds.
const EARLY_S: u64 = 60;

/// A session as it is kept.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Session {
    /// For `Authorization: Bearer`.
    #[serde(serialize_with = "Secret::serialize_clear")]
    pub(crate) token: Secret,
    /// For another token.
    #[serde(serialize_with = "Secret::serialize_clear")]
    refresh_token: Secret,
    /// When the token ends, in seconds since 1970.
    ends_at_s: u64,
}

/// What begins a session, or goes on with one.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Renewed {
    /// For `Authorization: Bearer`.
    pub(crate) token: Secret,
    /// For another token.
    pub(crate) refresh_token: Secret,
}

impl Session {
    /// One that has begun just now.
    pub(crate) fn begun(signed_on: &SignedOn) -> Session {
        Session {
            token: signed_on.token.clone(),
            refresh_token: signed_on.refresh_token.clone(),
            ends_at_s: now_s() + signed_on.expires_in_s,
        }
    }

    /// Reads it.
    ///
    /// # Errors
    /// Where there is none.
    pub(crate) fn read(file: &Path) -> Result<Session, Failure> {
        let unusable = |why: String| {
            Failure::usage(format!("{} holds no session: {why}", file.display()))
                .hint("sign on: muster login")
        };
        let text =
            fs::read(file).map(zeroize::Zeroizing::new).map_err(|error| unusable(error.to_string()))?;
        serde_json::from_slice(&text).map_err(|error| unusable(error.to_string()))
    }

    /// Keeps it: the file is whole, old or new, and nobody else may read it.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub(crate) fn write(&self, file: &Path) -> Result<(), Failure> {
        self.write_to(file)
            .map_err(|error| Failure::usage(format!("cannot write {}: {error}", file.display())))
    }

    fn write_to(&self, file: &Path) -> io::Result<()> {
        if let Some(folder) = file.parent() {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        }
        let text = zeroize::Zeroizing::new(serde_json::to_vec(self)?);
        let new = file.with_extension("new");
        let _ = fs::remove_file(&new);
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?.write_all(&text)?;
        fs::rename(&new, file)
    }

    /// Has it renewed where its token ends soon. What goes wrong is told by the call that needs the token.
    pub(crate) async fn keep(connection: &Connection, file: &Path) {
        let Ok(session) = Session::read(file) else { return };
        if session.ends_at_s > now_s() + EARLY_S {
            return;
        }
        let Ok(client) = Client::new(connection.clone()) else { return };
        let asked = json!({ "refreshToken": session.refresh_token.expose() });
        let Ok(renewed) = client.post_to::<Renewed>("/api/auth/token", &asked).await else { return };
        let ends_at_s = now_s() + TOKEN_LIFE_S.unsigned_abs();
        let renewed = Session { token: renewed.token, refresh_token: renewed.refresh_token, ends_at_s };
        let _ = renewed.write(file);
    }
}

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn what_is_written_is_read_back_by_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("muster/sessions/far.json");
        assert!(Session::read(&file).is_err());
        let signed_on =
            SignedOn { name: "ann".into(), token: "t".into(), expires_in_s: 9, refresh_token: "r".into() };
        for _ in 0..2 {
            Session::begun(&signed_on).write(&file).unwrap();
        }
        let session = Session::read(&file).unwrap();
        assert_eq!((session.token.expose(), session.refresh_token.expose()), ("t", "r"));
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
