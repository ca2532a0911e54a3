//! Which store, and how it is reached.

use std::path::PathBuf;

use domain::Secret;

use crate::driver::postgres::Address;

/// Which store.
#[derive(Clone, Debug)]
pub struct Options {
    /// The directory; made, for its owner only, where it is not there. Not used with a PostgreSQL.
    pub dir: PathBuf,
    /// The name under which this server writes its part of the journal. On a PostgreSQL each has its own.
    pub server: String,
    /// What keeps the data.
    pub backend: Backend,
}

/// What keeps the data.
#[derive(Clone, Debug, Default)]
pub enum Backend {
    /// SQLite in files of the directory, for one server.
    #[default]
    Directory,
    /// A PostgreSQL, for one server or several.
    Postgres(Postgres),
}

/// How a PostgreSQL is reached.
#[derive(Clone, Debug)]
pub struct Postgres {
    /// `postgres://user:password@host/database?sslmode=…`, as `psql` takes it.
    pub url: Secret,
    /// The same for the sealed secrets, where they have a role or a database of their own.
    pub secrets_url: Option<Secret>,
    /// PEM certificates that the server's must lead to.
    pub root_certificate: Option<PathBuf>,
    /// Most connections for the main tables at a time; secrets and telemetry have a few of their own.
    pub connections: usize,
}

impl Postgres {
    /// Whether the addresses can be understood.
    ///
    /// # Errors
    /// Which is wrong and why, never the address itself: it may hold a password.
    pub fn check(&self) -> Result<(), (AddressField, String)> {
        let understood = |url: &Secret, field| {
            let address = Address::parse(url, self.root_certificate.as_deref(), "");
            address.map(drop).map_err(|told| (field, told))
        };
        understood(&self.url, AddressField::Url)?;
        self.secrets_url.as_ref().map_or(Ok(()), |url| understood(url, AddressField::SecretsUrl))
    }
}

/// Which address of a [`Postgres`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressField {
    /// That of the main tables.
    Url,
    /// That of the secrets.
    SecretsUrl,
}
