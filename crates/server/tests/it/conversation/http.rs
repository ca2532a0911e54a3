//! Conversations over HTTP.

use testkit::http::{HttpConnection, Reply};

use super::setting::Setting;
use super::text::{Variables, bytes};

/// A section of requests and replies.
pub(super) fn run(setting: &Setting, lines: &[String]) {
    let (running, mut variables) = setting.start();
    let mut reply: Option<Reply> = None;
    for line in lines {
        let (mark, rest) = line.split_once(' ').unwrap();
        match mark {
            ">" => reply = Some(say(running.http(), &variables.fill(rest))),
            "<" => hear(rest, reply.as_ref().unwrap(), &mut variables, line),
            "<h" => {
                let (name, value) = rest.split_once(": ").unwrap();
                assert_eq!(reply.as_ref().unwrap().header(name), Some(value), "{line}");
            }
            _ => panic!("no such line: {line}"),
        }
    }
}

/// A section of provision requests and answers.
pub(super) fn provision(setting: &Setting, lines: &[String]) {
    let (running, mut variables) = setting.start();
    let mut reply: Option<Reply> = None;
    for line in lines {
        match line.split_once(' ').unwrap() {
            (">", json) => {
                reply =
                    Some(say(running.http(), &format!("POST /api/v1/provision {}", variables.fill(json))));
            }
            ("<", json) => {
                hear(&format!("200 application/json {json}"), reply.as_ref().unwrap(), &mut variables, line);
            }
            _ => panic!("no such line: {line}"),
        }
    }
}

/// Every request has a connection of its own, so that an answer that ends one does not end the next.
fn say(address: std::net::SocketAddr, line: &str) -> Reply {
    let mut words = line.splitn(3, ' ');
    let (method, path) = (words.next().unwrap(), words.next().unwrap());
    let body = words.next().map(bytes).unwrap_or_default();
    let mut http = HttpConnection::open(address).unwrap();
    http.request(method, path, &[], &body).unwrap()
}

fn hear(expected: &str, reply: &Reply, variables: &mut Variables, line: &str) {
    let mut words = expected.splitn(3, ' ');
    let (status, kind, body) =
        (words.next().unwrap(), words.next().unwrap(), words.next().unwrap_or_default());
    assert_eq!(reply.status.to_string(), status, "{line}\n{}", reply.text());
    assert_eq!(reply.header("content-type").unwrap_or("-"), kind, "{line}");
    variables.expect(body, &reply.text(), line);
}
