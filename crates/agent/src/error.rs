//! Why a device's request came to nothing, sorted by what the device should do next.

use std::io;
use std::time::Duration;

/// Why a request to a server was not answered with a yes.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The server understood and said no. The same request will get the same answer.
    #[error("the server refused: {message} ({status})")]
    Refused {
        /// The server's word for the kind of refusal: a status of the protocol, such as `NOT_FOUND`, an
        /// HTTP status or an MQTT reason code.
        status: String,
        /// What the server says about it.
        message: String,
    },
    /// The server cannot answer now. The same request may succeed later.
    #[error("the server cannot answer now: {message}")]
    Temporary {
        /// How the server said so.
        message: String,
        /// How long it asks to wait, if it does.
        retry_after: Option<Duration>,
    },
    /// No connection could be made, it broke, or an answer did not come in time. What became of the
    /// request is unknown.
    #[error("{action}: {cause}")]
    Connection {
        /// What was being done, such as `cannot connect to 127.0.0.1:1883`.
        action: String,
        /// What the operating system or the connection said.
        cause: io::Error,
    },
    /// The request cannot be written in this protocol; nothing was sent.
    #[error("the request cannot be sent: {0}")]
    Unsendable(String),
    /// The server answered with something that is not the protocol.
    #[error("the server does not speak this protocol: {0}")]
    Protocol(String),
}

impl ClientError {
    /// Whether the same request may be sent again without asking anyone.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        matches!(self, Self::Temporary { .. } | Self::Connection { .. })
    }

    pub(crate) fn connection(action: impl Into<String>, cause: io::Error) -> Self {
        Self::Connection { action: action.into(), cause }
    }

    pub(crate) fn closed(action: impl Into<String>) -> Self {
        Self::connection(
            action,
            io::Error::new(io::ErrorKind::UnexpectedEof, "the server closed the connection"),
        )
    }

    pub(crate) fn late(action: impl Into<String>) -> Self {
        Self::connection(action, io::Error::new(io::ErrorKind::TimedOut, "no answer in time"))
    }

    pub(crate) fn protocol(what: impl Into<String>) -> Self {
        Self::Protocol(what.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_error_is_a_sentence_that_says_whose_turn_it_is() {
        let refused = ClientError::Refused { status: "FAILURE".into(), message: "Device not found".into() };
        assert_eq!(refused.to_string(), "the server refused: Device not found (FAILURE)");
        assert!(!refused.is_temporary());

        let late = ClientError::late("waiting for CONNACK");
        assert_eq!(late.to_string(), "waiting for CONNACK: no answer in time");
        assert!(late.is_temporary());
    }
}
