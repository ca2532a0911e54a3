//! The operator API, for tests that ask more than a program for each call could.

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use testkit::http::{HttpConnection, Reply};

/// An operator on a kept connection.
#[derive(Debug)]
pub struct Operator {
    connection: HttpConnection,
    authorization: String,
}

impl Operator {
    /// Connects.
    ///
    /// # Errors
    /// If nobody listens.
    pub fn open(address: SocketAddr, token: &str) -> Result<Self> {
        let connection = HttpConnection::open(address)?;
        Ok(Self { connection, authorization: format!("Bearer {token}") })
    }

    /// One call, however it is answered. The path is the one below `/api/muster/v1`.
    ///
    /// # Errors
    /// If the connection ends.
    pub fn call(&mut self, method: &str, path: &str, body: Option<&Value>) -> Result<Reply> {
        let target = format!("/api/muster/v1{path}");
        let body = body.map(Value::to_string).unwrap_or_default();
        let headers = [("Authorization", self.authorization.as_str()), ("Content-Type", "application/json")];
        self.connection.request(method, &target, &headers, body.as_bytes())
    }

    /// What stands at a path.
    ///
    /// # Errors
    /// If the answer is not 200, or no JSON.
    pub fn get(&mut self, path: &str) -> Result<Value> {
        let reply = self.call("GET", path, None)?;
        ensure!(reply.status == 200, "GET {path}: {} {}", reply.status_line, reply.text());
        Ok(serde_json::from_slice(&reply.body)?)
    }

    /// Makes something.
    ///
    /// # Errors
    /// If it is not made, or the answer is no JSON.
    pub fn post(&mut self, path: &str, body: &Value) -> Result<Value> {
        let reply = self.call("POST", path, Some(body))?;
        ensure!((200..300).contains(&reply.status), "POST {path}: {} {}", reply.status_line, reply.text());
        Ok(serde_json::from_slice(&reply.body)?)
    }

    /// All rows of a listing.
    ///
    /// # Errors
    /// As [`Operator::get`].
    pub fn all(&mut self, path: &str) -> Result<Vec<Value>> {
        let mut rows = Vec::new();
        let mut next = path.to_owned();
        loop {
            let mut page = self.get(&next)?;
            rows.append(page["items"].as_array_mut().with_context(|| format!("no page: {path}"))?);
            let Some(cursor) = page["next"].as_str() else { return Ok(rows) };
            let joint = if path.contains('?') { '&' } else { '?' };
            next = format!("{path}{joint}cursor={cursor}");
        }
    }
}
