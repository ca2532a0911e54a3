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
        /// File that `muster audit head` wrote earlier, in whatever format
        #[arg(long, value_name = "FILE")]
        head: Option<PathBuf>,
    },
    /// Show where the journal stands now; kept elsewhere, it proves later that nothing was cut off
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

/// What a head begins with that is shown to people.
const AS_OF: &str = "The journal as of ";

async fn head_now(client: &Client, out: &mut Output) -> Result<(), Failure> {
    show_head(&client.get(&["audit", "head"], &[]).await?, out)
}

fn show_head(head: &AuditHead, out: &mut Output) -> Result<(), Failure> {
    if out.format().is_document() {
        return out.document(head);
    }
    out.note(&format!("{AS_OF}{}", head.at))?;
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
            .hint("muster audit head > FILE writes one")
    };
    let text = fs::read_to_string(file).map_err(|error| unusable(error.to_string()))?;
    let whole =
        |head: Option<AuditHead>| head.ok_or_else(|| unusable("a line of it is not whole".to_owned()));
    let head = match (text.strip_prefix(AS_OF), text.strip_prefix("writer,entries,head,link")) {
        (Some(table), _) => whole(head_in_table(table)),
        (_, Some(rows)) => whole(head_in_csv(rows)),
        // JSON is YAML too.
        (None, None) => serde_norway::from_str(&text).map_err(|error| unusable(error.to_string())),
    }?;
    // Cut off behind its heading it would be proof of everything.
    if head.writers.is_empty() {
        return Err(unusable("it names no writer".to_owned()));
    }
    Ok(head)
}

/// CSV does not say when; nothing is compared with it.
fn head_in_csv(rows: &str) -> Option<AuditHead> {
    let lines = rows.lines().map(str::trim).filter(|line| !line.is_empty());
    let writers = lines.map(|line| writer_in(line.split(','))).collect::<Option<_>>()?;
    Some(AuditHead { at: "1970-01-01T00:00:00Z".to_owned(), writers })
}

/// Reads back what `audit head` shows to people, from behind its first words.
fn head_in_table(table: &str) -> Option<AuditHead> {
    let mut lines = table.lines();
    let at = lines.next()?.to_owned();
    // Behind the heading.
    let writers = lines.skip(1).map(|line| writer_in(line.split_whitespace())).collect::<Option<_>>()?;
    Some(AuditHead { at, writers })
}

fn writer_in<'a>(mut words: impl Iterator<Item = &'a str>) -> Option<AuditWriter> {
    let (writer, entries, number, link) = (words.next()?, words.next()?, words.next()?, words.next()?);
    Some(AuditWriter {
        writer: writer.to_owned(),
        entries: entries.parse().ok()?,
        head_number: number.parse().ok()?,
        head_link: link.to_owned(),
    })
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
    use crate::render::Format;

    #[test]
    fn a_head_is_read_back_in_whatever_format_it_was_shown() {
        let writer =
            AuditWriter { writer: "a".into(), entries: 3, head_number: 3, head_link: "00ff".repeat(16) };
        let head = AuditHead { at: "2026-11-23T18:00:00Z".into(), writers: vec![writer] };
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("head");
        let empty = AuditHead { writers: Vec::new(), ..head.clone() };
        for format in [Format::Table, Format::Wide, Format::Json, Format::Yaml, Format::Csv] {
            let show = |head| {
                let mut out = Output::new(format, Box::new(fs::File::create(&file).unwrap()));
                show_head(head, &mut out).unwrap();
                exported_head(&file)
            };
            assert_eq!(show(&head).unwrap().writers, head.writers, "{format:?}");
            assert!(show(&empty).is_err(), "{format:?}");
        }
        for text in ["something else", "The journal as of now\n WRITER ENTRIES HEAD LINK\n a 3 3\n", ""] {
            fs::write(&file, text).unwrap();
            assert!(exported_head(&file).is_err(), "{text}");
        }
    }
}
