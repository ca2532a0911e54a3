//! What can go wrong with the store.

use domain::Refusal;

/// What went wrong. Never holds a secret.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No room on the disk. Nothing was written; the same call may succeed later.
    #[error("the disk is full")]
    Full,
    /// The database did not do it, in its own words.
    #[error("the database is not available: {0}")]
    Unavailable(String),
    /// The server's own keys are sealed, and the key-encryption key that opens them is not at hand. The same
    /// call succeeds once it is.
    #[error("the secrets are locked")]
    Locked,
    /// A sealed value is missing or does not open. Which one; never why.
    #[error("a sealed secret cannot be opened: {0}")]
    SecretUnreadable(String),
    /// A row does not hold what we wrote.
    #[error("the database holds something that was never written: {0}")]
    Corrupt(String),
    /// A newer server has changed the file so that this one cannot use it.
    #[error(
        "{file} was changed by a newer server: it needs one that knows schema {compatible_from}, \
         and this one knows schema {known}; start the newer server, or restore a backup from before the change"
    )]
    TooNew {
        /// The file's name.
        file: String,
        /// The schema that a server must know to use the file.
        compatible_from: u32,
        /// The newest schema that this server knows.
        known: u32,
    },
    /// Another process has the directory open.
    #[error("another server is running on {0}; stop it first, or choose another directory")]
    InUse(String),
    /// Another server wrote something first that must be unique. Nothing was written; the same call may succeed.
    #[error("another server was first: {0}")]
    Taken(String),
    /// A text with U+0000, which not every database can hold.
    #[error("a text holds the character U+0000: {0}")]
    Unstorable(&'static str),
}

impl StoreError {
    /// What a device is told.
    pub fn refusal(&self) -> Refusal {
        match self {
            StoreError::Full => Refusal::StorageFull,
            StoreError::Locked => Refusal::SecretsLocked,
            StoreError::SecretUnreadable(_) => Refusal::SecretUnreadable,
            StoreError::Unstorable(_) => Refusal::RequestMalformed,
            StoreError::Unavailable(_)
            | StoreError::Taken(_)
            | StoreError::Corrupt(_)
            | StoreError::TooNew { .. }
            | StoreError::InUse(_) => Refusal::StoreUnavailable,
        }
    }

    pub(crate) fn corrupt(what: &str, value: impl std::fmt::Debug) -> StoreError {
        StoreError::Corrupt(format!("{what} {value:?}"))
    }
}

impl From<std::io::Error> for StoreError {
    fn from(error: std::io::Error) -> StoreError {
        match error.kind() {
            std::io::ErrorKind::StorageFull => StoreError::Full,
            _ => StoreError::Unavailable(error.to_string()),
        }
    }
}

/// A text that every database can hold.
pub(crate) fn storable<'a>(text: &'a str, what: &'static str) -> Result<&'a str, StoreError> {
    if text.contains('\0') { Err(StoreError::Unstorable(what)) } else { Ok(text) }
}
