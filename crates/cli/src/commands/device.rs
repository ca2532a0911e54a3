//! `muster device`

use std::path::PathBuf;

use clap::Subcommand;
use jiff::Timestamp;
use reqwest::Method;
use wire::admin::{Device, DeviceCreate, TelemetryValue};

use super::selector::{self, Which};
use super::{Scope, bulk, import, leaving};
use crate::client::Client;
use crate::confirm::Confirmation;
use crate::failure::Failure;
use crate::render::{self, Output, Row, Sheet};

/// What can be done with devices.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Add a device that is expected
    Add {
        /// Its registration id
        name: String,
        /// Name of its profile
        #[arg(long, value_name = "NAME")]
        profile: String,
        /// A label; may be said several times. Without `=`: your own note
        #[arg(long = "label", value_name = "KEY=VALUE")]
        labels: Vec<String>,
        #[command(flatten)]
        scope: Scope,
    },
    /// List the devices
    List {
        #[command(flatten)]
        which: Box<Which>,
        /// At most this many
        #[arg(long, value_name = "N")]
        limit: Option<u64>,
        #[command(flatten)]
        scope: Scope,
    },
    /// Show one device
    Show {
        #[command(flatten)]
        named: Named,
    },
    /// Switch devices off: their sessions are closed, their credentials no longer accepted
    Disable(Box<bulk::Chosen>),
    /// Switch devices on again
    Enable(Box<bulk::Chosen>),
    /// Change note and labels of devices
    Label(Box<bulk::Label>),
    /// Remove a device: its credentials are void, its name is free at once
    Delete {
        #[command(flatten)]
        named: Named,
        #[command(flatten)]
        confirmation: Confirmation,
    },
    /// Let devices leave: credentials are void at once, every neighbour that knows them is told, and after the
    /// grace period their names are free
    Decommission(Box<leaving::Decommission>),
    /// Take a leaving device back while its grace period lasts; it is expected, as if it had never come
    Restore {
        #[command(flatten)]
        named: Named,
    },
    /// Show what happened to a device, the oldest first
    Timeline {
        #[command(flatten)]
        named: Named,
        /// At most this many, the newest
        #[arg(long, value_name = "N", default_value_t = 1000)]
        limit: u64,
    },
    /// Add the devices of a CSV file with the header name,type,label (type names the profile)
    ///
    /// May be repeated: a row whose device is there already, just so, changes nothing.
    Import {
        /// The file, - for standard input
        file: PathBuf,
        #[command(flatten)]
        scope: Scope,
    },
    /// Show the last value of everything a device has reported
    Telemetry {
        #[command(flatten)]
        named: Named,
    },
}

/// One device.
#[derive(Debug, clap::Args)]
pub(crate) struct Named {
    /// Its registration id
    name: String,
    #[command(flatten)]
    scope: Scope,
}

impl Named {
    fn path(&self) -> [&str; 2] {
        ["devices", &self.name]
    }
}

impl Command {
    pub(crate) async fn run(self, client: &Client, out: &mut Output) -> Result<(), Failure> {
        match self {
            Self::Add { name, profile, labels, scope } => {
                let (label, labels) = selector::note_and_labels(&labels)?;
                add(&DeviceCreate { name, profile, label, labels }, &scope, client, out).await
            }
            Self::List { which, limit, scope } => {
                let chosen = which.selector();
                let query: Vec<_> = scope.query().into_iter().chain(selector::query(&chosen)).collect();
                list(&query, limit, client, out).await
            }
            Self::Show { named } => show(&named, client, out).await,
            Self::Disable(chosen) => chosen.switch("disable", client, out).await,
            Self::Enable(chosen) => chosen.switch("enable", client, out).await,
            Self::Label(flags) => flags.run(client, out).await,
            Self::Delete { named, confirmation } => delete(&named, confirmation, client, out).await,
            Self::Decommission(flags) => flags.run(client, out).await,
            Self::Restore { named } => switch(&named, "restore", client, out).await,
            Self::Timeline { named, limit } => {
                leaving::timeline(&named.name, limit, &named.scope, client, out).await
            }
            Self::Import { file, scope } => import::run(&file, &scope, client, out).await,
            Self::Telemetry { named } => telemetry(&named, client, out).await,
        }
    }
}

async fn add(device: &DeviceCreate, scope: &Scope, client: &Client, out: &mut Output) -> Result<(), Failure> {
    let device: Device = client.send_json(Method::POST, &["devices"], &scope.query(), device).await?;
    out.sheet(&device)
}

async fn list(
    query: &[(&str, Option<&str>)],
    limit: Option<u64>,
    client: &Client,
    out: &mut Output,
) -> Result<(), Failure> {
    let mut listing = out.listing();
    client.pages(&["devices"], query, limit, |page: Vec<Device>| listing.page(&page)).await?;
    listing.end("There are no such devices.")
}

async fn show(named: &Named, client: &Client, out: &mut Output) -> Result<(), Failure> {
    let device: Device = client.get(&named.path(), &named.scope.query()).await?;
    out.sheet(&device)
}

async fn switch(named: &Named, verb: &str, client: &Client, out: &mut Output) -> Result<(), Failure> {
    let [noun, name] = named.path();
    let device: Device = client.act(&[noun, name, verb], &named.scope.query()).await?;
    out.sheet(&device)
}

async fn delete(named: &Named, sure: Confirmation, client: &Client, out: &mut Output) -> Result<(), Failure> {
    if sure.is_dry_run() {
        show(named, client, out).await?;
        return out.note("It would be deleted; nothing was changed.");
    }
    sure.ask(&format!("Delete the device {} and void its credentials?", named.name))?;
    client.call(Method::DELETE, &named.path(), &named.scope.query()).await?;
    out.note(&format!("The device {} is gone.", named.name))
}

async fn telemetry(named: &Named, client: &Client, out: &mut Output) -> Result<(), Failure> {
    let [noun, name] = named.path();
    let mut listing = out.listing();
    let path = [noun, name, "telemetry"];
    client.pages(&path, &named.scope.query(), None, |page: Vec<TelemetryValue>| listing.page(&page)).await?;
    listing.end("The device has reported nothing.")
}

// === How devices are shown ===

impl Row for Device {
    const COLUMNS: &'static [&'static str] = &["name", "profile", "state", "since", "credentials", "label"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.name.clone(),
            self.profile.clone(),
            render::word(&self.state),
            self.state_since.clone(),
            self.credentials_type.as_ref().map_or_else(|| "-".to_owned(), render::word),
            self.label.clone().unwrap_or_default(),
        ]
    }

    const MORE: &'static [&'static str] = &["id", "gateway", "labels", "last seen"];

    fn more(&self) -> Vec<String> {
        let gateway = if self.gateway { "yes" } else { "no" };
        let seen = render::or_dash(self.last_seen.as_deref());
        vec![self.id.clone(), gateway.to_owned(), labels_in_words(self), seen]
    }
}

impl Sheet for Device {
    fn lines(&self) -> Vec<(&'static str, String)> {
        let mut lines = vec![
            ("name", self.name.clone()),
            ("id", self.id.clone()),
            ("profile", self.profile.clone()),
            ("state", render::word(&self.state)),
            ("since", self.state_since.clone()),
        ];
        lines.extend(self.credentials_type.as_ref().map(|kind| ("credentials", render::word(kind))));
        lines.extend(self.gateway.then(|| ("gateway", "yes".to_owned())));
        lines.extend(self.label.clone().map(|label| ("label", label)));
        if !self.labels.is_empty() {
            lines.push(("labels", labels_in_words(self)));
        }
        lines.extend(self.last_seen.clone().map(|seen| ("last seen", seen)));
        lines.extend(self.attributes.iter().map(|object| ("attributes", object.to_string())));
        if !self.known_to.is_empty() {
            lines.push(("known to", self.known_to.join(", ")));
        }
        lines.extend(self.operation.map(|number| ("operation", format!("{number}, not done"))));
        lines.extend(self.grace_until.iter().map(|until| ("can be restored until", until.clone())));
        lines
    }
}

impl Row for TelemetryValue {
    const COLUMNS: &'static [&'static str] = &["key", "value", "time", "scope"];

    fn cells(&self) -> Vec<String> {
        vec![self.key.clone(), self.value.to_string(), time_in_words(self.ts_ms), render::word(&self.scope)]
    }
}

fn labels_in_words(device: &Device) -> String {
    let pairs: Vec<String> = device.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    pairs.join(",")
}

/// The time is the device's own word and may lie outside every calendar.
fn time_in_words(ts_ms: i64) -> String {
    Timestamp::from_millisecond(ts_ms).map_or_else(|_| format!("{ts_ms} ms"), |at| at.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_outside_the_calendar_is_shown_as_a_number() {
        assert_eq!(time_in_words(1_795_456_800_123), "2026-11-23T18:00:00.123Z");
        assert_eq!(time_in_words(i64::MAX), "9223372036854775807 ms");
    }
}
