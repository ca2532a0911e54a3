//! The OpenAPI document of the operator API, as judges and makers of clients read it.

use std::fs;
use std::path::PathBuf;

use anyhow::{Result, ensure};
use e2e::muster::ended;
use e2e::musterd::Musterd;
use e2e::python::Python;
use testkit::http::HttpConnection;

/// Where a server tells it.
const DOCUMENT: &str = "/api/muster/v1/openapi.json";

#[test]
fn the_document_is_valid_openapi_3_1_and_needs_no_token() -> Result<()> {
    let server = Musterd::serve("")?;
    let document = fetched(&server)?;
    let judge = e2e::own("programs/openapi/valid.py");
    let ended =
        ended(server.setup().neighbour(Python::OpenapiValidator.interpreter()?).arg(judge).arg(document))?;
    ensure!(ended.code == 0 && ended.out.starts_with("valid: 3.1."), "{ended:?}");
    Ok(())
}

/// The document as a file beside the server.
fn fetched(server: &Musterd) -> Result<PathBuf> {
    let reply = HttpConnection::open(server.address().http())?.get(DOCUMENT)?;
    ensure!(reply.status == 200 && reply.header("content-type") == Some("application/json"), "{reply:?}");
    let file = server.setup().home().join("openapi.json");
    fs::write(&file, &reply.body)?;
    Ok(file)
}
