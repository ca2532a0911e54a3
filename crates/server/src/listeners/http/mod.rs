//! HTTP/1.0 and 1.1, plain or behind TLS: connections, their deadlines and their end.
//!
//! What a request means is decided elsewhere: a [`Protocol`](crate::protocols::Protocol) that owns the path
//! answers it, or else the operators' router. Device paths do not pass through that router at all: they are
//! the hot ones.

mod body;
mod watch;

use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::poll_fn;
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use hyper::header::{CONNECTION, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tower::ServiceExt;

use super::sockets::{Accepted, accept};
use super::tls::Handshakes;
use super::{Front, Limit, Peer, Stop};
use crate::config::{self, Http};
use crate::metrics::HttpMetrics;
use crate::protocols::Protocols;

pub use body::{Body, BodyError, Patience, read};
use watch::{Limits, Watch, Watched};

/// How long a kept connection may still bring a request after the server was asked to stop. Whoever is in
/// the middle of a conversation gets its answer, and with it the word that the connection ends.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// What every connection needs.
pub struct Shared {
    protocols: Protocols,
    operators: axum::Router,
    builder: http1::Builder,
    limits: Limits,
    metrics: HttpMetrics,
}

/// What a request is answered with: bytes, or what the operators' router makes.
type Reply = Response<Either<Full<Bytes>, axum::body::Body>>;

impl Shared {
    /// Wires and operators' router behind the limits of the settings.
    pub fn new(protocols: Protocols, operators: axum::Router, settings: &Http) -> Shared {
        let mut builder = http1::Builder::new();
        let header_bytes = usize::try_from(settings.header_bytes).unwrap_or(usize::MAX);
        // Deadlines are ours (see `watch`): hyper's own timer would be set anew for every request.
        builder.header_read_timeout(None).max_buf_size(header_bytes);
        let limits = Limits {
            header: config::seconds(settings.header_timeout_s),
            body: config::seconds(settings.body_timeout_s),
            idle: config::seconds(settings.idle_timeout_s),
        };
        Shared { protocols, operators, builder, limits, metrics: HttpMetrics::default() }
    }

    async fn answer(
        &self,
        request: Request<Incoming>,
        peer: Peer,
        watch: &Arc<Watch>,
        closing: bool,
    ) -> Reply {
        let request = request.map(|incoming| Body::new(incoming, Arc::clone(watch)));
        let mut reply = self.dispatch(request, peer).await;
        watch.answered();
        self.metrics.answered(reply.status());
        if closing {
            reply.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        reply
    }

    async fn dispatch(&self, mut request: Request<Body>, peer: Peer) -> Reply {
        if let Some(protocol) = self.protocols.for_path(request.uri().path()) {
            return protocol
                .http(request, peer, &self.protocols.faces)
                .await
                .map(|bytes| Either::Left(bytes.into()));
        }
        let patience = request.body().patience();
        request.extensions_mut().insert(peer);
        request.extensions_mut().insert(patience);
        let reply = self.operators.clone().oneshot(request.map(axum::body::Body::new)).await;
        reply.unwrap_or_else(|never: Infallible| match never {}).map(Either::Right)
    }
}

/// Serves plain HTTP on a socket until it is time to stop.
pub async fn serve(listener: TcpListener, limit: Limit, front: Front, shared: Arc<Shared>, stop: Stop) {
    let refused = shared.metrics.refused.clone();
    accept(listener, limit, stop.clone(), refused, |accepted| {
        let (shared, front, stop) = (Arc::clone(&shared), front.clone(), stop.clone());
        tokio::spawn(async move {
            let Accepted { mut stream, address, place } = accepted;
            match front.introduced(&mut stream, address).await {
                Some(address) => {
                    converse(stream, Peer { address, encrypted: false }, front, shared, stop).await;
                }
                None => shared.metrics.not_introduced.increment(1),
            }
            drop(place);
        });
    })
    .await;
}

/// Serves HTTPS on a socket until it is time to stop.
pub async fn serve_tls(
    listener: TcpListener,
    limit: Limit,
    front: Front,
    shared: Arc<Shared>,
    handshakes: Handshakes,
    stop: Stop,
) {
    let refused = shared.metrics.refused.clone();
    accept(listener, limit, stop.clone(), refused, |accepted| {
        let (shared, front, stop) = (Arc::clone(&shared), front.clone(), stop.clone());
        let handshakes = handshakes.clone();
        tokio::spawn(async move {
            let Accepted { mut stream, address, place } = accepted;
            let Some(address) = front.introduced(&mut stream, address).await else {
                return shared.metrics.not_introduced.increment(1);
            };
            match handshakes.shake(stream).await {
                Some(stream) => {
                    converse(stream, Peer { address, encrypted: true }, front, shared, stop).await;
                }
                None => shared.metrics.failed_handshakes.increment(1),
            }
            drop(place);
        });
    })
    .await;
}

/// One connection, from its first byte to its last.
async fn converse<S>(stream: S, peer: Peer, front: Front, shared: Arc<Shared>, stop: Stop)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let watch = Arc::new(Watch::new(shared.limits));
    let io = TokioIo::new(Watched::new(stream, Arc::clone(&watch)));
    let service = {
        let (shared, watch, stopping) = (Arc::clone(&shared), Arc::clone(&watch), stop.stopping());
        service_fn(move |request: Request<Incoming>| {
            watch.asked(hyper::body::Body::is_end_stream(request.body()));
            let (shared, watch, closing) = (Arc::clone(&shared), Arc::clone(&watch), stopping.is_asked());
            let peer = Peer { address: front.asking(peer.address, request.headers()), ..peer };
            async move { Ok::<_, Infallible>(shared.answer(request, peer, &watch, closing).await) }
        })
    };
    let connection = pin!(shared.builder.serve_connection(io, service));
    if drive(connection, &watch, stop).await == End::TooSlow {
        shared.metrics.cut.increment(1);
    }
}

/// How a connection ended.
#[derive(PartialEq, Eq)]
enum End {
    Over,
    TooSlow,
}

/// Lets a connection run, cuts it when its deadline passes, and ends it after its last words when the
/// server stops.
async fn drive<C: Drive>(mut connection: Pin<&mut C>, watch: &Watch, mut stop: Stop) -> End {
    let mut alarm = pin!(tokio::time::sleep(watch.header_limit()));
    let mut asked = pin!(stop.asked());
    let mut closing = false;
    poll_fn(move |context| {
        if connection.as_mut().poll_end(context).is_ready() {
            return std::task::Poll::Ready(End::Over);
        }
        if !closing && asked.as_mut().poll(context).is_ready() {
            closing = true;
            alarm.as_mut().reset((Instant::now() + LAST_WORDS).into());
        }
        if let Some(due) = watch.due()
            && due < alarm.deadline().into_std()
        {
            alarm.as_mut().reset(due.into());
        }
        while alarm.as_mut().poll(context).is_ready() {
            let now = Instant::now();
            let due = watch.due();
            if due.is_some_and(|due| due <= now) {
                return std::task::Poll::Ready(End::TooSlow);
            }
            if closing {
                connection.as_mut().finish();
                if connection.as_mut().poll_end(context).is_ready() {
                    return std::task::Poll::Ready(End::Over);
                }
            }
            alarm.as_mut().reset(due.unwrap_or(now + watch.header_limit()).into());
        }
        std::task::Poll::Pending
    })
    .await
}

/// A connection that can be asked to end; a trait because its real type cannot be written down.
trait Drive {
    /// Ready when it is over, well or not: nobody is left to be told of an error.
    fn poll_end(self: Pin<&mut Self>, context: &mut std::task::Context<'_>) -> std::task::Poll<()>;
    /// Ends after the answer that is on its way, or at once.
    fn finish(self: Pin<&mut Self>);
}

impl<I, S, B> Drive for http1::Connection<I, S>
where
    S: hyper::service::HttpService<Incoming, ResBody = B>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    I: hyper::rt::Read + hyper::rt::Write + Unpin,
    B: hyper::body::Body + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    fn poll_end(self: Pin<&mut Self>, context: &mut std::task::Context<'_>) -> std::task::Poll<()> {
        Future::poll(self, context).map(drop)
    }

    fn finish(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}
