//! The wires that devices speak: meaning only. Each turns its own words into the domain's and back.

pub mod thingsboard;

use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use engine::{DeviceAuth, Hub, Provisioner, Traces};
use hyper::{Request, Response};

use crate::hooks::device_calls::DeviceCalls;
use crate::hub::sessions::Sessions;
use crate::listeners::Peer;
use crate::listeners::http::Body;
use crate::mqtt::{Claim, Hello};

/// Something a protocol is doing.
pub type Task<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The faces of the engine that devices reach, and all that a protocol is handed.
#[derive(Clone)]
pub struct Faces {
    /// Provisions devices.
    pub provisioner: Provisioner,
    /// Recognises devices.
    pub device_auth: DeviceAuth,
    /// Takes what devices tell, and tells them what they may know.
    pub hub: Hub,
    /// Who is connected or waits, and what waits for them.
    pub sessions: Arc<Sessions>,
    /// Hears what traced devices say.
    pub traces: Arc<Traces>,
    /// Answers what devices ask, where somebody does.
    pub device_calls: Option<Arc<DeviceCalls>>,
}

/// A wire that devices speak.
pub trait Protocol: Send + Sync {
    /// Its name.
    fn name(&self) -> &'static str;

    /// Whether an HTTP path is one of its own.
    fn owns(&self, path: &str) -> bool;

    /// Answers a request to one of its paths.
    fn http<'a>(&'a self, request: Request<Body>, peer: Peer, faces: &'a Faces) -> Task<'a, Response<Bytes>>;

    /// Says whether a CONNECT is one of its own, and if so takes or refuses it.
    fn mqtt<'a>(&'a self, hello: Hello<'a>, faces: &'a Faces) -> Task<'a, Claim>;
}

/// Every wire, in the order in which they are asked, and the faces they are handed.
#[derive(Clone)]
pub struct Protocols {
    list: Arc<[Box<dyn Protocol>]>,
    /// What each of them is handed.
    pub faces: Faces,
}

impl Protocols {
    /// The wires this server speaks.
    pub fn new(faces: Faces, settings: thingsboard::Settings) -> Protocols {
        let list: Vec<Box<dyn Protocol>> = vec![Box::new(thingsboard::ThingsBoard::new(settings))];
        Protocols { list: list.into(), faces }
    }

    /// The wire that owns an HTTP path.
    pub fn for_path(&self, path: &str) -> Option<&dyn Protocol> {
        self.list.iter().find(|protocol| protocol.owns(path)).map(Box::as_ref)
    }

    /// The first claim to a CONNECT.
    pub async fn claim(&self, hello: Hello<'_>) -> Claim {
        for protocol in self.list.iter() {
            let claim = protocol.mqtt(hello, &self.faces).await;
            if !matches!(claim, Claim::NotMine) {
                return claim;
            }
        }
        Claim::NotMine
    }
}
