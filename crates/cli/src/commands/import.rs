//! `muster device import`: the file streams to the server, and a result for each row streams back.

use std::io::SeekFrom;
use std::path::Path;

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, stream};
use indicatif::{ProgressBar, ProgressStyle};
use reqwest::{Body, Response};
use serde::de::DeserializeOwned;
use tokio::fs::File;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncSeekExt as _};
use wire::admin::{ImportEvent, ImportResult, ImportRow, ImportSummary};

use super::Scope;
use crate::client::Client;
use crate::failure::{Failure, Kind};
use crate::render::{self, Listing, Output, Row};
use crate::text;

/// How much of the file is read at once, in bytes.
const PIECE: usize = 64 * 1024;

/// Rows that are shown together.
pub(crate) const ROWS_AT_ONCE: usize = 256;

/// Sends the file and shows what became of its rows: all of them as JSON or YAML, the refused ones and the
/// counts as a table.
pub(crate) async fn run(
    file: &Path,
    scope: &Scope,
    client: &Client,
    out: &mut Output,
) -> Result<(), Failure> {
    let (body, bar) = open(file).await?;
    let response = client.stream(&["devices:import"], &scope.query(), "text/csv", body).await?;
    let summary = show(response, client, out, &bar).await?;
    bar.finish_and_clear();
    if summary.errors == 0 {
        return Ok(());
    }
    let told = match summary.errors {
        1 => "1 row was refused".to_owned(),
        errors => format!("{errors} rows were refused"),
    };
    Err(Failure::findings(told)
        .hint("correct these rows and import the whole file again: the others change nothing"))
}

async fn open(path: &Path) -> Result<(Body, ProgressBar), Failure> {
    let path = if path == Path::new("-") { Path::new("/dev/stdin") } else { path };
    let unreadable = |error| Failure::usage(format!("cannot read {}: {error}", path.display()));
    let mut file = File::open(path).await.map_err(unreadable)?;
    // A pipe has no end to look for.
    let length = file.seek(SeekFrom::End(0)).await.ok();
    if length.is_some() {
        file.rewind().await.map_err(unreadable)?;
    }
    let bar = progress_bar(length);
    Ok((Body::wrap_stream(pieces(file, bar.clone())), bar))
}

fn pieces(
    source: impl AsyncRead + Unpin + Send + 'static,
    bar: ProgressBar,
) -> impl Stream<Item = std::io::Result<Bytes>> + Send + 'static {
    stream::try_unfold((source, bar), |(mut source, bar)| async move {
        let mut piece = BytesMut::with_capacity(PIECE);
        let length = source.read_buf(&mut piece).await?;
        bar.inc(length as u64);
        Ok((length > 0).then(|| (piece.freeze(), (source, bar))))
    })
}

fn progress_bar(length: Option<u64>) -> ProgressBar {
    if !render::is_watched() {
        return ProgressBar::hidden();
    }
    let Some(length) = length else { return ProgressBar::new_spinner() };
    let style = ProgressStyle::with_template("{bar:30} {bytes} of {total_bytes}, {eta} left  {msg}");
    ProgressBar::new(length).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

async fn show(
    response: Response,
    client: &Client,
    out: &mut Output,
    bar: &ProgressBar,
) -> Result<ImportSummary, Failure> {
    let everything = out.format().is_document();
    let mut events = Lines::new(response);
    let mut shown =
        Shown { listing: out.listing(), rows: Vec::new(), everything, counts: ImportSummary::default() };
    while let Some(event) = events.next(client).await? {
        match event {
            ImportEvent::Row(row) => shown.row(row)?,
            ImportEvent::Summary(summary) => {
                shown.end(summary)?;
                out.note(&summary_in_words(&summary))?;
                return Ok(summary);
            }
        }
        bar.set_message(format!("{} refused", shown.counts.errors));
    }
    shown.flush()?;
    Err(Failure::new(Kind::Refused, "the server stopped in the middle of the import")
        .hint("import the file again: rows that are there already change nothing"))
}

fn summary_in_words(summary: &ImportSummary) -> String {
    let ImportSummary { created, unchanged, updated, errors } = summary;
    format!("{created} created, {updated} updated, {unchanged} unchanged, {errors} refused")
}

/// The rows on their way to the output.
struct Shown<'a> {
    listing: Listing<'a>,
    rows: Vec<ImportEvent>,
    everything: bool,
    counts: ImportSummary,
}

impl Shown<'_> {
    fn row(&mut self, row: ImportRow) -> Result<(), Failure> {
        let refused = row.result == ImportResult::Error;
        self.counts.errors += u64::from(refused);
        if self.everything || refused {
            self.rows.push(ImportEvent::Row(row));
        }
        if self.rows.len() >= ROWS_AT_ONCE { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), Failure> {
        self.listing.page(&self.rows)?;
        self.rows.clear();
        Ok(())
    }

    fn end(mut self, summary: ImportSummary) -> Result<(), Failure> {
        if self.everything {
            self.rows.push(ImportEvent::Summary(summary));
        }
        self.flush()?;
        self.listing.close()
    }
}

impl Row for ImportEvent {
    const COLUMNS: &'static [&'static str] = &["line", "name", "refused because"];

    fn cells(&self) -> Vec<String> {
        match self {
            Self::Row(row) => {
                let why = row.detail.as_deref().or(row.code.as_deref());
                vec![row.line.to_string(), row.name.clone(), render::or_dash(why)]
            }
            Self::Summary(summary) => vec![String::new(), String::new(), summary_in_words(summary)],
        }
    }
}

/// Reads an answer line by line, however it is cut into pieces.
pub(crate) struct Lines {
    response: Response,
    buffer: BytesMut,
    ended: bool,
}

impl Lines {
    pub(crate) fn new(response: Response) -> Self {
        Self { response, buffer: BytesMut::new(), ended: false }
    }

    /// The next line; `None` at the end.
    pub(crate) async fn next<T: DeserializeOwned>(&mut self, client: &Client) -> Result<Option<T>, Failure> {
        loop {
            if let Some(line) = next_line(&mut self.buffer) {
                if !line.iter().all(u8::is_ascii_whitespace) {
                    return parsed(&line).map(Some);
                }
                continue;
            }
            if self.ended {
                return Ok(None);
            }
            match self.response.chunk().await.map_err(|error| client.lost(&error))? {
                Some(piece) => self.buffer.extend_from_slice(&piece),
                None => {
                    self.ended = true;
                    self.buffer.extend_from_slice(b"\n");
                }
            }
        }
    }
}

fn next_line(buffer: &mut BytesMut) -> Option<BytesMut> {
    let end = buffer.iter().position(|byte| *byte == b'\n')?;
    Some(buffer.split_to(end + 1))
}

fn parsed<T: DeserializeOwned>(line: &[u8]) -> Result<T, Failure> {
    serde_json::from_slice(line).map_err(|error| {
        let line = String::from_utf8_lossy(line);
        let unreadable =
            format!("the server's answer cannot be read: {error}: {}", text::visible(line.trim()));
        Failure::new(Kind::Refused, unreadable).hint("muster and musterd may be of different versions")
    })
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt as _;

    use super::*;

    #[test]
    fn lines_are_found_however_they_are_cut() {
        let mut buffer = BytesMut::from(&b"{\"a\""[..]);
        assert!(next_line(&mut buffer).is_none());
        buffer.extend_from_slice(b":1}\n{");
        assert_eq!(next_line(&mut buffer).as_deref(), Some(&b"{\"a\":1}\n"[..]));
        assert!(next_line(&mut buffer).is_none());
        assert_eq!(&buffer[..], b"{");
    }

    #[tokio::test]
    async fn the_whole_file_is_sent() {
        let source: Vec<u8> = (0..200_000_u32).map(|n| n as u8).collect();
        let sent: Vec<Bytes> = pieces(std::io::Cursor::new(source.clone()), ProgressBar::hidden())
            .map(Result::unwrap)
            .collect()
            .await;
        assert!(sent.len() > 1);
        assert_eq!(sent.concat(), source);
    }
}
