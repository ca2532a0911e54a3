//! ThingsBoard's device side: provisioning, telemetry, attributes (thingsboard page, sections 2 to 4 and 9).

pub mod attributes;
pub mod calls;
pub mod claim;
mod error_body;
mod number;
mod provision_request;
mod provision_response;
mod redacted;
pub mod rest;
pub mod telemetry;
pub mod topic;

pub use error_body::{ErrorBody, ErrorCode, FrameworkErrorBody};
pub use provision_request::{CredentialsType, ProvisionRequest, ProvisionRequestError};
pub use provision_response::{
    Credentials, NOT_FOUND_MESSAGE, PLAIN_FAILURE_MESSAGE, ProvisionResponse, ProvisionResponseError,
};
pub use redacted::redacted;

#[cfg(test)]
mod tests {
    //! The documents of `testdata/thingsboard`; those whose name begins with `refused-` are errors.

    use std::path::Path;

    use super::*;

    /// Every document of a folder: name, bytes, and whether it is good.
    #[expect(clippy::disallowed_methods, reason = "recordings are files, and only tests read them")]
    fn documents(folder: &str) -> Vec<(String, Vec<u8>, bool)> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/thingsboard").join(folder);
        let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
        let documents: Vec<_> = files
            .map(|path| {
                let name = path.file_name().unwrap().to_string_lossy().into_owned();
                let good = !name.starts_with("refused-");
                (name, std::fs::read(&path).unwrap(), good)
            })
            .collect();
        assert!(documents.len() > 5);
        documents
    }

    #[test]
    fn every_recorded_request_is_read_and_means_the_same_when_written_again() {
        for (name, body, good) in documents("provision_request") {
            let request = ProvisionRequest::parse(&body);
            assert_eq!(request.is_ok(), good, "{name}");
            let Ok(request) = request else { continue };
            let json = request.to_json();
            assert_eq!(ProvisionRequest::parse(&json).unwrap().to_json(), json, "{name}");
        }
    }

    #[test]
    fn every_recorded_response_is_read_and_means_the_same_when_written_again() {
        for (name, body, good) in documents("provision_response") {
            let response = ProvisionResponse::parse(&body);
            assert_eq!(response.is_ok(), good, "{name}");
            let Ok(response) = response else { continue };
            let json = response.to_json();
            assert_eq!(ProvisionResponse::parse(&json).unwrap().to_json(), json, "{name}");
        }
    }

    #[test]
    fn every_recorded_telemetry_is_read() {
        for (name, payload, good) in documents("telemetry") {
            assert_eq!(telemetry::parse(&payload).is_ok(), good, "{name}");
        }
    }
}
