//! `muster device disable`, `enable` and `label`, for one device or for many.

use std::collections::BTreeMap;

use clap::Args;
use reqwest::{Body, Method, Response};
use wire::admin::{Bulk, BulkDevice, BulkEvent, BulkResult, BulkSummary, Change, Device, DeviceSet};

use super::Scope;
use super::import::{Lines, ROWS_AT_ONCE};
use super::selector::{Which, note_and_labels};
use crate::client::Client;
use crate::confirm::Confirmation;
use crate::failure::{Failure, Kind};
use crate::render::{self, Output, Row};

/// The device of a name, or all that flags choose.
#[derive(Debug, Args)]
#[group(id = "whom", required = true, multiple = true, args = ["name", "profile", "state", "labels", "selector", "name_prefix", "text", "seen_after", "seen_before"])]
pub(crate) struct Chosen {
    /// The device's registration id; without it, flags choose many
    #[arg(conflicts_with_all = ["profile", "state", "labels", "selector", "name_prefix", "text", "seen_after", "seen_before"])]
    name: Option<String>,
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    confirmation: Confirmation,
    #[command(flatten)]
    scope: Scope,
}

/// Flags of `device label`.
#[derive(Debug, Args)]
pub(crate) struct Label {
    #[command(flatten)]
    chosen: Chosen,
    /// Give a label; may be said several times. Without `=`: give this note
    #[arg(long, value_name = "KEY=VALUE", required_unless_present = "remove")]
    set: Vec<String>,
    /// Take the label with this key away; may be said several times
    #[arg(long, value_name = "KEY")]
    remove: Vec<String>,
}

impl Chosen {
    /// Shuts devices out, or lets them in again.
    pub(crate) async fn switch(self, verb: &str, client: &Client, out: &mut Output) -> Result<(), Failure> {
        let Some(name) = &self.name else {
            return self.many(verb, Bulk::default(), client, out).await;
        };
        if self.confirmation.is_dry_run() {
            let device: Device = client.get(&["devices", name], &self.scope.query()).await?;
            out.sheet(&device)?;
            return out.note("Nothing was changed.");
        }
        let device: Device = client.act(&["devices", name, verb], &self.scope.query()).await?;
        out.sheet(&device)
    }

    /// Counts them first: those are agreed to, and no others.
    async fn many(&self, verb: &str, said: Bulk, client: &Client, out: &mut Output) -> Result<(), Failure> {
        let asked = Bulk { selector: Some(self.which.selector()), dry_run: true, ..said };
        let path = format!("devices:{verb}");
        if self.confirmation.is_dry_run() {
            let counts = self.send(&path, &asked, true, client, out).await?;
            return out.note(&format!("{}; nothing was changed.", in_words(&counts)));
        }
        let counts = self.send(&path, &asked, false, client, out).await?;
        if counts.changed == 0 {
            return out.note(&format!("{}; there is nothing to do.", in_words(&counts)));
        }
        let question = format!("Do `{verb}` for {} devices?", counts.changed);
        self.confirmation.ask(&question)?;
        let expected = counts.changed + counts.unchanged + counts.errors;
        let asked = Bulk { dry_run: false, expected_count: Some(expected), ..asked };
        let counts = self.send(&path, &asked, true, client, out).await?;
        out.note(&in_words(&counts))?;
        match counts.errors {
            0 => Ok(()),
            errors => Err(Failure::findings(format!("{errors} devices were refused"))),
        }
    }

    async fn send(
        &self,
        path: &str,
        asked: &Bulk,
        shown: bool,
        client: &Client,
        out: &mut Output,
    ) -> Result<BulkSummary, Failure> {
        let body = serde_json::to_vec(asked).map_err(|error| Failure::usage(error.to_string()))?;
        let query = self.scope.query();
        let response = client.stream(&[path], &query, "application/json", Body::from(body)).await?;
        show(response, shown, client, out).await
    }
}

impl Label {
    /// Sets notes and labels.
    pub(crate) async fn run(self, client: &Client, out: &mut Output) -> Result<(), Failure> {
        let (note, set) = note_and_labels(&self.set)?;
        let label = note.map_or(Change::Keep, Change::Set);
        let mut labels: BTreeMap<String, Option<String>> =
            set.into_iter().map(|(key, value)| (key, Some(value))).collect();
        labels.extend(self.remove.into_iter().map(|key| (key, None)));
        let chosen = self.chosen;
        let Some(name) = &chosen.name else {
            return chosen.many("label", Bulk { label, labels, ..Bulk::default() }, client, out).await;
        };
        if chosen.confirmation.is_dry_run() {
            let device: Device = client.get(&["devices", name], &chosen.scope.query()).await?;
            out.sheet(&device)?;
            return out.note("Nothing was changed.");
        }
        let said = DeviceSet { label, labels };
        let path = ["devices", name];
        let device: Device = client.send_json(Method::PATCH, &path, &chosen.scope.query(), &said).await?;
        out.sheet(&device)
    }
}

async fn show(
    response: Response,
    shown: bool,
    client: &Client,
    out: &mut Output,
) -> Result<BulkSummary, Failure> {
    let everything = out.format().is_document();
    let mut lines = Lines::new(response);
    let (mut listing, mut waiting) = (out.listing(), Vec::new());
    while let Some(event) = lines.next(client).await? {
        match event {
            BulkEvent::Summary(summary) => {
                if shown {
                    listing.page(&waiting)?;
                    listing.close()?;
                }
                return Ok(summary);
            }
            BulkEvent::Device(device) if everything || device.result == BulkResult::Error => {
                waiting.push(device);
            }
            BulkEvent::Device(_) => {}
        }
        if shown && waiting.len() >= ROWS_AT_ONCE {
            listing.page(&waiting)?;
            waiting.clear();
        }
    }
    Err(Failure::new(Kind::Refused, "the server stopped in the middle")
        .hint("say it again: what is done already changes nothing"))
}

fn in_words(counts: &BulkSummary) -> String {
    let BulkSummary { changed, unchanged, errors } = counts;
    format!("{changed} devices to change or changed, {unchanged} so already, {errors} refused")
}

impl Row for BulkDevice {
    const COLUMNS: &'static [&'static str] = &["name", "result", "refused because"];

    fn cells(&self) -> Vec<String> {
        let why = self.detail.as_deref().or(self.code.as_deref());
        vec![self.name.clone(), render::word(&self.result), render::or_dash(why)]
    }
}
