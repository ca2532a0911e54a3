//! What went wrong with a call, in the words for an operator.

use std::error::Error;
use std::io;
use std::time::Duration;

use engine::Fault;
use reqwest::StatusCode;
use reqwest::header::HeaderValue;

use super::ANSWER_BYTES;
use super::addresses::Forbidden;

/// The longest time that a neighbour may put us off for.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

/// The longest reason of a neighbour's that is shown, in characters.
const REASON_CHARS: usize = 200;

/// No answer, or none that is HTTP.
pub(super) fn of_call(origin: &str, error: &reqwest::Error) -> Fault {
    if let Some(forbidden) = cause::<Forbidden>(error) {
        let told = format!("{origin}: {forbidden}; name its network in `allow_networks` to call it");
        return Fault::permanent("address-forbidden", told);
    }
    let deepest = deepest(error);
    if cause::<rustls::Error>(error).is_some() {
        let told = format!("{origin}: its certificate or TLS cannot be trusted: {deepest}");
        return Fault::temporary("tls-failed", told);
    }
    if cause::<hyper::Error>(error).is_some_and(hyper::Error::is_parse) {
        let told = format!("{origin} answered in something that is not HTTP; is the address right?");
        return Fault::permanent("answer-invalid", told);
    }
    let (code, what) = if error.is_dns() {
        ("unreachable", "its name does not resolve")
    } else if error.is_timeout() && error.is_connect() {
        ("unreachable", "cannot be reached in time")
    } else if error.is_timeout() {
        ("timeout", "did not answer in time")
    } else if error.is_connect() {
        ("unreachable", "cannot be reached")
    } else {
        ("connection-lost", "ended the connection before its answer was whole")
    };
    Fault::temporary(code, format!("{origin}: {what} ({deepest})"))
}

/// An answer of a status that is no success.
pub(super) fn of_status(origin: &str, status: StatusCode, wait: Option<Duration>, body: &[u8]) -> Fault {
    let reason = reason(body);
    let told = |more: &str| format!("{origin} answered {status}{reason}{more}");
    match status.as_u16() {
        408 | 425 | 429 => Fault { retry_after: wait, ..Fault::temporary("busy", told("")) },
        500.. => Fault { retry_after: wait, ..Fault::temporary("server-error", told("")) },
        300..400 => {
            Fault::permanent("redirected", told("; redirects are not followed: set the final address"))
        }
        401 | 403 => Fault::permanent("rejected", told("; does it know the same secret?")),
        400..500 => {
            Fault::permanent("rejected", told("; what it has to answer is in docs/connectors/webhook.md"))
        }
        _ => Fault::permanent("answer-invalid", told("")),
    }
}

/// Others are being answered all the time, or not at all.
pub(super) fn no_turn(origin: &str, concurrency: usize) -> Fault {
    let told = format!("{origin}: all {concurrency} calls at a time were under way for too long");
    Fault::temporary("busy", told)
}

pub(super) fn too_large(origin: &str) -> Fault {
    Fault::permanent("answer-too-large", format!("{origin} answered more than {ANSWER_BYTES} bytes"))
}

/// When to come again: seconds or a date (RFC 9110, section 10.2.3).
pub(super) fn retry_after(header: Option<&HeaderValue>) -> Option<Duration> {
    let text = header?.to_str().ok()?.trim();
    let wait = match text.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => until(text)?,
    };
    Some(wait.min(LONGEST_WAIT))
}

fn until(date: &str) -> Option<Duration> {
    let then = jiff::fmt::rfc2822::parse(date).ok()?.timestamp();
    Duration::try_from(then.duration_since(jiff::Timestamp::now())).ok()
}

/// What a neighbour says of its refusal: `{"error": "…"}`, made harmless for a terminal.
fn reason(body: &[u8]) -> String {
    let said = serde_json::from_slice::<serde_json::Value>(body).ok();
    let Some(said) = said.as_ref().and_then(|said| said.get("error")?.as_str()) else { return String::new() };
    let plain: String = said.chars().filter(|c| !c.is_control()).take(REASON_CHARS).collect();
    format!(": {plain}")
}

/// The first cause of a type. An [`io::Error`] hides the error that it was made of from `source`.
fn cause<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    if let Some(found) = error.downcast_ref::<E>() {
        return Some(found);
    }
    inner(error).and_then(cause)
}

/// The deepest cause; the layers above it only say that something went wrong.
fn deepest<'a>(error: &'a (dyn Error + 'static)) -> &'a (dyn Error + 'static) {
    inner(error).map_or(error, deepest)
}

fn inner<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    wrapped.map(|wrapped| wrapped as &(dyn Error + 'static)).or_else(|| error.source())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(code: u16, body: &str) -> Fault {
        of_status("https://crm.example", StatusCode::from_u16(code).unwrap(), None, body.as_bytes())
    }

    #[test]
    fn what_may_pass_by_itself_is_temporary_and_the_rest_is_not() {
        for code in [408, 425, 429, 500, 502, 503, 504, 599] {
            assert!(!status(code, "").permanent, "{code}");
        }
        for code in [300, 301, 302, 307, 400, 401, 403, 404, 409, 410, 422] {
            assert!(status(code, "").permanent, "{code}");
        }
    }

    #[test]
    fn a_neighbours_reason_is_shown_and_does_no_harm() {
        let told = status(422, "{\"error\": \"no \\u001b[31mroom\\n\"}").message;
        assert!(told.contains(": no [31mroom;"), "{told}");
        assert!(status(422, &format!("{{\"error\": \"{}\"}}", "x".repeat(9999))).message.len() < 400);
        assert!(!status(422, "<html>secret").message.contains("html"));
    }

    #[test]
    fn a_wait_is_seconds_or_a_date_and_has_a_limit() {
        let wait = |text: &'static str| retry_after(Some(&HeaderValue::from_static(text)));
        assert_eq!(wait("7"), Some(Duration::from_secs(7)));
        assert_eq!(wait("99999999"), Some(LONGEST_WAIT));
        assert_eq!(wait("Tue, 01 Jan 2999 00:00:00 GMT"), Some(LONGEST_WAIT));
        assert_eq!(wait("Fri, 31 Dec 1999 23:59:59 GMT"), None);
        assert_eq!((wait("soon"), wait("-1"), retry_after(None)), (None, None, None));
    }
}
