//! `muster audit`

use std::fs;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use reqwest::Method;
use wire::admin::{AuditFault, AuditHead, AuditVerify, AuditVerifyRequest, AuditWriter};

use crate::client::Client;
use crate::failure::Failure;
use crate::render::{Output, Row};

/// What can be done with the journal.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Verify every chain of the journal; with a head exported before, also that nothing was cut off
    Verify {
        /// File that `muster audit head -o json` wrote earlier
        #[arg(long, value_name = "FILE")]
        head: Option<PathBuf>,
    },
    /// Show where the journal stands now; kept elsewhere (-o json), it proves later that nothing was cut off
    Head,
}

impl Command {
    pub(crate) async fn run(self, client: &Client, out: &mut Output) -> Result<(), Failure> {
        match self {
            Self::Verify { head } => verify(head.as_deref(), client, out).await,
            Self::Head => head_now(client, out).await,
        }
    }
}

async fn head_now(client: &Client, out: &mut Output) -> Result<(), Failure> {
    let head: AuditHead = client.get(&["audit", "head"], &[]).await?;
    if out.format().is_document() {
        return out.document(&head);
    }
    out.note(&format!("The journal as of {}", head.at))?;
    show_writers(&head.writers, out)
}

async fn verify(head: Option<&Path>, client: &Client, out: &mut Output) -> Result<(), Failure> {
    let request = AuditVerifyRequest { head: head.map(exported_head).transpose()? };
    let found: AuditVerify = client.send_json(Method::POST, &["audit", "verify"], &[], &request).await?;
    show_verification(&found, request.head.is_some(), out)?;
    if found.ok {
        return Ok(());
    }
    Err(Failure::findings(format!("the journal has {} faults", found.faults.len()))
        .hint("somebody or something has changed the database; compare it with a backup"))
}

fn exported_head(file: &Path) -> Result<AuditHead, Failure> {
    let unusable = |error: String| {
        Failure::usage(format!("{} is not an exported head: {error}", file.display()))
            .hint("muster audit head -o json > FILE writes one")
    };
    let text = fs::read_to_string(file).map_err(|error| unusable(error.to_string()))?;
    // JSON is YAML too.
    serde_norway::from_str(&text).map_err(|error| unusable(error.to_string()))
}

fn show_verification(found: &AuditVerify, with_head: bool, out: &mut Output) -> Result<(), Failure> {
    if out.format().is_document() {
        return out.document(found);
    }
    show_writers(&found.writers, out)?;
    if !found.faults.is_empty() {
        let mut listing = out.listing();
        listing.page(&found.faults)?;
        listing.close()?;
    }
    match (found.ok, with_head) {
        (true, true) => out.note("The journal is whole, and goes on from the exported head."),
        (true, false) => {
            out.note("The journal is whole. Whether its end was cut off shows only against an exported head.")
        }
        (false, _) => Ok(()),
    }
}

fn show_writers(writers: &[AuditWriter], out: &mut Output) -> Result<(), Failure> {
    let mut listing = out.listing();
    listing.page(writers)?;
    listing.end("The journal is empty.")
}

impl Row for AuditWriter {
    const COLUMNS: &'static [&'static str] = &["writer", "entries", "head", "link"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.writer.clone(),
            self.entries.to_string(),
            self.head_number.to_string(),
            self.head_link.clone(),
        ]
    }
}

impl Row for AuditFault {
    const COLUMNS: &'static [&'static str] = &["writer", "entry", "fault"];

    fn cells(&self) -> Vec<String> {
        vec![self.writer.clone(), self.number.to_string(), self.fault.clone()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_back_in_either_format() {
        let writer =
            AuditWriter { writer: "a".into(), entries: 3, head_number: 3, head_link: "00ff".repeat(16) };
        let head = AuditHead { at: "2026-11-23T18:00:00Z".into(), writers: vec![writer] };
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("head");
        for text in [serde_json::to_string_pretty(&head).unwrap(), serde_norway::to_string(&head).unwrap()] {
            fs::write(&file, text).unwrap();
            assert_eq!(exported_head(&file).unwrap(), head);
        }
        fs::write(&file, "something else").unwrap();
        assert!(exported_head(&file).is_err());
    }
}
