//! Listening sockets, and how many connections they may bring.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Stop;
use crate::config::Bind;

/// How many connections the kernel keeps for us until we take them.
const BACKLOG: u32 = 4096;

/// How long taking connections rests when the system has no more files or memory for one.
const REST: Duration = Duration::from_millis(20);

/// How often the log is told of that.
const TOLD_EVERY: Duration = Duration::from_secs(10);

/// Opens the sockets of one place to listen at.
///
/// # Errors
/// If an address cannot be had; the second loopback family may be missing.
pub fn bind(place: Bind) -> anyhow::Result<Vec<TcpListener>> {
    let (address, second) = place.addresses();
    let first = listen(address).with_context(|| format!("cannot listen on {address}"))?;
    let port = first.local_addr()?.port();
    let mut sockets = vec![first];
    if let Some(second) = second {
        match listen((second, port).into()) {
            Ok(socket) => sockets.push(socket),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                return Err(error).with_context(|| format!("cannot listen on [{second}]:{port}"));
            }
            Err(error) => tracing::debug!(%error, "this machine has no loopback address of IPv6"),
        }
    }
    Ok(sockets)
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => tokio::net::TcpSocket::new_v4(),
        SocketAddr::V6(_) => tokio::net::TcpSocket::new_v6(),
    }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// How many connections there may be at a time.
#[derive(Clone, Debug)]
pub struct Limit(Arc<Semaphore>);

impl Limit {
    /// At most `connections`.
    pub fn new(connections: u32) -> Limit {
        Limit(Arc::new(Semaphore::new(usize::try_from(connections).unwrap_or(Semaphore::MAX_PERMITS))))
    }
}

/// A connection that was taken, and its place among the others.
pub(super) struct Accepted {
    pub(super) stream: TcpStream,
    pub(super) address: SocketAddr,
    pub(super) place: OwnedSemaphorePermit,
}

/// Takes connections and hands them on, until it is time to stop; then those that the kernel has taken for
/// us already are handed on too, so that nobody who was let in is turned away.
pub(super) async fn accept(
    listener: TcpListener,
    limit: Limit,
    mut stop: Stop,
    refused: metrics::Counter,
    handle: impl Fn(Accepted),
) {
    let admit = |(stream, address): (TcpStream, SocketAddr)| {
        let Ok(place) = Arc::clone(&limit.0).try_acquire_owned() else {
            refused.increment(1);
            return;
        };
        // Without it a small answer may wait for the acknowledgement of the one before.
        let _ = stream.set_nodelay(true);
        handle(Accepted { stream, address, place });
    };
    let mut told = None;
    loop {
        let taken = tokio::select! {
            biased;
            () = stop.asked() => break,
            taken = listener.accept() => taken,
        };
        match taken {
            Ok(connection) => admit(connection),
            Err(error) => rest(&error, &mut told).await,
        }
    }
    while let Some(Ok(connection)) = futures_util::FutureExt::now_or_never(listener.accept()) {
        admit(connection);
    }
}

/// A connection that broke before it was taken is nobody's trouble; too few files are the whole machine's.
async fn rest(error: &io::Error, told: &mut Option<Instant>) {
    let harmless = matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset);
    if harmless {
        return;
    }
    // Whoever floods us must not fill the log.
    if told.is_none_or(|told| told.elapsed() >= TOLD_EVERY) {
        *told = Some(Instant::now());
        tracing::warn!(%error, "connections cannot be taken");
    }
    tokio::time::sleep(REST).await;
}
