//! ThingsBoard's device side: provisioning, telemetry, attributes (thingsboard page, sections 2 to 4 and 9).

pub mod attributes;
mod error_body;
mod number;
mod provision_request;
mod provision_response;
pub mod telemetry;
pub mod topic;

pub use error_body::{ErrorBody, ErrorCode};
pub use provision_request::{CredentialsType, ProvisionRequest, ProvisionRequestError};
pub use provision_response::{
    Credentials, NOT_FOUND_MESSAGE, PLAIN_FAILURE_MESSAGE, ProvisionResponse, ProvisionResponseError,
};
