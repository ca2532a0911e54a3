//! ThingsBoard's device side, over HTTP and MQTT (thingsboard page, sections 1 to 7, 9.1, 9.2 and 9.4).
//!
//! Translation only: its requests into the domain's words, and outcomes and refusals back into its own.

mod asking;
mod device;
mod http;
mod login;
mod path;
mod provision;
mod refuse;
mod replies;
mod traced;
mod waiting;

use bytes::Bytes;
use domain::{Origin, Wire};
use hyper::{Request, Response};

use super::{Faces, Protocol, Task};
use crate::listeners::Peer;
use crate::listeners::http::Body;
use crate::mqtt::{Claim, Hello};

/// What an operator may choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Whether an unknown MQTT client without user name and password may provision (section 1, row 1).
    pub anonymous_provisioning: bool,
    /// Whether a proven device is told why it was refused (section 1, row 3).
    pub error_detail: bool,
    /// Whether a certificate counts only within its dates (section 7.3).
    pub client_dates: bool,
}

/// The wire.
pub struct ThingsBoard {
    settings: Settings,
}

impl ThingsBoard {
    /// The wire with these settings.
    pub fn new(settings: Settings) -> ThingsBoard {
        ThingsBoard { settings }
    }
}

impl Protocol for ThingsBoard {
    fn name(&self) -> &'static str {
        "thingsboard"
    }

    fn owns(&self, path: &str) -> bool {
        path.starts_with("/api/v1/")
    }

    fn http<'a>(&'a self, request: Request<Body>, peer: Peer, faces: &'a Faces) -> Task<'a, Response<Bytes>> {
        let origin = Origin { source: peer.address, wire: Wire::ThingsboardHttp };
        Box::pin(http::answer(request, origin, self.settings, faces))
    }

    fn mqtt<'a>(&'a self, hello: Hello<'a>, faces: &'a Faces) -> Task<'a, Claim> {
        let origin = Origin { source: hello.peer.address, wire: Wire::ThingsboardMqtt };
        Box::pin(login::claim(hello, origin, self.settings, faces))
    }
}

/// What a device is told of a refusal, for the manual.
#[cfg(test)]
pub(crate) fn refused_in_words(refusal: domain::Refusal) -> String {
    match refuse::provision(refusal, true) {
        refuse::Refusing::Answer(wire::thingsboard::ProvisionResponse::Failure { error_msg }) => {
            format!("`FAILURE`, {error_msg}")
        }
        refuse::Refusing::Answer(_) => "`NOT_FOUND`".to_owned(),
        refuse::Refusing::Later | refuse::Refusing::TooMany => "temporary".to_owned(),
    }
}
