//! Programs in TypeScript, and what makes clients for them.

use std::path::PathBuf;

use anyhow::Result;

use crate::python::installed;

/// The folder with `openapi-typescript`, `openapi-fetch` and the compiler; made by `e2e/install` where it is not there
/// yet.
///
/// # Errors
/// If it cannot be made.
pub fn modules() -> Result<PathBuf> {
    Ok(installed("node-openapi")?.join("node_modules"))
}
