//! What the packets of a connection travel over: a socket, or TLS over one.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

/// Bytes taken at a time; lives on the stack and never across a wait.
const CHUNK: usize = 4096;

/// One connection's bytes.
pub(crate) enum Stream {
    /// As they are.
    Plain(TcpStream),
    /// Encrypted.
    Tls(Box<TlsStream<TcpStream>>),
}

impl From<TcpStream> for Stream {
    fn from(stream: TcpStream) -> Stream {
        Stream::Plain(stream)
    }
}

impl From<TlsStream<TcpStream>> for Stream {
    fn from(stream: TlsStream<TcpStream>) -> Stream {
        Stream::Tls(Box::new(stream))
    }
}

impl Stream {
    /// Reads what is there, as soon as something is; 0 at the end.
    pub(super) fn poll_fill(
        &mut self,
        context: &mut Context<'_>,
        input: &mut BytesMut,
    ) -> Poll<io::Result<usize>> {
        let mut chunk = [0; CHUNK];
        let mut read = ReadBuf::new(&mut chunk);
        let polled = match self {
            Stream::Plain(stream) => Pin::new(stream).poll_read(context, &mut read),
            Stream::Tls(stream) => Pin::new(stream.as_mut()).poll_read(context, &mut read),
        };
        polled.map_ok(|()| {
            input.extend_from_slice(read.filled());
            read.filled().len()
        })
    }

    /// Reads what is there already; 0 where that is nothing.
    pub(super) fn fill_now(&mut self, input: &mut BytesMut) -> io::Result<usize> {
        match self {
            Stream::Plain(stream) => {
                let mut chunk = [0; CHUNK];
                let read = stream.try_read(&mut chunk)?;
                input.extend_from_slice(&chunk[..read]);
                Ok(read)
            }
            // Whoever waits for more comes with a waker of its own.
            Stream::Tls(_) => match self.poll_fill(&mut Context::from_waker(Waker::noop()), input) {
                Poll::Ready(read) => read,
                Poll::Pending => Ok(0),
            },
        }
    }

    /// Writes as much as is taken at once. TLS takes nothing at once: it may have to write more than it was given.
    pub(super) fn write_now(&mut self, output: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Plain(stream) => stream.try_write(output),
            Stream::Tls(_) => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    /// Writes all of it.
    pub(super) async fn write_all(&mut self, output: &[u8]) -> io::Result<()> {
        match self {
            Stream::Plain(stream) => stream.write_all(output).await,
            Stream::Tls(stream) => {
                stream.write_all(output).await?;
                stream.flush().await
            }
        }
    }

    /// Says that nothing more is written.
    pub(super) async fn shutdown(&mut self) -> io::Result<()> {
        match self {
            Stream::Plain(stream) => stream.shutdown().await,
            Stream::Tls(stream) => stream.shutdown().await,
        }
    }
}
