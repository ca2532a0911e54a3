//! As much of HTTP/1.1 as our own clients speak: kept connections, bodies with a length.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;

/// The longest body, in bytes.
const LONGEST_BODY: usize = 4 << 20;

/// A request.
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) target: String,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Request {
    /// The first header of this name, in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }
}

/// A connection.
pub(crate) struct Connection(BufReader<TcpStream>);

impl Connection {
    pub(crate) fn new(stream: TcpStream) -> io::Result<Connection> {
        stream.set_nodelay(true)?;
        Ok(Connection(BufReader::with_capacity(16 * 1024, stream)))
    }

    /// The next request; `None` at the end of the connection, and after what is no HTTP.
    pub(crate) fn read(&mut self) -> Option<Request> {
        let first = self.line()?;
        let mut words = first.split(' ').map(str::to_owned);
        let (method, target) = (words.next()?, words.next()?);
        let mut headers = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(':')?;
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let mut request = Request { method, target, headers, body: Vec::new() };
        let length = request.header("content-length").unwrap_or("0").parse::<usize>().ok()?;
        request.body.resize(Some(length).filter(|length| *length <= LONGEST_BODY)?, 0);
        self.0.read_exact(&mut request.body).ok()?;
        Some(request)
    }

    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        self.0.read_line(&mut line).ok()?;
        line.strip_suffix("\r\n").map(str::to_owned)
    }

    pub(crate) fn answer(&mut self, status: u16, retry_after: Option<u64>, body: &[u8]) -> io::Result<()> {
        let wait = retry_after.map(|seconds| format!("Retry-After: {seconds}\r\n")).unwrap_or_default();
        let length = body.len();
        let head = format!(
            "HTTP/1.1 {status} Said\r\nContent-Type: application/json\r\n{wait}Content-Length: {length}\r\n\r\n"
        );
        // In one write, so that it is one packet.
        self.0.get_mut().write_all(&[head.as_bytes(), body].concat())
    }
}
