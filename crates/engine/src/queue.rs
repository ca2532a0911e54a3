//! Queues into the threads that write: bounded, drained in batches, told when to stop.

use std::sync::mpsc::{Receiver, SyncSender, TrySendError};
use std::time::Duration;

use domain::Refusal;
use tokio::sync::oneshot;

/// What a writing thread is sent.
pub(crate) enum Message<T> {
    /// Something to do.
    Work(T),
    /// Finish what waits, then end.
    Stop,
}

/// Takes what waits, up to `most`; sleeps only while there is nothing to do. Returns whether it is to stop.
pub(crate) fn fill<T>(
    waiting: &mut Vec<T>,
    queue: &Receiver<Message<T>>,
    most: usize,
    stopping: bool,
) -> bool {
    if waiting.is_empty() && !stopping {
        match queue.recv() {
            Ok(Message::Work(work)) => waiting.push(work),
            Ok(Message::Stop) | Err(_) => return true,
        }
    }
    while waiting.len() < most {
        match queue.try_recv() {
            Ok(Message::Work(work)) => waiting.push(work),
            Ok(Message::Stop) => return true,
            Err(_) => return stopping,
        }
    }
    stopping
}

/// Hands work over without waiting for room: memory does not grow with a flood. Returns the refusal and the
/// work where there is no room (`queue-full`), or nobody to do it any more (`shutting-down`).
pub(crate) fn send<T>(queue: &SyncSender<Message<T>>, work: T) -> Option<(Refusal, T)> {
    match queue.try_send(Message::Work(work)) {
        Err(TrySendError::Full(Message::Work(work))) => Some((Refusal::QueueFull, work)),
        Err(TrySendError::Disconnected(Message::Work(work))) => Some((Refusal::ShuttingDown, work)),
        _ => None,
    }
}

/// Waits for an answer, as long as the protocol has patience.
///
/// # Errors
/// `deadline-passed`, or `internal` where whoever should answer failed.
pub(crate) async fn answer<T>(answer: oneshot::Receiver<T>, patience: Duration) -> Result<T, Refusal> {
    match tokio::time::timeout(patience, answer).await {
        Ok(answer) => answer.map_err(|_| Refusal::Internal),
        Err(_) => Err(Refusal::DeadlinePassed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_waits_longer_than_its_protocol_has_patience_is_told_so() {
        let (_kept, waits) = oneshot::channel::<()>();
        assert_eq!(answer(waits, Duration::ZERO).await, Err(Refusal::DeadlinePassed));
    }

    #[tokio::test]
    async fn who_waits_for_one_that_failed_is_told_at_once() {
        let (gone, waits) = oneshot::channel::<()>();
        drop(gone);
        assert_eq!(answer(waits, Duration::MAX).await, Err(Refusal::Internal));
    }
}
