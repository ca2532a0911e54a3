//! `/devices:import`: CSV in, a line for each row out, neither held in memory.
//!
//! The body passes through a short channel to one thread, which reads rows, has them recorded some
//! thousands at a time, and passes lines back through another. Each side waits for the other, so a caller
//! has to read while it sends. What was recorded before a connection broke stays; the same file again
//! finds it unchanged.

use std::io::{self, Read};
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::body::Body;
use axum::extract::{Extension, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::{Buf, Bytes};
use csv::{ByteRecord, ReaderBuilder};
use domain::OperatorRefusal;
use engine::Registry;
use engine::registry::{Imported, NewDevice, Operator, RegistryError, Tenant};
use futures_util::StreamExt;
use tokio::sync::{mpsc, oneshot};
use wire::admin::{ImportEvent, ImportResult, ImportRow, ImportSummary};
use wire::quotes::{Place, Quotes};

use crate::listeners::Stopping;

use super::extract::{Ask, Course, InTenant, blocking};
use super::problem::No;

/// Rows that are recorded together.
const ROWS_TOGETHER: usize = 2000;
/// The most bytes of one row, quotes and all.
const MOST_ROW_BYTES: usize = 64 * 1024;
/// Pieces of the body that wait for the reader, and lines that wait for the caller.
const WAITING_PIECES: usize = 16;

/// `POST /devices:import`
pub(super) async fn import(
    State(registry): State<Registry>,
    Extension(operator): Extension<Operator>,
    Ask(within): Ask<InTenant>,
    course: Course,
    body: Body,
) -> Result<Response, No> {
    let asking = operator.clone();
    let tenant =
        blocking(&registry, move |registry| registry.tenant(&asking, within.tenant.as_deref())).await?;
    let stopping = course.begin();
    let (answer, lines) = mpsc::channel(WAITING_PIECES);
    let (began, has_begun) = oneshot::channel();
    let reader = BodyReader::new(pump(body));
    let summary = ImportSummary::default();
    let importer = Importer { registry, operator, tenant, stopping, answer, summary };
    tokio::task::spawn_blocking(move || importer.run(reader, began));
    has_begun.await.map_err(|_| No::internal())??;
    let lines = futures_util::stream::unfold(lines, |mut lines| async {
        let line: Bytes = lines.recv().await?;
        Some((Ok::<_, io::Error>(line), lines))
    });
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(lines)).into_response())
}

/// Passes the body on, piece by piece, until nobody wants more.
pub(super) fn pump(body: Body) -> mpsc::Receiver<io::Result<Bytes>> {
    let (pieces, received) = mpsc::channel(WAITING_PIECES);
    tokio::spawn(async move {
        let mut body = body.into_data_stream();
        while let Some(piece) = body.next().await {
            if pieces.send(piece.map_err(io::Error::other)).await.is_err() {
                return;
            }
        }
    });
    received
}

/// The body as a file whose lines all end in a line feed, the last one too: so each row's line can be told.
/// It gives up on a row that does not end, and on a quote that nothing closes.
pub(super) struct BodyReader {
    pieces: mpsc::Receiver<io::Result<Bytes>>,
    piece: Bytes,
    /// A carriage return that belongs to what follows, or is dropped.
    held: bool,
    ended: bool,
    /// Bytes read since the last row was complete.
    in_row: AtomicUsize,
    quotes: Quotes,
}

/// A quote that nothing closes: whatever stands behind it would be taken for the rest of its cell.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("The quote at {0} is not closed")]
pub(super) struct Unclosed(pub(super) Place);

/// The quote for which a reader gave up.
pub(super) fn unclosed(error: &csv::Error) -> Option<Unclosed> {
    match error.kind() {
        csv::ErrorKind::Io(error) => error.get_ref()?.downcast_ref().copied(),
        _ => None,
    }
}

impl BodyReader {
    pub(super) fn new(pieces: mpsc::Receiver<io::Result<Bytes>>) -> BodyReader {
        let (in_row, quotes) = (AtomicUsize::new(0), Quotes::new(b','));
        BodyReader { pieces, piece: Bytes::new(), held: false, ended: false, in_row, quotes }
    }

    /// The row before is complete.
    pub(super) fn begin_row(&self) {
        self.in_row.store(0, Ordering::Relaxed);
    }

    /// The next piece, or at the end one line feed more; `None` after it.
    fn next_piece(&mut self) -> io::Result<Option<Bytes>> {
        if self.ended {
            return Ok(None);
        }
        let piece = self.pieces.blocking_recv().transpose()?;
        self.ended = piece.is_none();
        if self.ended {
            self.is_closed()?;
        }
        Ok(piece.or(Some(Bytes::from_static(b"\n"))))
    }

    fn is_closed(&self) -> io::Result<()> {
        let open = self.quotes.open().map(Unclosed);
        open.map_or(Ok(()), |open| Err(io::Error::new(io::ErrorKind::InvalidData, open)))
    }

    /// Hands bytes on and drops each carriage return before a line feed.
    fn hand_on(&mut self, buffer: &mut [u8]) -> usize {
        let mut filled = 0;
        while let (Some(byte), Some(place)) = (self.piece.first().copied(), buffer.get_mut(filled)) {
            if self.held && byte != b'\n' {
                self.held = false;
                *place = b'\r';
                filled += 1;
                continue;
            }
            self.piece.advance(1);
            self.held = byte == b'\r';
            if !self.held {
                *place = byte;
                filled += 1;
            }
        }
        filled
    }
}

impl Read for BodyReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.in_row.load(Ordering::Relaxed) > MOST_ROW_BYTES {
            self.is_closed()?;
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a row does not end"));
        }
        loop {
            let filled = self.hand_on(buffer);
            if filled > 0 {
                self.quotes.follow(buffer.get(..filled).unwrap_or_default());
                self.in_row.fetch_add(filled, Ordering::Relaxed);
                return Ok(filled);
            }
            match self.next_piece()? {
                Some(piece) => self.piece = piece,
                None => return Ok(0),
            }
        }
    }
}

/// Where the columns stand.
struct Columns {
    name: usize,
    profile: usize,
    label: Option<usize>,
    count: usize,
}

/// A row that was read, or why it could not be.
struct ReadRow {
    line: u64,
    row: Result<NewDevice, (String, &'static str)>,
}

/// One import, on its thread.
struct Importer {
    registry: Registry,
    operator: Operator,
    tenant: Tenant,
    stopping: Stopping,
    answer: mpsc::Sender<Bytes>,
    summary: ImportSummary,
}

/// Why an import ends early.
enum Ended {
    /// The caller has gone.
    Unheard,
    /// The body or the store failed; without a summary the caller sees that it was cut short.
    Failed(String),
}

impl Importer {
    /// `began` is told once the header is read: until then an import can be refused as a whole.
    fn run(mut self, reader: BodyReader, began: oneshot::Sender<Result<(), No>>) {
        let mut csv = ReaderBuilder::new().has_headers(false).flexible(true).from_reader(reader);
        let columns = match columns(&mut csv) {
            Ok(columns) => columns,
            // Nobody waits any more where a send fails; there is nobody left to tell.
            Err(no) => return drop(began.send(Err(no))),
        };
        let _ = began.send(Ok(()));
        if let Err(Ended::Failed(why)) = self.rows(&mut csv, &columns) {
            tracing::warn!(error = %why, "an import was cut short");
        }
    }

    fn rows(&mut self, csv: &mut csv::Reader<BodyReader>, columns: &Columns) -> Result<(), Ended> {
        let mut waiting = Vec::with_capacity(ROWS_TOGETHER);
        let mut record = ByteRecord::new();
        loop {
            csv.get_ref().begin_row();
            let more = match csv.read_byte_record(&mut record) {
                Ok(more) => more,
                Err(error) => return self.broken(&waiting, &error),
            };
            if more {
                waiting.push(read_row(&record, columns, csv.position().line()));
            }
            if waiting.len() == ROWS_TOGETHER || !more {
                self.record(&waiting)?;
                waiting.clear();
            }
            if !more {
                return self.tell(&[ImportEvent::Summary(self.summary)]);
            }
            if waiting.is_empty() && self.stopping.is_asked() {
                return Err(Ended::Failed("the server stops".to_owned()));
            }
        }
    }

    /// What stands before a quote that nothing closes is recorded; the quote is told as a row of its own, the last one.
    fn broken(&mut self, waiting: &[ReadRow], error: &csv::Error) -> Result<(), Ended> {
        let Some(open) = unclosed(error) else { return Err(Ended::Failed(error.to_string())) };
        self.record(waiting)?;
        let detail = format!("{open}; nothing from here on was read.");
        let last = unreadable(open.0.line, "", &detail);
        count(&mut self.summary, last.result);
        self.tell(&[ImportEvent::Row(last), ImportEvent::Summary(self.summary)])
    }

    /// Records what could be read and tells what became of each row, in the order of the file.
    fn record(&mut self, rows: &[ReadRow]) -> Result<(), Ended> {
        let devices: Vec<&NewDevice> = rows.iter().filter_map(|row| row.row.as_ref().ok()).collect();
        let imported = self
            .registry
            .import_devices(&self.operator, &self.tenant, &devices)
            .map_err(|error| Ended::Failed(error.to_string()))?;
        let mut imported = imported.into_iter();
        let mut events = Vec::with_capacity(rows.len());
        for row in rows {
            let told = match &row.row {
                Ok(device) => imported.next().map(|result| told(row.line, &device.name, result)),
                Err((name, detail)) => Some(unreadable(row.line, name, detail)),
            };
            events.extend(told);
        }
        for event in &events {
            count(&mut self.summary, event.result);
        }
        self.tell(&events.into_iter().map(ImportEvent::Row).collect::<Vec<_>>())
    }

    fn tell(&self, events: &[ImportEvent]) -> Result<(), Ended> {
        let mut lines = Vec::with_capacity(events.len() * 80);
        for event in events {
            serde_json::to_writer(&mut lines, event).map_err(|error| Ended::Failed(error.to_string()))?;
            lines.push(b'\n');
        }
        if lines.is_empty() {
            return Ok(());
        }
        self.answer.blocking_send(lines.into()).map_err(|_| Ended::Unheard)
    }
}

fn columns(csv: &mut csv::Reader<BodyReader>) -> Result<Columns, No> {
    let mut header = ByteRecord::new();
    csv.read_byte_record(&mut header)
        .map_err(|error| unclosed(&error).map_or_else(|| error.to_string(), |open| format!("{open}.")))
        .map_err(|told| No::new(OperatorRefusal::CsvUnreadable, told))?;
    let names: Vec<String> = header.iter().map(column_name).collect();
    let place = |wanted: &str| names.iter().position(|name| name == wanted);
    let unknown = names.iter().find(|name| !matches!(name.as_str(), "name" | "type" | "label"));
    match (place("name"), place("type"), unknown) {
        (Some(name), Some(profile), None) => {
            Ok(Columns { name, profile, label: place("label"), count: names.len() })
        }
        (_, _, Some(unknown)) => Err(bad_header(format!("The column `{unknown}` is not known."))),
        _ => Err(bad_header("The first line does not name the columns `name` and `type`.".to_owned())),
    }
}

/// A spreadsheet's byte order mark belongs to the file, not to the first name.
fn column_name(bytes: &[u8]) -> String {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    String::from_utf8_lossy(bytes).trim().to_owned()
}

fn bad_header(detail: String) -> No {
    No::new(OperatorRefusal::CsvHeaderInvalid, detail)
}

/// `behind` is the line behind the row.
fn read_row(record: &ByteRecord, columns: &Columns, behind: u64) -> ReadRow {
    let inside = record.as_slice().iter().filter(|byte| **byte == b'\n').count() as u64;
    let line = behind.saturating_sub(1 + inside);
    let shown = || String::from_utf8_lossy(record.get(columns.name).unwrap_or_default()).into_owned();
    let bad = |why| ReadRow { line, row: Err((shown(), why)) };
    if record.len() > columns.count {
        return bad("The row has more fields than the header.");
    }
    let field = |at: usize| record.get(at).and_then(|bytes| std::str::from_utf8(bytes).ok());
    let (Some(name), Some(profile)) = (field(columns.name), field(columns.profile)) else {
        return bad("The row lacks a field, or it is not UTF-8 text.");
    };
    let label = match columns.label.and_then(|at| record.get(at)) {
        None => None,
        Some(bytes) => match std::str::from_utf8(bytes) {
            Ok(label) => Some(label.to_owned()),
            Err(_) => return bad("The label is not UTF-8 text."),
        },
    };
    let (name, profile) = (name.to_owned(), profile.trim().to_owned());
    ReadRow { line, row: Ok(NewDevice { name, profile, label, labels: Vec::new() }) }
}

fn told(line: u64, name: &str, result: Result<Imported, RegistryError>) -> ImportRow {
    let (result, error) = match result {
        Ok(Imported::Created) => (ImportResult::Created, None),
        Ok(Imported::Unchanged) => (ImportResult::Unchanged, None),
        Ok(Imported::Updated) => (ImportResult::Updated, None),
        Err(error) => (ImportResult::Error, Some(error)),
    };
    let code = error.as_ref().map(|error| error.code().to_owned());
    ImportRow { line, name: name.to_owned(), result, code, detail: error.map(|error| error.to_string()) }
}

fn unreadable(line: u64, name: &str, detail: &str) -> ImportRow {
    let (code, detail) = (Some(OperatorRefusal::RowUnreadable.code().to_owned()), Some(detail.to_owned()));
    ImportRow { line, name: name.to_owned(), result: ImportResult::Error, code, detail }
}

fn count(summary: &mut ImportSummary, result: ImportResult) {
    match result {
        ImportResult::Created => summary.created += 1,
        ImportResult::Unchanged => summary.unchanged += 1,
        ImportResult::Updated => summary.updated += 1,
        ImportResult::Error => summary.errors += 1,
    }
}
