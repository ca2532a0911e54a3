//! A small blocking HTTP/1.1 client that lets a test see every byte.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustix::net::{AddressFamily, SocketType};

/// How long a read waits before the test fails.
const PATIENCE: Duration = Duration::from_secs(30);

/// A reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The first line, as sent.
    pub status_line: String,
    /// The status code.
    pub status: u16,
    /// Names as sent and values without surrounding blanks, in the order sent.
    pub headers: Vec<(String, String)>,
    /// The body, chunks joined.
    pub body: Vec<u8>,
}

impl Reply {
    /// The first header of this name, in any case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut named = self.headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name));
        named.next().map(|(_, value)| value.as_str())
    }

    /// The body as text; bytes that are no UTF-8 are replaced.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// A kept connection.
#[derive(Debug)]
pub struct HttpConnection<S = TcpStream> {
    stream: BufReader<S>,
    host: String,
}

impl HttpConnection {
    /// Connects.
    ///
    /// # Errors
    /// If nobody listens.
    pub fn open(address: impl ToSocketAddrs) -> Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let host = stream.peer_addr()?.to_string();
        Ok(Self::over(stream, &host))
    }

    /// Connects from an address of this machine's choice.
    ///
    /// # Errors
    /// If nobody listens, or the machine does not have the address.
    pub fn open_from(source: Ipv4Addr, address: SocketAddr) -> Result<Self> {
        let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None)?;
        rustix::net::bind(&socket, &SocketAddr::from((source, 0)))?;
        rustix::net::connect(&socket, &address)?;
        let stream = TcpStream::from(socket);
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self::over(stream, &address.to_string()))
    }

    /// Tells the server that nothing more will be sent; replies can still be read.
    ///
    /// # Errors
    /// If the connection is gone.
    pub fn finish_sending(&self) -> Result<()> {
        Ok(self.stream.get_ref().shutdown(Shutdown::Write)?)
    }
}

impl<S: Read + Write> HttpConnection<S> {
    /// Speaks over a stream that is open already, such as one of TLS.
    pub fn over(stream: S, host: &str) -> Self {
        Self { stream: BufReader::new(stream), host: host.to_owned() }
    }

    /// The stream below.
    pub fn stream(&self) -> &S {
        self.stream.get_ref()
    }

    /// Sends a request with `Host` and, if there is a body, `Content-Length`, and reads the reply.
    ///
    /// # Errors
    /// If the connection ends, or the reply is no HTTP.
    pub fn request(
        &mut self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Reply> {
        self.send(&head(&self.host, method, target, headers, body.len())?)?;
        self.send(body)?;
        if method == "HEAD" { self.read_reply_without_body() } else { self.read_reply() }
    }

    /// Posts JSON.
    ///
    /// # Errors
    /// As [`HttpConnection::request`].
    pub fn post_json(&mut self, target: &str, json: &str) -> Result<Reply> {
        self.request("POST", target, &[("Content-Type", "application/json")], json.as_bytes())
    }

    /// Gets.
    ///
    /// # Errors
    /// As [`HttpConnection::request`].
    pub fn get(&mut self, target: &str) -> Result<Reply> {
        self.request("GET", target, &[], b"")
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// If the connection is gone.
    pub fn send(&mut self, bytes: &[u8]) -> Result<()> {
        Ok(self.stream.get_mut().write_all(bytes)?)
    }

    /// Reads one reply; one of status 1xx before it is read over.
    ///
    /// # Errors
    /// If the connection ends first, or the reply is no HTTP.
    pub fn read_reply(&mut self) -> Result<Reply> {
        let mut reply = self.read_reply_without_body()?;
        reply.body = self.read_body(&reply)?;
        Ok(reply)
    }

    /// Reads all that still comes, up to the end of the connection.
    ///
    /// # Errors
    /// If the connection does not end.
    pub fn read_to_end(&mut self) -> Result<Vec<u8>> {
        let mut rest = Vec::new();
        self.stream.read_to_end(&mut rest)?;
        Ok(rest)
    }

    fn read_reply_without_body(&mut self) -> Result<Reply> {
        loop {
            let reply = self.read_head()?;
            if reply.status >= 200 || reply.status == 101 {
                return Ok(reply);
            }
        }
    }

    fn read_head(&mut self) -> Result<Reply> {
        let status_line = self.read_line()?;
        let status = status_line.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status = status.with_context(|| format!("no status line: {status_line:?}"))?;
        let mut headers = Vec::new();
        loop {
            let line = self.read_line()?;
            if line.is_empty() {
                return Ok(Reply { status_line, status, headers, body: Vec::new() });
            }
            let (name, value) = line.split_once(':').with_context(|| format!("no header: {line:?}"))?;
            headers.push((name.to_owned(), value.trim().to_owned()));
        }
    }

    fn read_line(&mut self) -> Result<String> {
        let mut line = Vec::new();
        self.stream.read_until(b'\n', &mut line)?;
        let Some(line) = line.strip_suffix(b"\r\n") else {
            bail!("the connection ended within a reply, after {:?}", String::from_utf8_lossy(&line));
        };
        Ok(String::from_utf8_lossy(line).into_owned())
    }

    fn read_body(&mut self, reply: &Reply) -> Result<Vec<u8>> {
        if matches!(reply.status, 101 | 204 | 304) {
            return Ok(Vec::new());
        }
        if reply.header("transfer-encoding").is_some_and(|how| how.eq_ignore_ascii_case("chunked")) {
            return self.read_chunks();
        }
        match reply.header("content-length") {
            Some(length) => self.read_exactly(length.parse()?),
            None => self.read_to_end(),
        }
    }

    fn read_exactly(&mut self, length: usize) -> Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.stream.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn read_chunks(&mut self) -> Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let size = self.read_line()?;
            let size = usize::from_str_radix(size.split(';').next().unwrap_or_default().trim(), 16)?;
            body.extend(self.read_exactly(size)?);
            let end = self.read_line()?;
            ensure!(end.is_empty(), "a chunk is longer than it says, or a trailer follows: {end:?}");
            if size == 0 {
                return Ok(body);
            }
        }
    }
}

fn head(host: &str, method: &str, target: &str, headers: &[(&str, &str)], length: usize) -> Result<Vec<u8>> {
    let mut text = format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\n");
    for (name, value) in headers {
        write!(text, "{name}: {value}\r\n")?;
    }
    if length > 0 || method == "POST" || method == "PUT" {
        write!(text, "Content-Length: {length}\r\n")?;
    }
    text.push_str("\r\n");
    Ok(text.into_bytes())
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread::{self, JoinHandle};

    use super::*;

    /// Answers `script` to the first connection, whatever it says; its end is what was received.
    fn server(script: &'static [u8]) -> (HttpConnection, JoinHandle<Vec<u8>>) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let received = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(script).unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            let mut bytes = Vec::new();
            stream.read_to_end(&mut bytes).unwrap();
            bytes
        });
        (HttpConnection::open(address).unwrap(), received)
    }

    #[test]
    fn replies_on_one_connection_are_told_apart() {
        let (mut http, received) = server(
            b"HTTP/1.1 200 \r\nX-A:  b \r\ncontent-length: 2\r\n\r\nokHTTP/1.1 404 Not Found\r\n\
              Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n1;x=y\r\nd\r\n0\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
        );
        let first = http.post_json("/a", "{}").unwrap();
        assert_eq!((first.status, first.text().as_str(), first.header("x-a")), (200, "ok", Some("b")));
        assert_eq!(http.get("/b").unwrap().body, b"abcd");
        assert_eq!(http.get("/c").unwrap().status, 204);
        assert_eq!(http.read_to_end().unwrap(), b"");
        drop(http);
        let received = String::from_utf8(received.join().unwrap()).unwrap();
        assert!(
            received
                .contains("Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}GET /b HTTP/1.1\r\n")
        );
    }

    #[test]
    fn half_a_reply_is_an_error() {
        let (mut http, _received) = server(b"HTTP/1.1 200 OK\r\nContent-Le");
        assert!(http.read_reply().unwrap_err().to_string().contains("Content-Le"));
    }

    #[test]
    fn a_reply_without_a_length_lasts_to_the_end() {
        let (mut http, _received) = server(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 500 x\r\n\r\nall of this");
        assert_eq!(http.read_reply().unwrap().text(), "all of this");
    }
}
