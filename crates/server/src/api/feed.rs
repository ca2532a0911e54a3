//! `/events`: what happens, as it happens. A page at a time, or server-sent events (HTML standard, section 9.2) whose
//! `id` is the place from which a reader goes on, whichever server it comes back to.

mod places;

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use axum::Json;
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, header};
use axum::response::sse::{self, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use domain::OperatorRefusal;
use engine::Registry;
use engine::registry::{Event, Events, FeedFrom, Operator};
use futures_util::stream::unfold;
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::time::Instant;

use super::auth::Bearer;
use super::extract::{Ask, blocking};
use super::problem::No;
use super::shapes::instant;
use crate::listeners::Stopping;
use places::{Place, Places};

/// Readers of streams at a time.
const MOST_READERS: usize = 64;
/// How often it is asked whether a reader may still hear what it hears.
const KNOWN_FOR: Duration = Duration::from_secs(2);
/// How long a stream lasts: whoever comes back is asked again who it is.
const LASTS: Duration = Duration::from_secs(300);
/// How often a reader that has heard all is told what is new.
const LOOKS_EVERY: Duration = Duration::from_millis(200);
/// How often one that nothing is told hears that the connection lives.
const ALIVE_EVERY: Duration = Duration::from_secs(15);

/// What all readers share.
#[derive(Clone)]
pub(super) struct Readers {
    places: Places,
    stopping: Stopping,
}

impl Readers {
    pub(super) fn new(stopping: Stopping) -> Readers {
        Readers { places: Places::new(MOST_READERS), stopping }
    }
}

/// Which events.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct EventsQuery {
    /// Name of the tenant; absent = all that the caller may see.
    tenant: Option<String>,
    /// `start`, `now`, or a place.
    after: Option<String>,
    /// The most rows of a page.
    limit: Option<usize>,
}

/// `GET /events`: a page from the start, or, where `text/event-stream` is accepted, a stream from now on; either behind
/// the place that `after` or `Last-Event-ID` names.
pub(super) async fn events(
    State(registry): State<Registry>,
    Extension(operator): Extension<Operator>,
    Extension(bearer): Extension<Bearer>,
    Extension(readers): Extension<Readers>,
    Ask(asked): Ask<EventsQuery>,
    headers: HeaderMap,
) -> Result<Response, No> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let streams = text(header::ACCEPT).is_some_and(|accept| accept.contains("text/event-stream"));
    let came_back = text(header::HeaderName::from_static("last-event-id"));
    let from = match came_back.or(asked.after.as_deref()) {
        None | Some("") if streams => FeedFrom::Now,
        None | Some("" | "start") => FeedFrom::Start,
        Some("now") => FeedFrom::Now,
        Some(place) => FeedFrom::Place(place.to_owned()),
    };
    let mut reader = Reader { registry, operator, tenant: asked.tenant, from };
    // What is wrong with the question is told before a stream begins.
    let first = reader.read(asked.limit).await?;
    if streams {
        return stream(reader, bearer, first, &readers);
    }
    let items = first.events.into_iter().map(shown).collect();
    Ok(Json(wire::admin::Events { items, next: first.next, more: first.more }).into_response())
}

/// Who reads, and how far it has come.
struct Reader {
    registry: Registry,
    operator: Operator,
    tenant: Option<String>,
    from: FeedFrom,
}

impl Reader {
    async fn read(&mut self, limit: Option<usize>) -> Result<Events, No> {
        let (operator, tenant, from) = (self.operator.clone(), self.tenant.clone(), self.from.clone());
        let work = move |registry: &Registry| registry.events(&operator, tenant.as_deref(), &from, limit);
        let read = blocking(&self.registry, work).await?;
        self.from = FeedFrom::Place(read.next.clone());
        Ok(read)
    }
}

/// A stream that is under way.
struct Stream {
    reader: Reader,
    waiting: VecDeque<Event>,
    more: bool,
    bearer: Bearer,
    known_until: Instant,
    until: Instant,
    stopping: Stopping,
    place: Place,
}

fn stream(reader: Reader, bearer: Bearer, first: Events, readers: &Readers) -> Result<Response, No> {
    let place = readers.places.take(reader.operator.right);
    let place = place.ok_or_else(|| No::of(OperatorRefusal::ReadersFull))?;
    let stream = Stream {
        reader,
        waiting: first.events.into(),
        more: first.more,
        bearer,
        known_until: Instant::now() + KNOWN_FOR,
        until: Instant::now() + LASTS,
        stopping: readers.stopping.clone(),
        place,
    };
    let events = unfold(stream, |mut stream| async move {
        let event = stream.next().await?;
        Some((Ok::<_, Infallible>(event), stream))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(ALIVE_EVERY)).into_response())
}

impl Stream {
    /// The next event; `None` at the end: its time is over, its place is another one's, the server stops, the registry
    /// cannot be read, or the reader is not let in any more. It comes back then, and is told why not.
    async fn next(&mut self) -> Option<sse::Event> {
        loop {
            if self.stopping.is_asked() || self.place.is_lost() || Instant::now() >= self.until {
                return None;
            }
            if Instant::now() >= self.known_until {
                self.reader.operator = self.bearer.recognised(&self.reader.registry).await.ok()?;
                self.known_until = Instant::now() + KNOWN_FOR;
            }
            if let Some(event) = self.waiting.pop_front() {
                return told(event);
            }
            if !std::mem::take(&mut self.more) {
                tokio::time::sleep(LOOKS_EVERY).await;
            }
            let read = self.reader.read(None).await.ok()?;
            (self.waiting, self.more) = (read.events.into(), read.more);
        }
    }
}

fn told(event: Event) -> Option<sse::Event> {
    let (place, kind) = (event.place.clone(), event.entry.kind.clone());
    sse::Event::default().id(place).event(kind).json_data(shown(event)).ok()
}

fn shown(event: Event) -> wire::admin::Event {
    wire::admin::Event {
        place: event.place,
        at: instant(event.entry.at),
        kind: event.entry.kind,
        actor: event.entry.actor,
        tenant: event.tenant,
        device_id: event.device,
        detail: event.entry.detail.unwrap_or_default(),
    }
}
