//! Provision responses, as a device reads them.
//!
//! Beyond not panicking: a response that was read is read again as the same after it was written.

#![no_main]

use libfuzzer_sys::fuzz_target;
use wire::thingsboard::{Credentials, ProvisionResponse};

fuzz_target!(|body: &[u8]| {
    let Ok(response) = ProvisionResponse::parse(body) else { return };
    let again = ProvisionResponse::parse(&response.to_json()).expect("what was written is read");
    assert_eq!(fields(&response), fields(&again));
});

fn fields(response: &ProvisionResponse) -> (&str, [&str; 3]) {
    match response {
        ProvisionResponse::Success { credentials } => {
            (credentials.credentials_type().as_str(), parts(credentials))
        }
        ProvisionResponse::NotFound => ("NOT_FOUND", [""; 3]),
        ProvisionResponse::Failure { error_msg } => ("FAILURE", [error_msg, "", ""]),
    }
}

fn parts(credentials: &Credentials) -> [&str; 3] {
    match credentials {
        Credentials::AccessToken(token) => [token.expose(), "", ""],
        Credentials::X509(certificate) => [certificate, "", ""],
        Credentials::MqttBasic { client_id, user_name, password } => {
            [client_id, user_name.expose(), password.expose()]
        }
    }
}
