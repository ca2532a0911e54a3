//! What the HTTP stack costs alone: the server's runtime and HTTP library, a body read, a fixed answer.

use std::convert::Infallible;
use std::net::Ipv4Addr;

use anyhow::Result;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

/// As long as the answer to a provisioning.
const ANSWER: &[u8] =
    br#"{"credentialsValue":"00000000000000000000000000000000","credentialsType":"ACCESS_TOKEN","status":"SUCCESS"}"#;

/// Serves until it is killed; prints its address first.
///
/// # Errors
/// If no socket can be had.
pub fn serve() -> Result<()> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(accept())
}

#[expect(clippy::print_stdout, reason = "whoever started the echo reads its address")]
async fn accept() -> Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    println!("{}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(async move {
            let connection = http1::Builder::new()
                .header_read_timeout(None)
                .pipeline_flush(true)
                .serve_connection(TokioIo::new(stream), service_fn(answer));
            // The client ends it, with a reset where each exchange has its own connection.
            let _ = connection.await;
        });
    }
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    // A broken body breaks the connection, so nobody waits for the answer.
    let _ = request.into_body().collect().await;
    let mut response = Response::new(Full::new(Bytes::from_static(ANSWER)));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}
