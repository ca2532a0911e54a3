//! Packets as they may be shown: without secrets.

use serde_json::Value;

/// Members that hold secrets, in requests and answers (sections 2, 3 and 9.4): a user name may be a token.
const SECRETS: [&str; 3] = ["username", "hash", "credentialsvalue"];
/// How the names of members end that hold secrets, ours and those of whoever calls devices.
const SECRET_ENDINGS: [&str; 6] = ["secret", "token", "password", "passphrase", "key", "credentials"];
/// What ends like a secret and is none.
const PUBLIC: &str = "provisiondevicekey";
/// What stands in a secret's place.
const REMOVED: &str = "[removed]";
/// Words that may be shown of what is no JSON: the names of a provision request's members.
const KNOWN: [&str; 14] = [
    "deviceName",
    "provisionDeviceKey",
    "provisionDeviceSecret",
    "credentialsType",
    "token",
    "username",
    "password",
    "clientId",
    "hash",
    "gateway",
    "ACCESS_TOKEN",
    "MQTT_BASIC",
    "X509_CERTIFICATE",
    "null",
];

/// A packet as text, its secrets removed. Of one that is no JSON only the shape is left, as nobody knows which of its
/// words is the secret: `*` stands for each character of an unknown word.
#[must_use]
pub fn redacted(packet: &[u8]) -> String {
    match serde_json::from_slice(packet) {
        Ok(mut value) => {
            remove(&mut value);
            value.to_string()
        }
        Err(_) => shape(&String::from_utf8_lossy(packet)),
    }
}

fn remove(value: &mut Value) {
    match value {
        Value::Object(members) => members.iter_mut().for_each(|(name, value)| {
            if is_secret(name) && !value.is_null() {
                *value = REMOVED.into();
            } else {
                remove(value);
            }
        }),
        Value::Array(values) => values.iter_mut().for_each(remove),
        _ => {}
    }
}

fn is_secret(name: &str) -> bool {
    let name = name.to_lowercase();
    name != PUBLIC
        && (SECRETS.contains(&name.as_str()) || SECRET_ENDINGS.iter().any(|ending| name.ends_with(ending)))
}

fn shape(text: &str) -> String {
    let is_of_word = |c: char| !(c.is_whitespace() || c.is_control() || "{}[]\",:'".contains(c));
    let mut shape = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let is_word = is_of_word(first);
        let end = rest.find(|c| is_of_word(c) != is_word).unwrap_or(rest.len());
        let (part, further) = rest.split_at(end);
        if !is_word || KNOWN.contains(&part) {
            shape.push_str(part);
        } else {
            shape.extend(part.chars().map(|_| '*'));
        }
        rest = further;
    }
    shape
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn secrets_go_wherever_they_stand_and_the_rest_stays() {
        let asked = br#"{"deviceName":"pump","provisionDeviceSecret":"s3cret","provisionDeviceKey":"key"}"#;
        assert_eq!(
            redacted(asked),
            r#"{"deviceName":"pump","provisionDeviceKey":"key","provisionDeviceSecret":"[removed]"}"#
        );
        let told = br#"{"credentialsType":"MQTT_BASIC","credentialsValue":{"password":"s3cret"},"status":"SUCCESS"}"#;
        assert!(!redacted(told).contains("s3cret"));
        let called =
            br#"{"params":{"apiKey":"s3cret","clientSecret":"s3cret","Password":"s3cret","mode":"on"}}"#;
        assert!(!redacted(called).contains("s3cret") && redacted(called).contains("on"));
        assert_eq!(
            redacted(br#"[{"token":null},{"a":{"token":1}}]"#),
            r#"[{"token":null},{"a":{"token":"[removed]"}}]"#
        );
    }

    #[test]
    fn of_what_is_no_json_the_shape_is_left() {
        assert_eq!(
            redacted(br#"{"deviceName": "pump", "provisionDeviceSecret": "s3cret",}"#),
            r#"{"deviceName": "****", "provisionDeviceSecret": "******",}"#
        );
        assert_eq!(redacted(b"token=s3cret"), "************");
    }

    proptest! {
        #[test]
        fn no_secret_is_left_in_what_was_cut_off(secret in "[a-z0-9]{8,20}", end in 0_usize..80) {
            let whole = format!(r#"{{"deviceName":"pump","provisionDeviceSecret":"{secret}","provisionDeviceKey":"k"}}"#);
            let cut = &whole.as_bytes()[..end.min(whole.len())];
            prop_assert!(!redacted(cut).contains(&secret));
        }
    }
}
