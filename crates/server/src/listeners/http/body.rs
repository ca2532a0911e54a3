//! A request's body, read in one go where it fits.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Frame, Incoming, SizeHint};

use super::watch::Watch;

/// A request's body on its way in.
pub struct Body {
    incoming: Incoming,
    watch: Arc<Watch>,
}

impl Body {
    pub(super) fn new(incoming: Incoming, watch: Arc<Watch>) -> Body {
        Body { incoming, watch }
    }

    /// The leave for this body to take its time; for the extensions of a request.
    pub(super) fn patience(&self) -> Patience {
        Patience(Arc::clone(&self.watch))
    }
}

/// The leave for a request's body to take as long as it likes, while bytes come or leave. For whoever knows
/// who is asking, and reads as it answers.
#[derive(Clone, Debug)]
pub struct Patience(Arc<Watch>);

impl Patience {
    /// Gives that leave.
    pub fn grant(&self) {
        self.0.streams();
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = Pin::new(&mut self.incoming).poll_frame(context);
        let over = matches!(frame, Poll::Ready(None)) || (frame.is_ready() && self.incoming.is_end_stream());
        if over {
            self.watch.complete();
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

/// Why a body was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyError {
    /// It is longer than the limit.
    TooLarge,
    /// The connection broke.
    Broken,
}

/// How much of a body that is too long is still taken, so that its sender sees the answer and not a reset.
const MOST_WASTED: usize = 1 << 20;

/// The whole body; not copied where it came in one piece.
///
/// # Errors
/// [`BodyError`]
pub async fn read(mut body: Body, limit: usize) -> Result<Bytes, BodyError> {
    use hyper::body::Body as _;
    let Some(first) = next(&mut body).await? else { return Ok(Bytes::new()) };
    if body.is_end_stream() && first.len() <= limit {
        return Ok(first);
    }
    let mut whole = BytesMut::from(&first[..]);
    while let Some(more) = next(&mut body).await? {
        if whole.len() + more.len() > limit {
            waste(&mut body).await;
            return Err(BodyError::TooLarge);
        }
        whole.extend_from_slice(&more);
    }
    if whole.len() > limit { Err(BodyError::TooLarge) } else { Ok(whole.freeze()) }
}

async fn waste(body: &mut Body) {
    let mut wasted = 0;
    while let Ok(Some(data)) = next(body).await {
        wasted += data.len();
        if wasted > MOST_WASTED {
            return;
        }
    }
}

async fn next(body: &mut Body) -> Result<Option<Bytes>, BodyError> {
    while let Some(frame) = body.frame().await {
        // What is no data is a trailer, which nobody here reads.
        if let Ok(data) = frame.map_err(|_| BodyError::Broken)?.into_data() {
            return Ok(Some(data));
        }
    }
    Ok(None)
}
