//! `muster device decommission`, `muster device timeline`, `muster decommission`

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use reqwest::Method;
use serde::Serialize;
use wire::admin::{
    self, DecommissionMany, Decommissioned, DepartureReport, Device, Operation, ReportKey, SignedReport,
    TimelineEntry,
};

use super::Scope;
use super::selector::Which;
use crate::client::Client;
use crate::confirm::Confirmation;
use crate::failure::Failure;
use crate::render::{self, Output, Row, Sheet};
use crate::{signature, values};

/// How often a leave that is waited for is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// How long the end of a leave is waited for before its report is made as things stand.
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// How many names are sent in one call; the server takes no more.
const MOST_TOGETHER: usize = 500;
/// How many names a dry run shows.
const NAMES_SHOWN: usize = 10;

/// Flags of `device decommission`.
#[derive(Debug, Args)]
#[group(id = "whom", required = true, multiple = true, args = ["name", "profile", "state", "labels", "selector", "name_prefix", "text", "seen_after", "seen_before"])]
pub(crate) struct Decommission {
    /// The device's registration id; without it, flags choose many
    #[arg(conflicts_with_all = ["profile", "state", "labels", "selector", "name_prefix", "text", "seen_after", "seen_before"])]
    name: Option<String>,
    #[command(flatten)]
    which: Which,
    /// For how long it can be taken back, such as 24h [default: the profile's]
    #[arg(long, value_name = "DURATION", value_parser = values::seconds)]
    grace: Option<u64>,
    /// Wait until everyone knows, and write a signed report of it into this file
    #[arg(long, value_name = "FILE", requires = "name")]
    report: Option<PathBuf>,
    #[command(flatten)]
    confirmation: Confirmation,
    #[command(flatten)]
    scope: Scope,
}

impl Decommission {
    pub(crate) async fn run(self, client: &Client, out: &mut Output) -> Result<(), Failure> {
        match &self.name {
            Some(name) => self.one(name, client, out).await,
            None => self.many(client, out).await,
        }
    }

    async fn one(&self, name: &str, client: &Client, out: &mut Output) -> Result<(), Failure> {
        if self.confirmation.is_dry_run() {
            let device: Device = client.get(&["devices", name], &self.scope.query()).await?;
            out.sheet(&Rehearsal(&device))?;
            return out.note("It would leave; nothing was changed.");
        }
        self.confirmation.ask(&format!("Decommission the device {name} and void its credentials?"))?;
        let path = ["devices", name, "decommission"];
        let request = admin::Decommission { grace_s: self.grace };
        let device: Device = client.send_json(Method::POST, &path, &self.scope.query(), &request).await?;
        out.sheet(&device)?;
        match &self.report {
            Some(file) => {
                wait(name, &self.scope, client).await?;
                report(name, Some(file), &self.scope, client, out).await
            }
            None => Ok(()),
        }
    }

    async fn many(&self, client: &Client, out: &mut Output) -> Result<(), Failure> {
        let chosen = self.walk(client).await?;
        if chosen.names.is_empty() {
            return out.note("No device that is not leaving already is chosen.");
        }
        if self.confirmation.is_dry_run() {
            return out.sheet(&chosen);
        }
        let count = chosen.names.len();
        self.confirmation.ask(&format!("Decommission {count} devices and void their credentials?"))?;
        let bar = ProgressBar::new(count as u64).with_style(style());
        let mut left = 0;
        for names in chosen.names.chunks(MOST_TOGETHER) {
            let request = DecommissionMany { names: Some(names.to_vec()), ..self.request(false, None) };
            left += self.post(&request, client).await?.names.len();
            bar.inc(names.len() as u64);
        }
        bar.finish_and_clear();
        out.note(&format!("{left} devices are leaving."))?;
        match count - left {
            0 => Ok(()),
            others => out.note(&format!(
                "{others} have left or changed since they were counted, and stay as they are."
            )),
        }
    }

    async fn post(&self, request: &DecommissionMany, client: &Client) -> Result<Decommissioned, Failure> {
        client.send_json(Method::POST, &["devices:decommission"], &[], request).await
    }

    /// Who is chosen, page by page. They alone leave: who comes in later was not agreed to.
    async fn walk(&self, client: &Client) -> Result<Decommissioned, Failure> {
        let mut all = Decommissioned { names: Vec::new(), would_retire: BTreeMap::new(), next: None };
        let mut cursor = None;
        loop {
            let page = self.post(&self.request(true, cursor), client).await?;
            all.names.extend(page.names);
            for (connector, count) in page.would_retire {
                *all.would_retire.entry(connector).or_default() += count;
            }
            cursor = page.next;
            if cursor.is_none() {
                return Ok(all);
            }
        }
    }

    fn request(&self, dry_run: bool, cursor: Option<String>) -> DecommissionMany {
        let selector = self.which.selector();
        DecommissionMany {
            tenant: self.scope.tenant.clone(),
            profile: selector.profile,
            state: selector.state,
            label: selector.label,
            labels: selector.labels,
            name_prefix: selector.name_prefix,
            text: selector.text,
            seen_after: selector.seen_after,
            seen_before: selector.seen_before,
            grace_s: self.grace,
            names: None,
            expected_count: None,
            cursor,
            dry_run,
        }
    }
}

fn style() -> ProgressStyle {
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} devices, {per_sec}, {eta} left");
    style.unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// What can be done with reports of leaving.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a signed report of what a device has left behind
    Report {
        /// Its registration id
        name: String,
        /// The file it is written to [default: standard output]
        #[arg(long, value_name = "FILE")]
        to: Option<PathBuf>,
        #[command(flatten)]
        scope: Scope,
    },
    /// Show the public key that reports are signed with, to be kept elsewhere
    Key,
    /// Check a report without any server: whether it is what was signed, and whether it adds up
    Verify {
        /// The report
        file: PathBuf,
        /// The key that was kept: 64 hexadecimal digits, or a file that holds them
        #[arg(long, value_name = "KEY")]
        key: Option<String>,
    },
}

impl Command {
    /// Verifying needs no server, and asks for none.
    pub(crate) async fn run(
        self,
        client: impl FnOnce() -> Result<Client, Failure>,
        out: &mut Output,
    ) -> Result<(), Failure> {
        match self {
            Self::Report { name, to, scope } => report(&name, to.as_deref(), &scope, &client()?, out).await,
            Self::Key => out.sheet(&client()?.get::<ReportKey>(&["report-key"], &[]).await?),
            Self::Verify { file, key } => verify(&file, key.as_deref(), out),
        }
    }
}

async fn report(
    name: &str,
    to: Option<&Path>,
    scope: &Scope,
    client: &Client,
    out: &mut Output,
) -> Result<(), Failure> {
    let signed: SignedReport = client.act(&["devices", name, "report"], &scope.query()).await?;
    let Some(file) = to else { return out.document(&signed) };
    let text = serde_json::to_string_pretty(&signed).map_err(|error| Failure::usage(error.to_string()))?;
    std::fs::write(file, text + "\n")
        .map_err(|error| Failure::usage(format!("cannot write {}: {error}", file.display())))?;
    out.note(&format!("The report is in {}.", file.display()))
}

/// Until nothing of the device's operations is left to do, or the wait is over.
async fn wait(name: &str, scope: &Scope, client: &Client) -> Result<(), Failure> {
    let until = Instant::now() + LONGEST_WAIT;
    let [tenant] = scope.query();
    loop {
        let mut open = false;
        let query = [tenant, ("device", Some(name))];
        let look = |page: Vec<Operation>| {
            open |= page.iter().any(|operation| operation.phase != "done");
            Ok(())
        };
        client.pages(&["operations"], &query, None, look).await?;
        if !open || Instant::now() > until {
            return Ok(());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn verify(file: &Path, key: Option<&str>, out: &mut Output) -> Result<(), Failure> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| Failure::usage(format!("cannot read {}: {error}", file.display())))?;
    let wrong = |what: String| Failure::findings(what).hint("compare it with another copy of the report");
    let signed: SignedReport =
        serde_json::from_str(&text).map_err(|error| wrong(format!("this is no report: {error}")))?;
    let report = checked(&signed, key.map(read_key).transpose()?.as_deref()).map_err(wrong)?;
    out.sheet(&report)?;
    out.note(if key.is_some() {
        "The report is what the server with this key signed."
    } else {
        "The report is whole. Whose key it is, only a key that was kept can tell: --key."
    })
}

/// What is signed before a zero byte and the report's text.
const FORMAT: &str = "muster/departure-report/v1";

/// The report, if it is what was signed, by the key that was kept where there is one, and adds up.
fn checked(signed: &SignedReport, kept: Option<&str>) -> Result<DepartureReport, String> {
    if signed.format != FORMAT {
        return Err(format!("`{}` is no format that this program knows", signed.format));
    }
    if kept.is_some_and(|kept| !kept.eq_ignore_ascii_case(&signed.public_key)) {
        return Err("the report was signed by another key than the one that was kept".to_owned());
    }
    let message = [signed.format.as_bytes(), b"\0", signed.report.as_bytes()].concat();
    if !signature::is_valid(&signed.public_key, &message, &signed.signature) {
        return Err("the signature does not belong to this report: it was changed".to_owned());
    }
    let report: DepartureReport = serde_json::from_str(&signed.report)
        .map_err(|error| format!("the report cannot be read: {error}"))?;
    if report.step_count != report.steps.len() {
        return Err("steps are missing from the report".to_owned());
    }
    Ok(report)
}

/// The key itself, or the one in a file that `muster decommission key` has written, in whatever format.
fn read_key(given: &str) -> Result<String, Failure> {
    if is_key(given) {
        return Ok(given.to_owned());
    }
    let text = std::fs::read_to_string(given)
        .map_err(|error| Failure::usage(format!("cannot read the key {given}: {error}")))?;
    let mut words = text.split(|character: char| !character.is_ascii_alphanumeric());
    words.find(|word| is_key(word)).map(str::to_owned).ok_or_else(|| {
        Failure::usage(format!("there is no key in {given}"))
            .hint("muster decommission key > FILE writes one")
    })
}

fn is_key(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// What happened to a device, the oldest first; the server tells the newest first.
pub(crate) async fn timeline(
    name: &str,
    limit: u64,
    scope: &Scope,
    client: &Client,
    out: &mut Output,
) -> Result<(), Failure> {
    let mut entries: Vec<TimelineEntry> = Vec::new();
    let path = ["devices", name, "timeline"];
    let gather = |page: Vec<TimelineEntry>| {
        entries.extend(page);
        Ok(())
    };
    client.pages(&path, &scope.query(), Some(limit), gather).await?;
    entries.reverse();
    let mut listing = out.listing();
    listing.page(&entries)?;
    listing.end("Nothing is known of it.")
}

// === How things are shown ===

impl Row for TimelineEntry {
    const COLUMNS: &'static [&'static str] = &["time", "what", "who", "detail"];

    fn cells(&self) -> Vec<String> {
        vec![self.at.clone(), self.kind.clone(), self.actor.clone(), render::detail(&self.detail)]
    }
}

/// A device that would leave.
#[derive(Serialize)]
#[serde(transparent)]
struct Rehearsal<'a>(&'a Device);

impl Sheet for Rehearsal<'_> {
    fn lines(&self) -> Vec<(&'static str, String)> {
        let mut lines = self.0.lines();
        lines.extend(self.0.would_retire.iter().map(|it| {
            let outside = it.external_id.as_deref().unwrap_or("no receipt: its answer never came");
            ("would be undone", format!("step {}, {}: {outside}", it.step, it.connector))
        }));
        lines
    }
}

impl Sheet for Decommissioned {
    fn lines(&self) -> Vec<(&'static str, String)> {
        let shown = self.names.iter().take(NAMES_SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
        let more = if self.names.len() > NAMES_SHOWN { ", …" } else { "" };
        let mut lines = vec![("would leave", format!("{} devices: {shown}{more}", self.names.len()))];
        let undone =
            |(connector, count): (&String, &u64)| ("would be undone", format!("{connector}: {count}"));
        lines.extend(self.would_retire.iter().map(undone));
        lines
    }
}

impl Sheet for ReportKey {
    fn lines(&self) -> Vec<(&'static str, String)> {
        vec![("public key", self.public_key.clone())]
    }
}

impl Sheet for DepartureReport {
    fn lines(&self) -> Vec<(&'static str, String)> {
        let mut lines = vec![
            ("device", self.device.clone()),
            ("id", self.device_id.clone()),
            ("tenant", self.tenant.clone()),
            ("state", format!("{} since {}", self.state, self.state_since)),
            ("server", self.server.clone()),
            ("made", self.made_at.clone()),
            ("everyone knows", if self.complete { "yes" } else { "not yet" }.to_owned()),
        ];
        lines.extend(self.steps.iter().map(|step| {
            let outside = step.external_id.as_deref().unwrap_or("-");
            ("step", format!("{} {}: {} ({outside})", step.action, step.connector, step.state))
        }));
        lines
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
    use wire::admin::{Gate, Step};

    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn signed_by(seed: u8, report: &DepartureReport) -> SignedReport {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap();
        let report = serde_json::to_string(report).unwrap();
        let signature = pair.sign(&[FORMAT.as_bytes(), b"\0", report.as_bytes()].concat());
        SignedReport {
            format: FORMAT.to_owned(),
            report,
            public_key: hex(pair.public_key().as_ref()),
            signature: hex(signature.as_ref()),
        }
    }

    fn departure() -> DepartureReport {
        let step = |step: u32, action: &str| Step {
            operation: u64::from(step),
            step: 0,
            action: action.to_owned(),
            connector: "erp".to_owned(),
            gate: Gate::AfterReply,
            state: "done".to_owned(),
            attempts: 1,
            external_id: Some("erp-1".to_owned()),
            receipt: None,
            fault: None,
            fault_message: None,
            due_at: None,
            server: None,
            changed_at: "2026-11-23T18:00:00Z".to_owned(),
        };
        DepartureReport {
            version: 1,
            server: "a".to_owned(),
            made_at: "2026-11-23T18:00:00Z".to_owned(),
            tenant: "default".to_owned(),
            device_id: "0f8f".to_owned(),
            device: "pump-17".to_owned(),
            profile: "pumps".to_owned(),
            state: "decommissioned".to_owned(),
            state_since: "2026-11-23T18:00:00Z".to_owned(),
            step_count: 2,
            steps: vec![step(1, "ensure"), step(2, "retire")],
            complete: true,
            journal_heads: vec![("1.7".to_owned(), "00ff".repeat(16))],
        }
    }

    #[test]
    fn a_report_is_believed_as_it_was_signed_and_in_no_other_byte() {
        let signed = signed_by(7, &departure());
        let kept = signed.public_key.clone();
        assert_eq!(checked(&signed, None), Ok(departure()));
        assert_eq!(checked(&signed, Some(&kept.to_uppercase())), Ok(departure()));
        let whole = serde_json::to_string(&signed).unwrap();
        for at in 0..whole.len() {
            let mut bytes = whole.clone().into_bytes();
            bytes[at] ^= 1;
            let Ok(changed) = serde_json::from_slice::<SignedReport>(&bytes) else { continue };
            assert!(changed == signed || checked(&changed, Some(&kept)).is_err(), "byte {at}");
        }
    }

    #[test]
    fn a_kept_key_is_read_as_it_was_shown() {
        let digits = "00ff".repeat(16);
        let key = ReportKey { public_key: digits.clone() };
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key");
        let table = format!("public key  {digits}\n");
        for text in [table, serde_json::to_string_pretty(&key).unwrap(), digits.clone() + "\n"] {
            std::fs::write(&file, text).unwrap();
            assert_eq!(read_key(file.to_str().unwrap()).ok(), Some(digits.clone()));
        }
        std::fs::write(&file, "something else").unwrap();
        assert!(read_key(file.to_str().unwrap()).is_err());
        assert_eq!(read_key(&digits).ok(), Some(digits));
    }

    #[test]
    fn a_report_by_another_key_shows_against_the_one_that_was_kept() {
        let (ours, theirs) = (signed_by(7, &departure()), signed_by(8, &departure()));
        assert!(checked(&theirs, None).is_ok());
        assert!(checked(&theirs, Some(&ours.public_key)).unwrap_err().contains("another key"));
    }

    #[test]
    fn a_report_without_one_of_its_steps_does_not_add_up_whoever_signs_it() {
        let mut short = departure();
        short.steps.pop();
        assert!(checked(&signed_by(7, &short), None).unwrap_err().contains("missing"));
        let other = SignedReport { format: "something/v2".to_owned(), ..signed_by(7, &departure()) };
        assert!(checked(&other, None).is_err());
    }
}
