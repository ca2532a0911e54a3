//! HTTP/1.1 for the generator: requests that are bytes with a hole for the name, replies that are scanned.

use crate::load::{Heard, Talk};
use crate::names::{LENGTH, Names};

/// Asks for a provisioning with a new name each time.
pub struct Provision {
    request: Vec<u8>,
    holes: Vec<usize>,
    names: Names,
    wanted: &'static [u8],
}

impl Provision {
    /// ThingsBoard's request with this provision key and secret.
    pub fn new(key: &str, secret: &str, names: Names) -> Provision {
        Provision::with(key, secret, "", names)
    }

    /// The same with a token that the device chooses: its name.
    pub fn choosing(key: &str, secret: &str, names: Names) -> Provision {
        let token = "_".repeat(LENGTH);
        Provision::with(
            key,
            secret,
            &format!(r#","credentialsType":"ACCESS_TOKEN","token":"{token}""#),
            names,
        )
    }

    fn with(key: &str, secret: &str, more: &str, names: Names) -> Provision {
        let hole = "_".repeat(LENGTH);
        let body = format!(
            r#"{{"deviceName":"{hole}","provisionDeviceKey":"{key}","provisionDeviceSecret":"{secret}"{more}}}"#
        );
        let request = post("/api/v1/provision", &body);
        let is_hole = |at: &usize| request[*at..].starts_with(hole.as_bytes());
        let holes = (0..request.len()).filter(is_hole).collect();
        Provision { request, holes, names, wanted: br#""status":"SUCCESS"}"# }
    }

    /// What makes the names that come next.
    pub fn into_names(self) -> Names {
        self.names
    }
}

impl Talk for Provision {
    fn begin(&mut self, _: usize, out: &mut Vec<u8>) {
        let name = self.names.make();
        for hole in &self.holes {
            self.request[*hole..hole + LENGTH].copy_from_slice(&name);
        }
        out.extend_from_slice(&self.request);
    }

    fn hear(&mut self, _: usize, heard: &[u8], _: &mut Vec<u8>) -> Heard {
        match body(heard) {
            None => Heard::Part,
            Some(body) if heard.starts_with(b"HTTP/1.1 200 ") && body.ends_with(self.wanted) => Heard::Over,
            Some(_) => Heard::Wrong,
        }
    }
}

/// Posts a value with each connection's own token.
pub struct Telemetry {
    requests: Vec<Vec<u8>>,
}

impl Telemetry {
    /// One connection a token.
    pub fn new(tokens: &[String]) -> Telemetry {
        let path = |token: &String| format!("/api/v1/{token}/telemetry");
        Telemetry {
            requests: tokens.iter().map(|token| post(&path(token), r#"{"temperature":21.5}"#)).collect(),
        }
    }
}

impl Talk for Telemetry {
    fn begin(&mut self, connection: usize, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.requests[connection]);
    }

    fn hear(&mut self, _: usize, heard: &[u8], _: &mut Vec<u8>) -> Heard {
        match body(heard) {
            None => Heard::Part,
            Some(_) if heard.starts_with(b"HTTP/1.1 200 ") => Heard::Over,
            Some(_) => Heard::Wrong,
        }
    }
}

fn post(path: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

/// The body of a reply with a `content-length`, once all of it has come.
fn body(heard: &[u8]) -> Option<&[u8]> {
    let head = heard.windows(4).position(|window| window == b"\r\n\r\n")?;
    let length = content_length(&heard[..head])?;
    heard.get(head + 4..head + 4 + length)
}

fn content_length(head: &[u8]) -> Option<usize> {
    const FIELD: &[u8] = b"\r\ncontent-length:";
    let at = head.windows(FIELD.len()).position(|window| window.eq_ignore_ascii_case(FIELD))?;
    let digits = head[at + FIELD.len()..]
        .iter()
        .skip_while(|byte| **byte == b' ')
        .take_while(|byte| byte.is_ascii_digit());
    Some(digits.fold(0, |length, digit| length * 10 + usize::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hear(heard: &[u8]) -> Heard {
        Provision::new("k", "s", Names::after(0)).hear(0, heard, &mut Vec::new())
    }

    #[test]
    fn a_reply_is_over_when_its_body_is_whole() {
        let reply = b"HTTP/1.1 200 OK\r\nContent-Length: 28\r\n\r\n{\"x\":\"y\",\"status\":\"SUCCESS\"}";
        assert_eq!(hear(reply), Heard::Over);
        assert_eq!(hear(&reply[..reply.len() - 1]), Heard::Part);
        assert_eq!(hear(&reply[..20]), Heard::Part);
    }

    #[test]
    fn a_refusal_is_not_what_was_wanted() {
        assert_eq!(
            hear(b"HTTP/1.1 200 OK\r\ncontent-length: 20\r\n\r\n{\"status\":\"FAILURE\"}"),
            Heard::Wrong
        );
        assert_eq!(hear(b"HTTP/1.1 503 X\r\ncontent-length: 0\r\n\r\n"), Heard::Wrong);
    }

    #[test]
    fn a_device_that_chooses_its_token_offers_its_name() {
        let mut out = Vec::new();
        Provision::choosing("key", "secret", Names::after(7)).begin(0, &mut out);
        let said = String::from_utf8(out).unwrap();
        let name = String::from_utf8(Names::after(7).make().to_vec()).unwrap();
        assert_eq!(said.matches(&format!(r#":"{name}""#)).count(), 2, "{said}");
        assert!(said.contains(&format!(r#""token":"{name}"}}"#)), "{said}");
    }

    #[test]
    fn every_request_names_another_device() {
        let mut talk = Provision::new("key", "secret", Names::after(7));
        let mut requests: Vec<String> = Vec::new();
        for _ in 0..2 {
            let mut out = Vec::new();
            talk.begin(0, &mut out);
            requests.push(String::from_utf8(out).unwrap());
        }
        assert_ne!(requests[0], requests[1]);
        let json = requests[0].split_once("\r\n\r\n").unwrap().1;
        assert!(
            json.starts_with(r#"{"deviceName":"d-"#) && json.contains(r#""provisionDeviceKey":"key""#),
            "{json}"
        );
        assert!(requests[0].contains(&format!("Content-Length: {}\r\n", json.len())));
    }
}
