//! Paths and queries of the device API over HTTP.

use std::borrow::Cow;

use hyper::Method;

use super::device::Post;
use crate::hub::Topic;

/// What a path names.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Path<'a> {
    Provision,
    Device { token: Cow<'a, str>, what: What<'a> },
}

/// What is done at a device's path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What<'a> {
    /// Values are posted; attributes are also asked for.
    Values(Post),
    /// Something is waited for; calls are also made.
    Waiting(Topic),
    /// A call is answered, by its number as it is written.
    Answer(&'a str),
    /// An owner will come.
    Claim,
    /// Firmware or software.
    Package,
}

impl<'a> Path<'a> {
    pub(super) fn parse(path: &'a str) -> Option<Path<'a>> {
        let rest = path.strip_prefix("/api/v1/")?;
        if rest == "provision" {
            return Some(Path::Provision);
        }
        let (token, last) = rest.split_once('/')?;
        let what = match last {
            "telemetry" => What::Values(Post::Telemetry),
            "attributes" => What::Values(Post::Attributes),
            "attributes/updates" => What::Waiting(Topic::Attributes),
            "rpc" => What::Waiting(Topic::Calls),
            "claim" => What::Claim,
            "firmware" | "software" => What::Package,
            _ => What::Answer(last.strip_prefix("rpc/").filter(|id| !id.contains('/'))?),
        };
        Some(Path::Device { token: percent_decoded(token)?, what })
    }

    /// The methods that the path takes.
    pub(super) fn allowed(&self) -> &'static str {
        match self {
            Path::Device { what, .. } => match what {
                What::Values(Post::Attributes) | What::Waiting(Topic::Calls) => "GET, POST",
                What::Waiting(Topic::Attributes) | What::Package => "GET",
                What::Values(Post::Telemetry) | What::Answer(_) | What::Claim => "POST",
            },
            Path::Provision => "POST",
        }
    }

    pub(super) fn takes(&self, method: &Method) -> bool {
        self.allowed().split(", ").any(|allowed| allowed == method.as_str())
    }
}

/// The value of a name in a query, the first of several.
pub(super) fn query<'a>(query: &'a str, name: &str) -> Option<Cow<'a, str>> {
    query.split('&').find_map(|pair| {
        let (given, value) = pair.split_once('=').unwrap_or((pair, ""));
        if given != name {
            return None;
        }
        if value.contains('+') {
            return percent_decoded(&value.replace('+', " ")).map(|value| Cow::Owned(value.into_owned()));
        }
        percent_decoded(value)
    })
}

/// A part of a path with its `%xx` undone (RFC 3986, section 2.1); `None` where that is no text.
fn percent_decoded(part: &str) -> Option<Cow<'_, str>> {
    if !part.contains('%') {
        return Some(Cow::Borrowed(part));
    }
    let mut bytes = Vec::with_capacity(part.len());
    let mut pieces = part.split('%');
    bytes.extend_from_slice(pieces.next()?.as_bytes());
    for piece in pieces {
        let (digits, rest) = piece.split_at_checked(2)?;
        if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        bytes.extend_from_slice(rest.as_bytes());
    }
    String::from_utf8(bytes).ok().map(Cow::Owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_in_a_path_may_be_percent_encoded() {
        for (part, expected) in [
            ("abc", Some("abc")),
            ("a%2Fb%20c", Some("a/b c")),
            ("%C3%bc", Some("ü")),
            ("%", None),
            ("%2", None),
            ("%+1", None),
            ("%zz", None),
            ("%ff", None),
            ("%ü", None),
        ] {
            assert_eq!(percent_decoded(part).as_deref(), expected, "{part}");
        }
    }

    #[test]
    fn only_whole_paths_are_known() {
        let what = |path| match Path::parse(path) {
            Some(Path::Device { what, .. }) => Some(what),
            _ => None,
        };
        assert_eq!(Path::parse("/api/v1/provision"), Some(Path::Provision));
        assert_eq!(what("/api/v1/t/telemetry"), Some(What::Values(Post::Telemetry)));
        assert_eq!(what("/api/v1/t/rpc"), Some(What::Waiting(Topic::Calls)));
        assert_eq!(what("/api/v1/t/rpc/x"), Some(What::Answer("x")));
        assert_eq!(what("/api/v1/t/attributes/updates"), Some(What::Waiting(Topic::Attributes)));
        for unknown in [
            "/api/v1/provision/",
            "/api/v1/provision/x",
            "/api/v1/t",
            "/api/v1/t/telemetry/x",
            "/api/v1/t/rpc/1/2",
            "/api/v1/t/attributes/",
        ] {
            assert!(Path::parse(unknown).is_none(), "{unknown}");
        }
    }

    #[test]
    fn a_query_is_read_by_name() {
        let all = "a=1%2C2&b=x+y&a=3&c&d=%zz";
        assert_eq!(query(all, "a").as_deref(), Some("1,2"));
        assert_eq!(query(all, "b").as_deref(), Some("x y"));
        assert_eq!(query(all, "c").as_deref(), Some(""));
        assert_eq!((query(all, "d"), query(all, "e"), query("", "a")), (None, None, None));
    }
}
