//! Bulk import (section 11.5): a file within JSON, with a meaning for each column, or plain CSV that streams.

use std::collections::{HashMap, HashSet};
use std::io::Read as Source;

use axum::Json;
use axum::body::Body;
use axum::extract::{Extension, FromRequest, Request, State};
use axum::http::{HeaderMap, header};
use csv::{ByteRecord, ReaderBuilder};
use domain::Secret;
use domain::credentials::Basic;
use engine::registry::{self as ours, Chosen, DeviceSave, NewPoint, Operator, Tenant};
use engine::{AttributeScope, Registry};
use serde_json::{Map, Value};
use wire::quotes::unclosed_quote;
use wire::thingsboard::rest::bulk::{BulkRequest, BulkResult, Column, typed};
use wire::thingsboard::rest::devices::DeviceRequest;

use super::super::import::{BodyReader, Unclosed, pump, unclosed};
use super::ask::{Read, tenant};
use super::credentials::certificate;
use super::devices::{save_of, save_wrong};
use super::error::Wrong;
use super::login::blocking;
use crate::listeners::Stopping;
use crate::listeners::http::Patience;

/// Rows that are recorded together.
const ROWS_TOGETHER: usize = 500;
/// The most reasons that are told; more are only counted.
const MOST_REASONS: usize = 1000;

/// `POST /api/device/bulk_import`
pub(super) async fn import(
    State(registry): State<Registry>,
    Extension(operator): Extension<Operator>,
    Extension(stopping): Extension<Stopping>,
    patience: Option<Extension<Patience>>,
    request: Request,
) -> Result<Json<BulkResult>, Wrong> {
    if let Some(Extension(patience)) = patience {
        patience.grant();
    }
    if is_csv(request.headers()) {
        return stream(registry, operator, stopping, request.into_body()).await;
    }
    let Read(body) = Read::from_request(request, &()).await?;
    let asked = BulkRequest::parse(&body)?;
    drop(body);
    blocking(&registry, move |registry| {
        check(&asked)?;
        let mut importing = Importing::new(registry, &operator, asked.columns, asked.update, stopping)?;
        importing.run(asked.file.as_bytes(), asked.delimiter, asked.header)?;
        Ok(Json(importing.result))
    })
    .await
}

/// Plain CSV: the first line names the columns.
async fn stream(
    registry: Registry,
    operator: Operator,
    stopping: Stopping,
    body: Body,
) -> Result<Json<BulkResult>, Wrong> {
    let reader = BodyReader::new(pump(body));
    blocking(&registry, move |registry| {
        let mut csv = reader_of(reader, b',');
        let mut names = ByteRecord::new();
        csv.read_byte_record(&mut names).map_err(|error| unreadable(&error))?;
        let columns = headed(names.iter().map(column).collect())?;
        let mut importing = Importing::new(registry, &operator, columns, true, stopping)?;
        // All its lines end in a line feed, the last one too.
        importing.rows(&mut csv, BodyReader::begin_row, |_| true)?;
        Ok(Json(importing.result))
    })
    .await
}

fn is_csv(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("text/csv"))
}

/// What a column of plain CSV is called, and what it holds.
fn column(name: &[u8]) -> Column {
    let name = String::from_utf8_lossy(name.strip_prefix(b"\xef\xbb\xbf").unwrap_or(name)).trim().to_owned();
    match name.as_str() {
        "name" => Column::Name,
        "type" => Column::Type,
        "label" => Column::Label,
        "token" => Column::AccessToken,
        "clientId" => Column::MqttClientId,
        "username" => Column::MqttUserName,
        "password" => Column::MqttPassword,
        "certificate" => Column::X509,
        "gateway" => Column::IsGateway,
        "description" => Column::Description,
        "" => Column::Ignored,
        _ => Column::ServerAttribute(Some(name)),
    }
}

/// The columns of plain CSV, if rows can be read by them.
fn headed(columns: Vec<Column>) -> Result<Vec<Column>, Wrong> {
    let named = columns.iter().filter(|column| **column == Column::Name).count();
    match named {
        _ if columns.is_empty() => Err(Wrong::bad_request("Line 1, column 1: the file is empty")),
        1 => Ok(columns),
        0 => Err(Wrong::bad_request("Line 1 names no column `name`; commas stand between columns")),
        _ => Err(Wrong::bad_request("Line 1 names two columns `name`")),
    }
}

/// What is wrong with the file as a whole is found before anything is written.
fn check(asked: &BulkRequest) -> Result<(), Wrong> {
    if let Some(place) = unclosed_quote(&asked.file, asked.delimiter) {
        return Err(Wrong::bad_request(Unclosed(place).to_string()));
    }
    let file = asked.file.as_bytes();
    let mut csv = reader_of(file, asked.delimiter);
    let mut record = ByteRecord::new();
    let mut first = asked.header;
    while csv.read_byte_record(&mut record).map_err(|error| unreadable(&error))? {
        if !std::mem::take(&mut first) && record.len() > asked.columns.len() {
            let told = format!(
                "Line {} has more cells than there are columns: {}",
                line(&csv, &record, ends_in_lf(file)),
                asked.columns.len()
            );
            return Err(Wrong::bad_request(told));
        }
    }
    Ok(())
}

fn reader_of<R: Source>(source: R, delimiter: u8) -> csv::Reader<R> {
    ReaderBuilder::new().has_headers(false).flexible(true).delimiter(delimiter).from_reader(source)
}

/// The line at which a row begins that was just read. `ends_in_lf` says whether what is read up to a place ends in a
/// line feed: of CR LF the reader leaves the second half for later.
fn line<R: Source>(csv: &csv::Reader<R>, record: &ByteRecord, ends_in_lf: impl Fn(u64) -> bool) -> u64 {
    let behind = csv.position();
    let inside = record.as_slice().iter().filter(|byte| **byte == b'\n').count() as u64;
    behind.line().saturating_sub(inside + u64::from(ends_in_lf(behind.byte())))
}

fn ends_in_lf(file: &[u8]) -> impl Fn(u64) -> bool {
    move |behind| {
        let last = usize::try_from(behind).ok().and_then(|behind| behind.checked_sub(1));
        last.and_then(|last| file.get(last)) == Some(&b'\n')
    }
}

fn unreadable(error: &csv::Error) -> Wrong {
    let told = unclosed(error).map(|open| open.to_string());
    Wrong::bad_request(told.unwrap_or_else(|| format!("The file cannot be read: {error}")))
}

/// One import.
struct Importing<'a> {
    registry: &'a Registry,
    operator: &'a Operator,
    tenant: Tenant,
    columns: Vec<Column>,
    /// Whether attributes and time series of devices that were there are written.
    update: bool,
    /// What was recorded before the server is to stop stays; the caller is told that it was not all.
    stopping: Stopping,
    /// The names that stood in the file already.
    seen: HashSet<String>,
    result: BulkResult,
}

/// A row as its columns say it; empty cells are as if they were not there.
#[derive(Default)]
struct Row {
    line: u64,
    name: Option<String>,
    kind: Option<String>,
    label: Option<String>,
    info: Map<String, Value>,
    token: Option<Secret>,
    basic: Option<Basic>,
    certificate: Option<String>,
    shared: Vec<(String, Value)>,
    server: Vec<(String, Value)>,
    series: Vec<(String, Value)>,
}

impl<'a> Importing<'a> {
    fn new(
        registry: &'a Registry,
        operator: &'a Operator,
        columns: Vec<Column>,
        update: bool,
        stopping: Stopping,
    ) -> Result<Importing<'a>, Wrong> {
        let tenant = tenant(registry, operator)?;
        let (seen, result) = (HashSet::new(), BulkResult::default());
        Ok(Importing { registry, operator, tenant, columns, update, stopping, seen, result })
    }

    fn run(&mut self, file: &[u8], delimiter: u8, header: bool) -> Result<(), Wrong> {
        let mut csv = reader_of(file, delimiter);
        if header {
            csv.read_byte_record(&mut ByteRecord::new()).map_err(|error| unreadable(&error))?;
        }
        self.rows(&mut csv, |_| {}, ends_in_lf(file))
    }

    fn rows<R: Source>(
        &mut self,
        csv: &mut csv::Reader<R>,
        begin_row: impl Fn(&R),
        ends_in_lf: impl Fn(u64) -> bool,
    ) -> Result<(), Wrong> {
        let mut waiting = Vec::with_capacity(ROWS_TOGETHER);
        let mut record = ByteRecord::new();
        loop {
            begin_row(csv.get_ref());
            let more = csv.read_byte_record(&mut record).map_err(|error| self.cut_short(&error))?;
            if more {
                let line = line(csv, &record, &ends_in_lf);
                match self.read(line, &record) {
                    Ok(row) => waiting.push(row),
                    Err(why) => self.no(line, &why),
                }
            }
            if waiting.len() == ROWS_TOGETHER || !more {
                self.record(std::mem::take(&mut waiting))?;
            }
            if !more {
                return Ok(());
            }
            if waiting.is_empty() && self.stopping.is_asked() {
                return Err(Wrong::stopping());
            }
        }
    }

    /// What streams has been recorded in part by then.
    fn cut_short(&self, error: &csv::Error) -> Wrong {
        let BulkResult { created, updated, .. } = self.result;
        match unclosed(error) {
            Some(open) if created + updated > 0 => Wrong::bad_request(format!(
                "{open}; of the rows before it {created} were created and {updated} updated, and that stays"
            )),
            _ => unreadable(error),
        }
    }

    fn read(&self, line: u64, record: &ByteRecord) -> Result<Row, String> {
        if record.len() > self.columns.len() {
            return Err("The row has more cells than there are columns".to_owned());
        }
        let mut row = Row { line, ..Row::default() };
        for (cell, column) in record.iter().zip(&self.columns).filter(|(cell, _)| !cell.is_empty()) {
            let text = std::str::from_utf8(cell).map_err(|_| "A cell is not UTF-8 text".to_owned())?;
            row.take(column, text);
        }
        Ok(row)
    }

    /// Saves some rows together and counts what became of each.
    fn record(&mut self, rows: Vec<Row>) -> Result<(), Wrong> {
        let names: Vec<&str> = rows.iter().filter_map(|row| row.name.as_deref()).map(str::trim).collect();
        let there = self.registry.devices_called(&self.tenant, &names)?;
        let there: HashMap<String, ours::Device> =
            there.into_iter().map(|device| (device.name.clone(), device)).collect();
        let (mut saves, mut saved_rows) = (Vec::new(), Vec::new());
        for row in rows {
            match self.save(&row, &there) {
                Ok(save) => {
                    saves.push(save);
                    saved_rows.push(row);
                }
                Err(wrong) => self.no(row.line, wrong.message()),
            }
        }
        let saved = self.registry.save_devices(self.operator, &self.tenant, &saves)?;
        for (row, saved) in saved_rows.into_iter().zip(saved) {
            let done = saved.map_err(save_wrong).and_then(|saved| {
                self.tell_values(&row, &saved)?;
                Ok(saved.created)
            });
            match done {
                Ok(true) => self.result.created += 1,
                Ok(false) => self.result.updated += 1,
                Err(wrong) => self.no(row.line, wrong.message()),
            }
        }
        Ok(())
    }

    /// What a row makes of the device that has its name, or of a new one.
    fn save(&mut self, row: &Row, there: &HashMap<String, ours::Device>) -> Result<DeviceSave, Wrong> {
        let name = row.name.as_deref().map(str::trim).unwrap_or_default();
        let present = there.get(name);
        let info = present.and_then(|device| device.additional_info.as_deref());
        let info = info.and_then(|info| serde_json::from_str::<Map<String, Value>>(info).ok());
        let mut info = info.unwrap_or_default();
        if present.is_some_and(|device| device.gateway) {
            info.entry("gateway").or_insert(Value::Bool(true));
        }
        info.extend(row.info.clone());
        let request = DeviceRequest {
            id: present.map(|device| device.id.clone()),
            name: Some(name.to_owned()),
            kind: row.kind.clone().or_else(|| present.map(|device| device.profile.clone())),
            label: row.label.clone().or_else(|| present.and_then(|device| device.label.clone())),
            additional_info: Some(Value::Object(info)),
            version: present.map(|device| i64::try_from(device.revision).unwrap_or(i64::MAX)),
            ..DeviceRequest::default()
        };
        let save = save_of(request, row.credentials()?, None)?;
        if !self.seen.insert(name.to_owned()) {
            return Err(Wrong::bad_request("Device with such name already exists!"));
        }
        Ok(save)
    }

    fn tell_values(&self, row: &Row, saved: &ours::Saved) -> Result<(), Wrong> {
        if !saved.created && !self.update {
            return Ok(());
        }
        let id = &saved.device.id;
        for (scope, values) in [(AttributeScope::Shared, &row.shared), (AttributeScope::Server, &row.server)]
        {
            if !values.is_empty() {
                self.registry.save_attributes(self.operator, &self.tenant, id, scope, values)?;
            }
        }
        if !row.series.is_empty() {
            let points: Vec<NewPoint> = row.series.iter().map(point).collect();
            self.registry.add_points(self.operator, &self.tenant, id, &points)?;
        }
        Ok(())
    }

    fn no(&mut self, line: u64, why: &str) {
        self.result.errors += 1;
        if self.result.errors_list.len() < MOST_REASONS {
            self.result.errors_list.push(format!("Line {line}: {why}"));
        }
    }
}

fn point((key, value): &(String, Value)) -> NewPoint {
    let value = match value {
        Value::Bool(yes) => engine::Value::Bool(*yes),
        Value::Number(number) => match number.as_i64() {
            Some(number) => engine::Value::Integer(number),
            None => engine::Value::Double(number.as_f64().unwrap_or_default()),
        },
        Value::String(text) => engine::Value::Text(text.clone()),
        other => engine::Value::Json(other.to_string()),
    };
    NewPoint { key: key.clone(), at: None, value }
}

impl Row {
    fn take(&mut self, column: &Column, text: &str) {
        let owned = || text.to_owned();
        match column {
            Column::Name => self.name = Some(owned()),
            Column::Type => self.kind = Some(owned()),
            Column::Label => self.label = Some(owned()),
            Column::Description => drop(self.info.insert("description".to_owned(), owned().into())),
            Column::IsGateway => {
                let gateway = text.eq_ignore_ascii_case("true");
                self.info.insert("gateway".to_owned(), gateway.into());
            }
            Column::AccessToken => self.token = Some(Secret::new(text)),
            Column::X509 => self.certificate = Some(owned()),
            Column::MqttClientId => self.basic_parts().client_id = owned(),
            Column::MqttUserName => self.basic_parts().user_name = owned(),
            Column::MqttPassword => self.basic_parts().password = Secret::new(text),
            Column::SharedAttribute(Some(key)) => self.shared.push((key.clone(), typed(text))),
            Column::ServerAttribute(Some(key)) => self.server.push((key.clone(), typed(text))),
            Column::Timeseries(Some(key)) => self.series.push((key.clone(), typed(text))),
            Column::SharedAttribute(None)
            | Column::ServerAttribute(None)
            | Column::Timeseries(None)
            | Column::Ignored => {}
        }
    }

    fn basic_parts(&mut self) -> &mut Basic {
        let empty =
            || Basic { client_id: String::new(), user_name: String::new(), password: Secret::new("") };
        self.basic.get_or_insert_with(empty)
    }

    /// A certificate counts for more than MQTT basic credentials, and those for more than a token.
    fn credentials(&self) -> Result<Option<Chosen>, Wrong> {
        match (&self.certificate, &self.basic, &self.token) {
            (Some(text), ..) => certificate(text).map(Some),
            (None, Some(basic), _) => Ok(Some(Chosen::Basic(basic.clone()))),
            (None, None, Some(token)) => Ok(Some(Chosen::Token(token.clone()))),
            (None, None, None) => Ok(None),
        }
    }
}
