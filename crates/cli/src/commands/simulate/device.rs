//! What one simulated device does: it asks, and uses what it is told.

use std::time::Instant;

use agent::ClientError;
use agent::clients::DEFAULT_PATIENCE;
use agent::clients::thingsboard_mqtt::{Newcomer, Session};
use bytes::Bytes;
use wire::thingsboard::{Credentials, ProvisionRequest};

use super::fleet::Fleet;
use super::{HttpClient, Wire};
use crate::failure::Failure;

/// The line of devices that one after the other use the same connection.
pub(crate) struct Line<'a> {
    fleet: &'a Fleet,
    request: ProvisionRequest,
    http: Option<HttpClient>,
}

/// Whether the server could be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reached {
    Yes,
    No,
}

impl<'a> Line<'a> {
    pub(crate) fn new(fleet: &'a Fleet, request: ProvisionRequest) -> Self {
        Self { fleet, request, http: None }
    }

    /// Lets one device live: it provisions, and reports its telemetry. `due` is when it was to begin.
    ///
    /// # Errors
    /// When it cannot be noted what was acknowledged; what the server does is counted instead.
    pub(crate) async fn live(&mut self, number: u64, due: Instant) -> Result<Reached, Failure> {
        let name = self.fleet.plan().names.name(number);
        self.request.device_name = Some(name.clone());
        let outcome = match self.fleet.plan().wire {
            Wire::ThingsboardHttp => self.provision_by_http().await,
            Wire::ThingsboardMqtt => self.provision_by_mqtt().await,
        };
        match outcome {
            Ok(credentials) => {
                self.fleet.provisioned(&name, &credentials, due.elapsed())?;
                self.report(&name, &credentials).await
            }
            Err(error) => {
                self.fleet.not_provisioned(&error);
                Ok(self.after(&error))
            }
        }
    }

    async fn provision_by_http(&mut self) -> Result<Credentials, ClientError> {
        if self.fleet.plan().new_connections {
            self.http = None;
        }
        let client = open(&mut self.http, &self.fleet.plan().target).await?;
        client.provision(&self.request).await
    }

    async fn provision_by_mqtt(&mut self) -> Result<Credentials, ClientError> {
        let plan = self.fleet.plan();
        let mut session = Session::for_provisioning(&plan.target, Newcomer::UserName, plan.mqtt).await?;
        let credentials = session.provision(&self.request).await?;
        // The device has what it wanted; whether its goodbye arrives changes nothing.
        let _ = session.disconnect().await;
        Ok(credentials)
    }

    async fn report(&mut self, name: &str, credentials: &Credentials) -> Result<Reached, Failure> {
        let plan = self.fleet.plan();
        if plan.telemetry == 0 {
            return Ok(Reached::Yes);
        }
        let mut link = match plan.wire {
            Wire::ThingsboardHttp => Link::Http(&mut self.http, credentials),
            Wire::ThingsboardMqtt => match Session::log_in(&plan.target, credentials, plan.mqtt).await {
                Ok(session) => Link::Mqtt(session),
                Err(error) => {
                    self.fleet.not_stored(&error);
                    return Ok(self.after(&error));
                }
            },
        };
        for value in 1..=plan.telemetry {
            let payload = format!("{{\"temperature\":{value}}}");
            let began = Instant::now();
            match link.post(&plan.target, payload.clone().into()).await {
                Ok(()) => self.fleet.stored(name, &payload, began.elapsed())?,
                Err(error) => {
                    self.fleet.not_stored(&error);
                    drop(link);
                    return Ok(self.after(&error));
                }
            }
        }
        link.leave().await;
        Ok(Reached::Yes)
    }

    /// A connection that failed is not used again.
    fn after(&mut self, error: &ClientError) -> Reached {
        match error {
            ClientError::Connection { .. } | ClientError::Protocol(_) => {
                self.http = None;
                Reached::No
            }
            _ => Reached::Yes,
        }
    }
}

/// How a device sends its telemetry.
enum Link<'a> {
    Http(&'a mut Option<HttpClient>, &'a Credentials),
    Mqtt(Session),
}

impl Link<'_> {
    async fn post(&mut self, target: &str, payload: Bytes) -> Result<(), ClientError> {
        match self {
            Self::Mqtt(session) => session.telemetry(payload).await,
            Self::Http(client, Credentials::AccessToken(token)) => {
                open(client, target).await?.telemetry(token, payload).await
            }
            Self::Http(..) => {
                Err(ClientError::Unsendable("only a token opens the HTTP interface".to_owned()))
            }
        }
    }

    async fn leave(self) {
        if let Self::Mqtt(session) = self {
            // Every value was acknowledged; whether the goodbye arrives changes nothing.
            let _ = session.disconnect().await;
        }
    }
}

/// The kept connection, or a new one in its place.
async fn open<'a>(kept: &'a mut Option<HttpClient>, target: &str) -> Result<&'a mut HttpClient, ClientError> {
    match kept.take() {
        Some(client) if client.is_open() => Ok(kept.insert(client)),
        _ => Ok(kept.insert(HttpClient::connect_within(target, DEFAULT_PATIENCE).await?)),
    }
}
