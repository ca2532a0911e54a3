//! Time series of devices (section 11.4).

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Extension, Path, State};
use axum::http::StatusCode;
use bytes::Bytes;
use domain::Timestamp;
use engine::registry::{NewPoint, Operator, Reading, Registry};
use engine::{LastValue, Latest, as_json};
use serde::Deserialize;
use serde_json::Value;
use wire::thingsboard::ErrorCode;
use wire::thingsboard::rest::telemetry::{Aggregation, Point};
use wire::thingsboard::telemetry;

use super::ask::tenant;
use super::error::Wrong;
use super::login::blocking;
use super::target::{Asked, device, keys, keys_to_delete, of_device};

/// Points of a key where nobody says how many.
const USUAL_LIMIT: usize = 100;
/// The most points in an answer.
const MOST_POINTS: usize = 50_000;
/// The most keys of one question.
const MOST_KEYS: usize = 1000;
/// The most points that are put together.
const MOST_TOGETHER: usize = 200_000;
/// The most stretches of time into which points are put together, as ThingsBoard has it.
const MOST_STRETCHES: i64 = 700;

/// Points by key, in the order of the keys.
type Series = BTreeMap<String, Vec<Point>>;

/// What is asked for.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Wanted {
    keys: Option<String>,
    start_ts: Option<i64>,
    end_ts: Option<i64>,
    interval: Option<i64>,
    limit: Option<usize>,
    agg: Option<String>,
    order_by: Option<String>,
    #[serde(default)]
    use_strict_data_types: bool,
}

/// What is to be deleted.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Gone {
    keys: Option<String>,
    #[serde(default)]
    delete_all_data_for_keys: bool,
    start_ts: Option<i64>,
    end_ts: Option<i64>,
    #[serde(default = "yes")]
    delete_latest: bool,
    #[serde(default)]
    rewrite_latest_if_deleted: bool,
}

fn yes() -> bool {
    true
}

/// `POST /api/plugins/telemetry/{entity}/{id}/timeseries/{scope}`; the scope is any word.
pub(super) async fn save(
    registry: State<Registry>,
    operator: Extension<Operator>,
    Path((kind, id, _)): Path<(String, String, String)>,
    body: Bytes,
) -> Result<StatusCode, Wrong> {
    save_to(registry, operator, device(&kind, &id)?, &body).await
}

/// `POST …/timeseries/{scope}/{ttl}`: how long values are kept is the server's own business.
pub(super) async fn save_for(
    registry: State<Registry>,
    operator: Extension<Operator>,
    Path((kind, id, _, ttl)): Path<(String, String, String, String)>,
    body: Bytes,
) -> Result<StatusCode, Wrong> {
    ttl.parse::<i64>().map_err(|_| Wrong::bad_request(format!("`{ttl}` is no number of seconds")))?;
    save_to(registry, operator, device(&kind, &id)?, &body).await
}

async fn save_to(
    State(registry): State<Registry>,
    Extension(operator): Extension<Operator>,
    id: String,
    body: &[u8],
) -> Result<StatusCode, Wrong> {
    let points = points(body)?;
    blocking(&registry, move |registry| {
        let tenant = tenant(registry, &operator)?;
        of_device(registry.add_points(&operator, &tenant, &id, &points))
    })
    .await?;
    Ok(StatusCode::OK)
}

fn points(body: &[u8]) -> Result<Vec<NewPoint>, Wrong> {
    let bare = |told: String| Wrong::bare(StatusCode::BAD_REQUEST, told);
    if body.is_empty() {
        let (status, code) = (StatusCode::BAD_REQUEST, ErrorCode::BAD_REQUEST_PARAMS);
        return Err(Wrong::framework(status, code, "Required request body is missing"));
    }
    let json: Value = serde_json::from_slice(body)
        .map_err(|_| bare("Unable to parse time series payload: Invalid JSON body!".to_owned()))?;
    let unusable = |why: &str| bare(format!("Unable to parse time series payload. Invalid JSON body: {why}"));
    if has_null(&json) {
        return Err(unusable("Can't parse value: null"));
    }
    let entries = telemetry::parse(body).map_err(|error| unusable(&error.to_string()))?;
    if entries.is_empty() {
        return Err(bare("No time series data found in request body!".to_owned()));
    }
    let point = |entry: telemetry::Entry| NewPoint {
        key: entry.key,
        at: entry.ts_ms.map(Timestamp),
        value: stored(entry.value),
    };
    Ok(entries.into_iter().map(point).collect())
}

/// Whether a value is `null`, in any of the forms of a payload.
fn has_null(json: &Value) -> bool {
    match json {
        Value::Array(objects) => objects.iter().any(has_null),
        Value::Object(members) => members.iter().any(|(key, value)| match value {
            Value::Object(_) if key == "values" => has_null(value),
            value => value.is_null(),
        }),
        _ => false,
    }
}

/// A value as the store has it.
pub(super) fn stored(value: telemetry::Value) -> engine::Value {
    match value {
        telemetry::Value::Bool(value) => engine::Value::Bool(value),
        telemetry::Value::Integer(value) => engine::Value::Integer(value),
        telemetry::Value::Double(value) => engine::Value::Double(value),
        telemetry::Value::Text(value) => engine::Value::Text(value),
        telemetry::Value::Json(value) => engine::Value::Json(value),
    }
}

/// `GET /api/plugins/telemetry/{entity}/{id}/keys/timeseries`
pub(super) async fn list_keys(
    registry: State<Registry>,
    operator: Extension<Operator>,
    Path((kind, id)): Path<(String, String)>,
) -> Result<Json<Vec<String>>, Wrong> {
    let latest = last_values(registry, operator, device(&kind, &id)?).await?;
    Ok(Json(latest.into_iter().map(|it| it.key).collect()))
}

/// `GET /api/plugins/telemetry/{entity}/{id}/values/timeseries`
pub(super) async fn read(
    registry: State<Registry>,
    operator: Extension<Operator>,
    Path((kind, id)): Path<(String, String)>,
    Asked(wanted): Asked<Wanted>,
) -> Result<Json<Series>, Wrong> {
    let id = device(&kind, &id)?;
    match (wanted.start_ts, wanted.end_ts) {
        (Some(from), Some(until)) => history(registry, operator, id, &wanted, (from, until)).await.map(Json),
        _ => latest(registry, operator, id, &wanted).await.map(Json),
    }
}

async fn latest(
    registry: State<Registry>,
    operator: Extension<Operator>,
    id: String,
    wanted: &Wanted,
) -> Result<Series, Wrong> {
    let (now, keys) = (registry.now(), keys(wanted.keys.as_deref()));
    let latest = last_values(registry, operator, id).await?;
    let nothing = |key: String| (key, vec![Point { ts: now.0, value: Value::Null }]);
    let mut series: Series = keys.iter().cloned().map(nothing).collect();
    for it in latest.into_iter().filter(|it| keys.is_empty() || keys.contains(&it.key)) {
        series.insert(it.key.clone(), vec![shown(&it, wanted.use_strict_data_types)]);
    }
    Ok(series)
}

async fn history(
    registry: State<Registry>,
    operator: Extension<Operator>,
    id: String,
    wanted: &Wanted,
    (from, until): (i64, i64),
) -> Result<Series, Wrong> {
    let aggregation = aggregation(wanted.agg.as_deref())?;
    let oldest_first = oldest_first(wanted.order_by.as_deref())?;
    if let (Some(interval), Some(_)) = (wanted.interval, aggregation)
        && interval > 0
        && until.saturating_sub(from) / interval > MOST_STRETCHES
    {
        return Err(Wrong::bad_request("Incorrect TsKvQuery. Number of intervals is to high"));
    }
    let mut keys = keys(wanted.keys.as_deref());
    if keys.is_empty() {
        let latest = last_values(registry.clone(), operator.clone(), id.clone()).await?;
        keys.extend(latest.into_iter().map(|it| it.key));
    }
    keys.sort_unstable();
    keys.dedup();
    if keys.len() > MOST_KEYS {
        return Err(Wrong::bad_request(format!("More than {MOST_KEYS} keys at once")));
    }
    // All keys together may fill no more than one alone.
    let share = |most: usize| most.div_ceil(keys.len().max(1));
    let together_most = share(MOST_TOGETHER);
    let limit = wanted.limit.unwrap_or(USUAL_LIMIT).clamp(1, share(MOST_POINTS));
    let limit = if aggregation.is_some() { together_most } else { limit };
    let (from, until) = (Timestamp(from), Timestamp(until));
    let reading = Reading { from, until, limit, oldest_first: oldest_first || aggregation.is_some() };
    let (asked, State(registry), Extension(operator)) = (keys.clone(), registry, operator);
    let found = blocking(&registry, move |registry| {
        let tenant = tenant(registry, &operator)?;
        of_device(registry.points(&tenant, &id, &asked, reading))
    });
    let mut series = Series::new();
    for (key, points) in keys.into_iter().zip(found.await?) {
        let points = match aggregation {
            None => points.iter().map(|it| shown(it, wanted.use_strict_data_types)).collect(),
            Some(_) if points.len() == together_most => {
                return Err(Wrong::bad_request(format!("More than {together_most} values of `{key}`")));
            }
            Some(aggregation) => together(&points, aggregation, wanted, (from.0, until.0)),
        };
        if !points.is_empty() {
            series.insert(key, points);
        }
    }
    Ok(series)
}

/// Points of one stretch of time after the other, each at the middle of its stretch.
fn together(
    points: &[Latest],
    aggregation: Aggregation,
    wanted: &Wanted,
    (from, until): (i64, i64),
) -> Vec<Point> {
    let whole = until.saturating_sub(from).max(1);
    let interval = wanted.interval.filter(|interval| *interval > 0).unwrap_or(whole);
    let mut stretches: BTreeMap<i64, Vec<Value>> = BTreeMap::new();
    for point in points {
        let at = point.at.0.saturating_sub(from) / interval;
        stretches.entry(at).or_default().push(as_json(&point.value));
    }
    let put = |(at, values): (i64, Vec<Value>)| {
        let begin = from.saturating_add(at.saturating_mul(interval));
        let end = begin.saturating_add(interval).min(until);
        let value = aggregation.of(&values)?;
        let value = if wanted.use_strict_data_types { value } else { value.to_string().into() };
        Some(Point { ts: begin.saturating_add((end - begin) / 2), value })
    };
    stretches.into_iter().filter_map(put).collect()
}

fn aggregation(word: Option<&str>) -> Result<Option<Aggregation>, Wrong> {
    let word = word.unwrap_or("NONE");
    let sort = "org.thingsboard.server.common.data.kv.Aggregation";
    Aggregation::parse(word).map_err(|_| Wrong::bad_request(format!("No enum constant {sort}.{word}")))
}

fn oldest_first(word: Option<&str>) -> Result<bool, Wrong> {
    match word.map(str::to_ascii_uppercase).as_deref() {
        None | Some("DESC") => Ok(false),
        Some("ASC") => Ok(true),
        Some(_) => {
            let word = word.unwrap_or_default();
            let told = format!("Unsupported sort order '{word}'! Only 'ASC' or 'DESC' types are allowed.");
            Err(Wrong::bad_request(told))
        }
    }
}

/// Values travel as text unless their own type is asked for.
fn shown(it: &Latest, strict: bool) -> Point {
    let value = match as_json(&it.value) {
        value if strict => value,
        Value::String(text) => Value::String(text),
        value => value.to_string().into(),
    };
    Point { ts: it.at.0, value }
}

async fn last_values(
    State(registry): State<Registry>,
    Extension(operator): Extension<Operator>,
    id: String,
) -> Result<Vec<Latest>, Wrong> {
    blocking(&registry, move |registry| {
        let tenant = tenant(registry, &operator)?;
        of_device(registry.last_values(&tenant, &id))
    })
    .await
}

/// `DELETE /api/plugins/telemetry/{entity}/{id}/timeseries/delete`
pub(super) async fn delete(
    State(registry): State<Registry>,
    Extension(operator): Extension<Operator>,
    Path((kind, id)): Path<(String, String)>,
    Asked(gone): Asked<Gone>,
) -> Result<StatusCode, Wrong> {
    let (id, keys) = (device(&kind, &id)?, keys_to_delete(gone.keys.as_deref())?);
    let within = match (gone.delete_all_data_for_keys, gone.start_ts, gone.end_ts) {
        (true, ..) => None,
        (false, Some(from), Some(until)) => Some((Timestamp(from), Timestamp(until), last_value(&gone))),
        _ => {
            let told =
                "When deleteAllDataForKeys is false, start and end timestamp values shouldn't be empty";
            return Err(Wrong::bare(StatusCode::BAD_REQUEST, told));
        }
    };
    blocking(&registry, move |registry| {
        let tenant = tenant(registry, &operator)?;
        of_device(registry.delete_points(&operator, &tenant, &id, &keys, within))
    })
    .await?;
    Ok(StatusCode::OK)
}

fn last_value(gone: &Gone) -> LastValue {
    match (gone.delete_latest, gone.rewrite_latest_if_deleted) {
        (false, _) => LastValue::Kept,
        (true, false) => LastValue::Deleted,
        (true, true) => LastValue::Rewritten,
    }
}
