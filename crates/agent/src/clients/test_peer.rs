//! A peer for tests that plays bytes: it waits until it has read something, then answers.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// A peer that serves one connection.
pub(crate) struct Peer {
    /// Where it listens.
    pub(crate) address: String,
    served: JoinHandle<Vec<u8>>,
}

impl Peer {
    /// Plays each answer once what has been read since the last one ends with `request_end`, then closes.
    pub(crate) async fn answering(request_end: &'static [u8], answers: Vec<Vec<u8>>) -> Self {
        Self::playing(answers.into_iter().map(|answer| (request_end.to_vec(), answer)).collect()).await
    }

    /// Plays each answer once what has been read since the last one ends with the bytes beside it.
    pub(crate) async fn playing(script: Vec<(Vec<u8>, Vec<u8>)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let served = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut received = Vec::new();
            for (request_end, answer) in script {
                let from = received.len();
                while !received[from..].ends_with(&request_end) {
                    if stream.read_buf(&mut received).await.unwrap_or(0) == 0 {
                        return received;
                    }
                }
                stream.write_all(&answer).await.unwrap();
            }
            // The client reads a plain end, not a reset, because nothing it sent is left unread.
            stream.shutdown().await.unwrap();
            let _ = stream.read_to_end(&mut received).await;
            received
        });
        Self { address, served }
    }

    /// All that was read, as text, once the connection has ended.
    pub(crate) async fn received(self) -> String {
        String::from_utf8_lossy(&self.received_bytes().await).into_owned()
    }

    /// All that was read, once the connection has ended.
    pub(crate) async fn received_bytes(self) -> Vec<u8> {
        self.served.await.unwrap()
    }
}
