//! What a connection is doing and until when it may, without a timer that is set for every request.
//!
//! The parts of a connection note in one atomic word what it is doing and since when. The connection's own
//! task has one timer; it is moved only when a deadline comes nearer than it stands, that is when a header
//! or a body does not arrive in one piece.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How long a client may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// From the first byte of a header to its end.
    pub(super) header: Duration,
    /// From there to the end of the body.
    pub(super) body: Duration,
    /// Between two requests.
    pub(super) idle: Duration,
}

const HEADER: u64 = 0;
const BODY: u64 = 1;
const BUSY: u64 = 2;
const IDLE: u64 = 3;
const STREAMING: u64 = 4;

/// Bits of what a connection is doing.
const DOING_BITS: u32 = 3;
const DOING: u64 = (1 << DOING_BITS) - 1;

/// What a connection is doing and since when.
#[derive(Debug)]
pub(super) struct Watch {
    limits: Limits,
    opened: Instant,
    /// Microseconds since it was opened, and what it is doing in the lowest bits.
    state: AtomicU64,
}

impl Watch {
    /// A connection that was just opened: its first request is on its way.
    pub(super) fn new(limits: Limits) -> Watch {
        Watch { limits, opened: Instant::now(), state: AtomicU64::new(HEADER) }
    }

    /// How long a header may take.
    pub(super) fn header_limit(&self) -> Duration {
        self.limits.header
    }

    /// Bytes came.
    pub(super) fn received(&self) {
        match self.doing() {
            IDLE => self.enter(HEADER),
            STREAMING => self.enter(STREAMING),
            _ => {}
        }
    }

    /// Bytes of an answer left: whoever still reads is not idle.
    pub(super) fn sent(&self) {
        if let doing @ (IDLE | STREAMING) = self.doing() {
            self.enter(doing);
        }
    }

    /// A header is complete.
    pub(super) fn asked(&self, without_body: bool) {
        self.enter(if without_body { BUSY } else { BODY });
    }

    /// The body may take as long as it likes, while bytes come or the answer's bytes leave.
    pub(super) fn streams(&self) {
        if self.doing() == BODY {
            self.enter(STREAMING);
        }
    }

    /// The body is complete: from now on it is our time. A stream's answer is on its way already.
    pub(super) fn complete(&self) {
        self.enter(if self.doing() == STREAMING { IDLE } else { BUSY });
    }

    /// The answer is ready, or has begun while the body is still on its way.
    pub(super) fn answered(&self) {
        if self.doing() != STREAMING {
            self.enter(IDLE);
        }
    }

    /// When the client's time is over; `None` while it is ours.
    pub(super) fn due(&self) -> Option<Instant> {
        let state = self.state.load(Ordering::Relaxed);
        let limit = match state & DOING {
            HEADER => self.limits.header,
            BODY => self.limits.body,
            IDLE | STREAMING => self.limits.idle,
            _ => return None,
        };
        Some(self.opened + Duration::from_micros(state >> DOING_BITS) + limit)
    }

    fn enter(&self, doing: u64) {
        let since = u64::try_from(self.opened.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.state.store(since << DOING_BITS | doing, Ordering::Relaxed);
    }

    fn doing(&self) -> u64 {
        self.state.load(Ordering::Relaxed) & DOING
    }
}

/// A stream whose traffic is noted.
pub(super) struct Watched<S> {
    stream: S,
    watch: Arc<Watch>,
}

impl<S> Watched<S> {
    pub(super) fn new(stream: S, watch: Arc<Watch>) -> Watched<S> {
        Watched { stream, watch }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.watch.received();
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        if written.is_ready() {
            self.watch.sent();
        }
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, parts);
        if written.is_ready() {
            self.watch.sent();
        }
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        header: Duration::from_secs(1),
        body: Duration::from_secs(100),
        idle: Duration::from_secs(10_000),
    };

    #[test]
    fn each_part_of_a_request_has_its_own_deadline_and_our_own_time_has_none() {
        let watch = Watch::new(LIMITS);
        let left = |watch: &Watch| watch.due().map(|due| due.duration_since(watch.opened).as_secs());
        assert_eq!(left(&watch), Some(1));
        watch.received();
        assert_eq!(left(&watch), Some(1), "a byte of a header does not lengthen its time");
        watch.asked(false);
        assert_eq!(left(&watch), Some(100));
        watch.complete();
        assert_eq!(left(&watch), None);
        watch.answered();
        assert_eq!(left(&watch), Some(10_000));
        watch.received();
        assert_eq!(left(&watch), Some(1));
        watch.asked(true);
        assert_eq!(left(&watch), None);
    }

    #[test]
    fn a_stream_that_is_answered_while_it_comes_has_no_deadline_but_silence() {
        let watch = Watch::new(LIMITS);
        let left = |watch: &Watch| watch.due().map(|due| due.duration_since(watch.opened).as_secs());
        watch.asked(false);
        watch.streams();
        watch.answered();
        watch.received();
        watch.sent();
        assert_eq!(left(&watch), Some(10_000));
        watch.complete();
        watch.received();
        assert_eq!(left(&watch), Some(1), "after it a new request may come");
    }
}
