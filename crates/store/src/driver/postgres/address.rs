//! Where a PostgreSQL is and how it is spoken to: an address as `psql` takes it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use domain::Secret;
use tokio_postgres::config::SslMode;
use tokio_postgres_rustls::MakeRustlsConnect;

use super::tls::{self, Trust};
use crate::StoreError;

/// How long a statement may take, and wait for what others have locked.
const SETTINGS: &str = "-c statement_timeout=15s -c lock_timeout=8s \
    -c idle_in_transaction_session_timeout=60s -c jit=off -c plan_cache_mode=force_custom_plan \
    -c client_min_messages=warning -c extra_float_digits=3";
const CONNECTED_WITHIN: Duration = Duration::from_secs(4);
/// How long bytes may stay unacknowledged before the connection counts as lost.
const ACKNOWLEDGED_WITHIN: Duration = Duration::from_secs(10);
const KEPT_ALIVE_AFTER: Duration = Duration::from_secs(10);

/// An address, which may hold a password, and what is trusted.
pub(crate) struct Address {
    config: tokio_postgres::Config,
    trust: Trust,
}

impl Address {
    /// Reads `postgres://user:password@host:port/database?sslmode=verify-full`, or `host=… user=…`.
    ///
    /// # Errors
    /// What is wrong with it, never the address itself.
    pub(crate) fn parse(
        url: &Secret,
        root_certificate: Option<&Path>,
        server: &str,
    ) -> Result<Address, String> {
        let (text, mode, root) = without_tls(url.expose());
        let mut config: tokio_postgres::Config =
            text.parse().map_err(|error: tokio_postgres::Error| explain(&error))?;
        let root = root.or_else(|| root_certificate.map(Path::to_owned));
        let (mode, trust) = tls::mode(mode.as_deref(), root.as_deref())?;
        if config.get_hosts().is_empty() {
            return Err("it names no host".to_owned());
        }
        if config.get_user().is_none() {
            return Err("it names no user".to_owned());
        }
        config
            .ssl_mode(mode)
            .connect_timeout(CONNECTED_WITHIN)
            .tcp_user_timeout(ACKNOWLEDGED_WITHIN)
            .keepalives_idle(KEPT_ALIVE_AFTER);
        if config.get_application_name().is_none() {
            config.application_name(format!("musterd {server}"));
        }
        Ok(Address { config, trust })
    }

    /// For connections that work in one schema.
    pub(super) fn config(
        &self,
        schema: &str,
    ) -> Result<(tokio_postgres::Config, MakeRustlsConnect), StoreError> {
        let mut config = self.config.clone();
        let given = config.get_options().unwrap_or_default();
        let options = format!("{given} {SETTINGS} -c search_path={schema}");
        config.options(options.trim());
        Ok((config, tls::connector(&self.trust)?))
    }

    /// Whether anything that is sent can be read by whoever is in between.
    pub(crate) fn is_in_clear(&self) -> bool {
        let local = |host: &tokio_postgres::config::Host| match host {
            tokio_postgres::config::Host::Unix(_) => true,
            tokio_postgres::config::Host::Tcp(name) => {
                name == "localhost" || name.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
            }
        };
        self.config.get_ssl_mode() != SslMode::Require && !self.config.get_hosts().iter().all(local)
    }
}

/// The words of an address that say how TLS is done: the driver knows fewer of them than we do.
fn without_tls(url: &str) -> (String, Option<String>, Option<PathBuf>) {
    let (mut mode, mut root) = (None, None);
    let mut keep = |word: &str| {
        match word.split_once('=') {
            Some(("sslmode", value)) => mode = Some(value.trim_matches('\'').to_owned()),
            Some(("sslrootcert", value)) => root = Some(PathBuf::from(value.trim_matches('\''))),
            _ => return true,
        }
        false
    };
    let text = match url.split_once('?') {
        Some((front, query)) if url.contains("://") => {
            let kept: Vec<&str> = query.split('&').filter(|word| keep(word)).collect();
            format!("{front}?{}", kept.join("&"))
        }
        _ if url.contains("://") => url.to_owned(),
        _ => {
            let kept: Vec<&str> = url.split_whitespace().filter(|word| keep(word)).collect();
            kept.join(" ")
        }
    };
    (text.trim_end_matches('?').to_owned(), mode, root)
}

fn explain(error: &tokio_postgres::Error) -> String {
    let cause = std::error::Error::source(error).map_or_else(String::new, |cause| format!(": {cause}"));
    format!("it is no address of a PostgreSQL{cause}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Result<Address, String> {
        Address::parse(&Secret::new(url), None, "a")
    }

    #[test]
    fn an_address_is_understood_in_both_forms() {
        for (url, mode) in [
            ("postgres://u:p@db.example:5433/muster", SslMode::Prefer),
            ("postgres://u@db.example/muster?sslmode=disable", SslMode::Disable),
            ("host=db.example user=u sslmode=require dbname=muster", SslMode::Require),
            ("postgres://u@/muster?host=/run/postgresql&sslmode=prefer&connect_timeout=3", SslMode::Prefer),
        ] {
            let address = parse(url).unwrap_or_else(|told| panic!("{url}: {told}"));
            assert_eq!(address.config.get_ssl_mode(), mode, "{url}");
            assert_eq!(address.config.get_user(), Some("u"), "{url}");
        }
    }

    #[test]
    fn what_is_wrong_is_told_without_the_password() {
        for (url, told) in [
            ("postgres://u:geheim@db:x/m", "no address"),
            ("postgres://u:geheim@db/m?sslmode=maybe", "sslmode"),
            ("postgres://u:geheim@db/m?sslmode=verify-full", "root certificate"),
            ("postgres://u:geheim@db/m?sslmode=verify-full&sslrootcert=/nowhere", "/nowhere"),
            ("host=db password=geheim", "no user"),
            ("user=u password=geheim", "no host"),
            ("nonsense geheim", "no address"),
        ] {
            let message = parse(url).err().unwrap_or_else(|| panic!("{url}"));
            assert!(message.contains(told) && !message.contains("geheim"), "{url}: {message}");
        }
    }
}
