//! `muster trace`

use clap::Subcommand;
use reqwest::Method;
use wire::admin::{Exchange, Trace, TraceCreate};

use super::Scope;
use crate::client::Client;
use crate::failure::Failure;
use crate::render::{self, Output, Row};
use crate::values;

/// What can be done with traces.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Keep what a device sends and is told from now on; it need not be known yet
    On {
        /// What the device calls itself
        registration_id: String,
        /// For how long, such as 10m
        #[arg(long = "for", value_name = "DURATION", default_value = "10m", value_parser = values::seconds)]
        time: u64,
        #[command(flatten)]
        scope: Scope,
    },
    /// Show what was kept, the oldest first; secrets are taken out
    Show {
        /// What the device calls itself
        registration_id: String,
        #[command(flatten)]
        scope: Scope,
    },
    /// End a trace and forget what it kept
    Off {
        /// What the device calls itself
        registration_id: String,
        #[command(flatten)]
        scope: Scope,
    },
    /// List the traces
    List {
        #[command(flatten)]
        scope: Scope,
    },
}

impl Command {
    pub(crate) async fn run(self, client: &Client, out: &mut Output) -> Result<(), Failure> {
        match self {
            Self::On { registration_id, time, scope } => {
                let request = TraceCreate { name: registration_id, seconds: Some(time) };
                let begun: Trace =
                    client.send_json(Method::POST, &["traces"], &scope.query(), &request).await?;
                if out.format().is_document() {
                    return out.document(&begun);
                }
                let Trace { name, until, .. } = begun;
                out.note(&format!(
                    "{name} is traced until {until}. See what it says: muster trace show {name}"
                ))
            }
            Self::Show { registration_id, scope } => {
                let mut listing = out.listing();
                let page = |page: Vec<Exchange>| listing.page(&page);
                client.pages(&["traces", &registration_id], &scope.query(), None, page).await?;
                listing.end("Nothing was heard yet.")
            }
            Self::Off { registration_id, scope } => {
                client.call(Method::DELETE, &["traces", &registration_id], &scope.query()).await?;
                out.note(&format!("{registration_id} is not traced any more."))
            }
            Self::List { scope } => {
                let mut listing = out.listing();
                let page = |page: Vec<Trace>| listing.page(&page);
                client.pages(&["traces"], &scope.query(), None, page).await?;
                listing.end("Nothing is traced.")
            }
        }
    }
}

impl Row for Trace {
    const COLUMNS: &'static [&'static str] = &["name", "until", "exchanges", "dropped"];

    fn cells(&self) -> Vec<String> {
        vec![self.name.clone(), self.until.clone(), self.exchanges.to_string(), self.dropped.to_string()]
    }

    fn name(&self) -> String {
        self.name.clone()
    }
}

impl Row for Exchange {
    const COLUMNS: &'static [&'static str] = &["at", "source", "packet", "sent", "outcome", "code", "told"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.at.clone(),
            self.source.clone(),
            self.packet.clone(),
            self.sent.clone(),
            render::word(&self.outcome),
            render::or_dash(self.code.as_deref()),
            self.told.clone(),
        ]
    }
}
