//! Provision requests.
//!
//! Beyond not panicking: a request that was read is read again as the same after it was written, and the
//! answer to a bad one is an answer.

#![no_main]

use libfuzzer_sys::fuzz_target;
use wire::Secret;
use wire::thingsboard::{ProvisionRequest, ProvisionResponse};

fuzz_target!(|body: &[u8]| {
    match ProvisionRequest::parse(body) {
        Ok(request) => check(&request),
        Err(error) => {
            let answer = error.response().to_json();
            ProvisionResponse::parse(&answer).expect("the answer to a bad request is an answer");
        }
    }
});

fn check(request: &ProvisionRequest) {
    let again = ProvisionRequest::parse(&request.to_json()).expect("what was written is read");
    assert_eq!(fields(request), fields(&again));
    assert_eq!(request.credentials_type, again.credentials_type);
    assert_eq!(request.gateway, again.gateway);
}

fn fields(request: &ProvisionRequest) -> [Option<&str>; 8] {
    [
        request.device_name.as_deref(),
        Some(&request.provision_device_key),
        Some(request.provision_device_secret.expose()),
        request.token.as_ref().map(Secret::expose),
        request.client_id.as_deref(),
        request.username.as_ref().map(Secret::expose),
        request.password.as_ref().map(Secret::expose),
        request.hash.as_deref(),
    ]
}
