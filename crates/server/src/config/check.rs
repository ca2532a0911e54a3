//! From text to settings: every mistake with its place.

use std::ops::Range;
use std::path::Path;

use toml::de::{DeTable, DeValue};
use toml::{Spanned, Table, Value};

use super::{Config, DEFAULTS, Mistake, endpoints};
use crate::listeners::tls::Clients;

/// What the names of overriding variables begin with.
pub(super) const PREFIX: &str = "MUSTER__";

/// The longest lease of a step, in seconds.
pub(super) const LONGEST_LEASE_S: u32 = 600;

/// See [`Config::read`].
pub(super) fn read(
    text: &str,
    file: &Path,
    environment: &[(String, String)],
) -> Result<Config, Vec<Mistake>> {
    let source = Source { text, file };
    let (table, errors) = DeTable::parse_recoverable(text);
    let broken = |error: &toml::de::Error| source.mistake(&error.span().unwrap_or(0..0), error.message());
    let mut mistakes: Vec<Mistake> = errors.iter().map(broken).collect();
    if !mistakes.is_empty() {
        return Err(mistakes);
    }
    let mut merged = defaults().map_err(|message| vec![Mistake::of_file(file, &message)])?;
    add_endpoints(&mut merged, table.get_ref(), &source, &mut mistakes);
    overlay(&mut merged, table.get_ref(), "", &source, &mut mistakes);
    for (name, value) in environment {
        if let Err(message) = overlay_variable(&mut merged, name, value) {
            mistakes.push(Mistake { place: name.clone(), message });
        }
    }
    let origin = Origin { source: &source, table: table.get_ref(), environment };
    match serde_path_to_error::deserialize::<_, Config>(merged) {
        Err(error) => mistakes.push(origin.mistake(&error.path().to_string(), error.inner().message())),
        Ok(config) => {
            let found = problems(&config);
            mistakes.extend(found.into_iter().map(|(key, message)| origin.mistake(key, &message)));
            let found = endpoints::problems(&config);
            mistakes.extend(found.into_iter().map(|(key, message)| origin.mistake(&key, &message)));
            if mistakes.is_empty() {
                return Ok(config);
            }
        }
    }
    Err(mistakes)
}

fn defaults() -> Result<Table, String> {
    DEFAULTS.parse().map_err(|error: toml::de::Error| error.to_string())
}

/// Where the file names servers to call, puts the defaults of each in place, so that they are what its settings
/// are compared with.
fn add_endpoints(under: &mut Table, over: &DeTable<'_>, source: &Source<'_>, mistakes: &mut Vec<Mistake>) {
    let defaults = endpoints::defaults().unwrap_or_default();
    for section in endpoints::SECTIONS {
        let mut parts = Table::new();
        let named = over.get(section).and_then(|given| given.get_ref().as_table());
        for name in named.into_iter().flat_map(|named| named.keys()) {
            if !endpoints::is_name(name.get_ref()) {
                let told =
                    format!("`{section}.{}`: a name takes 1 to 64 of a-z, 0-9 and `-`", name.get_ref());
                mistakes.push(source.mistake(&name.span(), told));
            }
            parts.insert(name.get_ref().clone().into_owned(), Value::Table(defaults.clone()));
        }
        under.insert(section.to_owned(), Value::Table(parts));
    }
}

/// A file's text and name.
struct Source<'a> {
    text: &'a str,
    file: &'a Path,
}

impl Source<'_> {
    fn mistake(&self, span: &Range<usize>, message: impl Into<String>) -> Mistake {
        Mistake::at(self.file, self.text, span, message)
    }
}

/// Puts a table of the file over the defaults, noting keys that do not exist and values of the wrong kind.
fn overlay(
    under: &mut Table,
    over: &DeTable<'_>,
    path: &str,
    source: &Source<'_>,
    mistakes: &mut Vec<Mistake>,
) {
    for (key, value) in over {
        let path = join(path, key.get_ref());
        let Some(default) = under.get_mut(key.get_ref().as_ref()) else {
            mistakes.push(source.mistake(&key.span(), format!("there is no setting `{path}`")));
            continue;
        };
        match (default, value.get_ref()) {
            (Value::Table(under), DeValue::Table(over)) => overlay(under, over, &path, source, mistakes),
            (default, given) => match convert(default, given) {
                Some(value) => *default = value,
                None => {
                    let told = format!("`{path}` takes {}, not {}", kind(default), given.type_str());
                    mistakes.push(source.mistake(&value.span(), told));
                }
            },
        }
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

/// The value, if it is of the default's kind.
fn convert(default: &Value, given: &DeValue<'_>) -> Option<Value> {
    match (default, given) {
        (Value::String(_), DeValue::String(text)) => Some(Value::String(text.clone().into_owned())),
        (Value::Integer(_), DeValue::Integer(number)) => {
            i64::from_str_radix(&number.as_str().replace('_', ""), number.radix()).ok().map(Value::Integer)
        }
        (Value::Boolean(_), DeValue::Boolean(value)) => Some(Value::Boolean(*value)),
        (Value::Array(_), DeValue::Array(items)) => {
            let text = |item: &Spanned<DeValue<'_>>| item.get_ref().as_str().map(Value::from);
            items.iter().map(text).collect::<Option<Vec<_>>>().map(Value::Array)
        }
        _ => None,
    }
}

fn kind(default: &Value) -> &'static str {
    match default {
        Value::String(_) => "a text",
        Value::Integer(_) => "a whole number",
        Value::Boolean(_) => "true or false",
        Value::Array(_) => "a list of texts",
        _ => "a section",
    }
}

/// Puts one variable over the settings.
fn overlay_variable(under: &mut Table, name: &str, text: &str) -> Result<(), String> {
    let path = name.strip_prefix(PREFIX).unwrap_or(name).to_lowercase();
    let unknown = || format!("there is no setting `{}`", path.replace("__", "."));
    let mut keys: Vec<&str> = path.split("__").collect();
    let last = keys.pop().ok_or_else(unknown)?;
    let mut table = under;
    for key in keys {
        table = table.get_mut(key).and_then(Value::as_table_mut).ok_or_else(unknown)?;
    }
    let default = table.get_mut(last).filter(|value| !value.is_table()).ok_or_else(unknown)?;
    *default = convert_text(default, text)
        .ok_or_else(|| format!("`{}` takes {}", path.replace("__", "."), kind(default)))?;
    Ok(())
}

fn convert_text(default: &Value, text: &str) -> Option<Value> {
    match default {
        Value::String(_) => Some(Value::from(text)),
        Value::Integer(_) => text.trim().parse().ok().map(Value::Integer),
        Value::Boolean(_) => text.trim().parse().ok().map(Value::Boolean),
        Value::Array(_) => {
            let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
            Some(Value::Array(items.map(Value::from).collect()))
        }
        _ => None,
    }
}

/// Where settings came from: the environment, or else the file.
struct Origin<'a> {
    source: &'a Source<'a>,
    table: &'a DeTable<'a>,
    environment: &'a [(String, String)],
}

impl Origin<'_> {
    fn mistake(&self, path: &str, message: &str) -> Mistake {
        let message = format!("`{path}`: {}", message.trim());
        if let Some(place) = self.variable(path) {
            return Mistake { place, message };
        }
        // What is missing is told where its section begins.
        let section = || path.rsplit_once('.').and_then(|(section, _)| find(self.table, section));
        let place = find(self.table, path).or_else(section).unwrap_or(0..0);
        self.source.mistake(&place, message)
    }

    fn variable(&self, path: &str) -> Option<String> {
        let key = path.split('[').next().unwrap_or(path);
        let name = format!("{PREFIX}{}", key.replace('.', "__").to_uppercase());
        self.environment.iter().map(|(name, _)| name).find(|given| given.eq_ignore_ascii_case(&name)).cloned()
    }
}

/// The span of the value at a path such as `http.bind[1]`.
fn find(table: &DeTable<'_>, path: &str) -> Option<Range<usize>> {
    let mut parts = path.split(['.', '[']).map(|part| part.trim_end_matches(']'));
    let mut value = table.get(parts.next()?)?;
    for part in parts {
        value = match value.get_ref() {
            DeValue::Table(table) => table.get(part)?,
            DeValue::Array(items) => items.get(part.parse::<usize>().ok()?)?,
            _ => break,
        };
    }
    Some(value.span())
}

/// What the kinds of values cannot say: ranges, words, files that must be readable.
fn problems(config: &Config) -> Vec<(&'static str, String)> {
    let mut found = Vec::new();
    let mut range = |key, value: u32, least: u32, most: u32| {
        if !(least..=most).contains(&value) {
            found.push((key, format!("{value} is not between {least} and {most}")));
        }
    };
    range("http.connections", config.http.connections, 1, 1_000_000);
    range("http.header_timeout_s", config.http.header_timeout_s, 1, 3600);
    range("http.body_timeout_s", config.http.body_timeout_s, 1, 3600);
    range("http.idle_timeout_s", config.http.idle_timeout_s, 1, 86_400);
    range("http.header_bytes", config.http.header_bytes, 8192, 1_048_576);
    range("https.handshake_timeout_s", config.https.handshake_timeout_s, 1, 600);
    range("mqtts.handshake_timeout_s", config.mqtts.handshake_timeout_s, 1, 600);
    range("mqtt.connections", config.mqtt.connections, 1, 1_000_000);
    range("mqtt.connect_timeout_s", config.mqtt.connect_timeout_s, 1, 600);
    range("provisioning.unproven_per_second", config.provisioning.unproven_per_second, 1, 1_000_000);
    range("provisioning.unproven_burst", config.provisioning.unproven_burst, 1, 1_000_000);
    range("database.connections", config.database.connections, 4, 200);
    range("provisioning.patience_s", config.provisioning.patience_s, 1, 60);
    range("provisioning.queue", config.provisioning.queue, 1, 1_000_000);
    range("operations.lease_s", config.operations.lease_s, 2, LONGEST_LEASE_S);
    range("stop.grace_s", config.stop.grace_s, 0, 3600);
    found.extend(name_problem(&config.name));
    found.extend(database_problem(&config.database));
    if config.directory.as_os_str().is_empty() {
        found.push(("directory", "it is empty".to_owned()));
    }
    found.extend(key_problems(&config.keys));
    found.extend(https_problems(&config.https));
    found.extend(mqtts_problems(config));
    found.extend(front_problems(config));
    found.extend(super::sign_on::problems(&config.sign_on.openid));
    if let Err(error) = config.log.filter.parse::<tracing_subscriber::EnvFilter>() {
        found.push(("log.filter", error.to_string()));
    }
    found
}

/// An address is never repeated in what is told: it may hold a password.
fn database_problem(database: &super::Database) -> Option<(&'static str, String)> {
    if let store::Backend::Postgres(place) = database.backend() {
        let key = |field: store::AddressField| match field {
            store::AddressField::Url => "database.url",
            store::AddressField::SecretsUrl => "database.secrets_url",
        };
        return place.check().err().map(|(field, told)| (key(field), told));
    }
    let alone = !database.secrets_url.expose().is_empty();
    alone.then(|| ("database.secrets_url", "it is of use only beside database.url".to_owned()))
}

fn name_problem(name: &str) -> Option<(&'static str, String)> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let good = (1..=64).contains(&name.len()) && name.chars().all(plain);
    let told = || ("name", "it takes 1 to 64 letters, digits, `-`, `_` and `.`".to_owned());
    (!good).then(told)
}

fn key_problems(keys: &super::Keys) -> Vec<(&'static str, String)> {
    let mut found = Vec::new();
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    // Behind its provider's word the name has to fit into the 64 characters of a key's id.
    let good = |name: &str| (1..=48).contains(&name.len()) && name.chars().all(plain);
    for (key, name) in [("keys.credential", &keys.credential), ("keys.pkcs11.key", &keys.pkcs11.key)] {
        if !good(name) {
            found.push((key, "it takes 1 to 48 letters, digits, `-`, `_` and `.`".to_owned()));
        }
    }
    if keys.provider == super::Provider::Pkcs11 {
        let pkcs11 = &keys.pkcs11;
        let needed = [
            ("keys.pkcs11.module", pkcs11.module.as_os_str().is_empty()),
            ("keys.pkcs11.token", pkcs11.token.is_empty()),
            ("keys.pkcs11.pin_file", pkcs11.pin_file.as_os_str().is_empty()),
        ];
        let missing = needed.into_iter().filter(|(_, empty)| *empty);
        found.extend(missing.map(|(key, _)| (key, "it is needed for a key in a security module".to_owned())));
    }
    found
}

/// A header that nobody is trusted to send would close every connection.
fn front_problems(config: &Config) -> impl Iterator<Item = (&'static str, String)> {
    let fronts = [
        ("http.proxy_protocol", config.http.proxy_protocol, &config.http.trusted_proxies),
        ("https.proxy_protocol", config.https.proxy_protocol, &config.https.trusted_proxies),
        ("mqtt.proxy_protocol", config.mqtt.proxy_protocol, &config.mqtt.trusted_proxies),
        ("mqtts.proxy_protocol", config.mqtts.proxy_protocol, &config.mqtts.trusted_proxies),
    ];
    let alone = fronts.into_iter().filter(|(_, wanted, trusted)| *wanted && trusted.is_empty());
    alone.map(|(key, ..)| (key, "it needs trusted_proxies that may send the header".to_owned()))
}

fn https_problems(https: &super::Https) -> Vec<(&'static str, String)> {
    let unused = https.bind.is_empty();
    tls_problems(
        unused,
        [("https.certificate", &https.certificate), ("https.key", &https.key)],
        "it is needed for HTTPS",
    )
}

/// Files that are those of HTTPS are looked at there.
fn mqtts_problems(config: &Config) -> Vec<(&'static str, String)> {
    let [certificate, key] = config.mqtts.files(&config.https);
    let theirs = [config.https.certificate.as_path(), config.https.key.as_path()];
    if theirs == [certificate, key] && theirs.iter().any(|path| !path.as_os_str().is_empty()) {
        return Vec::new();
    }
    let unused = config.mqtts.bind.is_empty();
    tls_problems(
        unused,
        [("mqtts.certificate", certificate), ("mqtts.key", key)],
        "it is needed for MQTT over TLS",
    )
}

fn tls_problems(
    unused: bool,
    named: [(&'static str, &Path); 2],
    needed: &str,
) -> Vec<(&'static str, String)> {
    if unused && named.iter().all(|(_, path)| path.as_os_str().is_empty()) {
        return Vec::new();
    }
    let unreadable = |(key, path): (&'static str, &Path)| {
        if path.as_os_str().is_empty() {
            return Some((key, needed.to_owned()));
        }
        let error = std::fs::read(path).err()?;
        Some((key, format!("{}: {error}", path.display())))
    };
    let mut found: Vec<_> = named.into_iter().filter_map(unreadable).collect();
    let [(place, certificate), (_, key)] = named;
    if found.is_empty()
        && let Err(error) = crate::listeners::tls::server_config(certificate, key, Clients::Unasked)
    {
        found.push((place, format!("{error:#}")));
    }
    found
}
