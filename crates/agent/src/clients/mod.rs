//! One file for each protocol.

pub mod thingsboard_http;
pub mod thingsboard_mqtt;

#[cfg(test)]
mod test_peer;

use std::io;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;
use wire::thingsboard::{Credentials, NOT_FOUND_MESSAGE, ProvisionResponse};

use crate::error::ClientError;

/// How long a client waits for a connection or for an answer unless told otherwise. ThingsBoard itself
/// answers within 10 s or not at all (thingsboard page, section 13).
pub const DEFAULT_PATIENCE: Duration = Duration::from_secs(30);

/// A plain connection to `host:port`.
async fn connect(server: &str, patience: Duration) -> Result<TcpStream, ClientError> {
    let failed = |cause: io::Error| ClientError::connection(format!("cannot connect to {server}"), cause);
    let stream = match timeout(patience, TcpStream::connect(server)).await {
        Ok(connected) => connected.map_err(failed)?,
        Err(_) => return Err(ClientError::late(format!("cannot connect to {server}"))),
    };
    stream.set_nodelay(true).map_err(failed)?;
    Ok(stream)
}

/// What an answer to a provision request means, on every transport (thingsboard page, section 3).
fn granted(answer: &[u8]) -> Result<Credentials, ClientError> {
    let refused = |status: &str, message: String| ClientError::Refused { status: status.to_owned(), message };
    match ProvisionResponse::parse(answer) {
        Ok(ProvisionResponse::Success { credentials }) => Ok(credentials),
        Ok(ProvisionResponse::NotFound) => Err(refused("NOT_FOUND", NOT_FOUND_MESSAGE.to_owned())),
        Ok(ProvisionResponse::Failure { error_msg }) => Err(refused("FAILURE", error_msg)),
        Err(error) => Err(ClientError::protocol(error.to_string())),
    }
}
