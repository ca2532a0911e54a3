//! Who is it that connects over MQTT with these three words, or with this certificate? (thingsboard page, sections 7.2
//! and 7.3)
//!
//! The rules of the words look things up in an order that depends on what was found, so they come in two halves:
//! [`lookups`] says what to look for, one after the other, and [`judge`] says what a find means.

use crate::credentials::{basic_credentials_id, basic_parts};
use crate::{Credential, CredentialKeys, Secret, Timestamp, Verifier};

/// What a CONNECT brought.
#[derive(Clone, Debug)]
pub struct Login {
    /// The client id; empty where it sent none.
    pub client_id: String,
    /// The user name; empty where it sent none. A token travels here.
    pub user_name: Secret,
    /// The password; empty where it sent none.
    pub password: Secret,
}

/// A certificate whose private key a client has shown to hold.
#[derive(Clone, Debug)]
pub struct ShownCertificate {
    /// The SHA-256 of its DER, in lower-case hexadecimal.
    pub fingerprint: String,
    /// From when on it is valid.
    pub not_before: Timestamp,
    /// When it is valid no more.
    pub expires_at: Timestamp,
}

impl ShownCertificate {
    /// What to look for. A find that is no certificate is none: everybody can know a fingerprint, and take it for a token.
    pub fn lookup(&self, keys: &dyn CredentialKeys) -> Verifier {
        keys.verifier(&self.fingerprint)
    }

    /// Whether it is valid at this time.
    pub fn is_valid_at(&self, now: Timestamp) -> bool {
        self.not_before <= now && now < self.expires_at
    }
}

/// Something to look for in the index of credentials.
#[derive(Clone, Copy, Debug)]
pub struct Lookup {
    /// The verifier of a credentials id.
    pub verifier: Verifier,
    by: By,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    /// Client id and user name together, hashed.
    Identity,
    /// The user name itself: a token, or the name of MQTT basic credentials.
    UserName,
}

/// What a find means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is this device.
    Accepted,
    /// It is not, and nothing else is to be tried.
    Refused,
    /// Try the next look-up.
    Next,
}

/// What to look for, in this order.
pub fn lookups(login: &Login, keys: &dyn CredentialKeys) -> Vec<Lookup> {
    let user_name = login.user_name.expose();
    let joined = match (login.client_id.is_empty(), user_name.is_empty()) {
        (true, true) => return Vec::new(),
        (true, false) => keys.sha3_256_hex(user_name),
        (false, _) => basic_credentials_id(&login.client_id, user_name, keys),
    };
    let mut lookups = vec![Lookup { verifier: keys.verifier(&joined), by: By::Identity }];
    if !user_name.is_empty() {
        lookups.push(Lookup { verifier: keys.verifier(user_name), by: By::UserName });
    }
    lookups
}

/// What it means that `found` stands under `lookup`.
pub fn judge(login: &Login, lookup: &Lookup, found: &Credential, keys: &dyn CredentialKeys) -> Verdict {
    match (lookup.by, found) {
        (By::UserName, Credential::Token(..)) => Verdict::Accepted,
        (By::UserName, Credential::Basic(_, _, stored)) => match compare(login, stored, keys) {
            Match::Whole => Verdict::Accepted,
            Match::WrongPassword | Match::Other => Verdict::Refused,
        },
        (By::Identity, Credential::Basic(_, _, stored)) => match compare(login, stored, keys) {
            Match::Whole => Verdict::Accepted,
            Match::WrongPassword => Verdict::Refused,
            Match::Other => Verdict::Next,
        },
        _ => Verdict::Next,
    }
}

enum Match {
    Whole,
    WrongPassword,
    Other,
}

/// Each stored part must be equal; a part that was not stored matches anything.
fn compare(login: &Login, stored: &crate::credentials::BasicParts, keys: &dyn CredentialKeys) -> Match {
    let offered = basic_parts(&login.client_id, login.user_name.expose(), login.password.expose(), keys);
    let fits = |stored: Option<Verifier>, offered: Option<Verifier>| stored.is_none() || stored == offered;
    if !fits(stored.client_id, offered.client_id) || !fits(stored.user_name, offered.user_name) {
        return Match::Other;
    }
    if fits(stored.password, offered.password) { Match::Whole } else { Match::WrongPassword }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credentials::tests::{Glass, basic, certificate};
    use crate::{Generation, Wish};

    fn login(client_id: &str, user_name: &str, password: &str) -> Login {
        Login {
            client_id: client_id.into(),
            user_name: Secret::new(user_name),
            password: Secret::new(password),
        }
    }

    /// Runs the two halves against a registry of one device.
    fn accepted(wish: &Wish, login: &Login) -> bool {
        let held = wish.credential(Generation(1)).unwrap();
        let (_, id) = held.chosen().unwrap();
        for lookup in lookups(login, &Glass).iter().filter(|lookup| lookup.verifier == id) {
            match judge(login, lookup, &held, &Glass) {
                Verdict::Accepted => return true,
                Verdict::Refused => return false,
                Verdict::Next => {}
            }
        }
        false
    }

    #[test]
    fn a_token_as_user_name_opens_whatever_client_id_and_password_are() {
        let token = Wish::token(Secret::new("tok"), &Glass);
        assert!(accepted(&token, &login("", "tok", "")));
        assert!(accepted(&token, &login("any", "tok", "thing")));
        assert!(!accepted(&token, &login("tok", "", "")));
    }

    #[test]
    fn nobody_comes_in_by_what_everybody_can_know_of_a_certificate() {
        let wish = Wish::certificate(certificate("MIIB", "abab"), &Glass);
        for word in ["sha3(MIIB)", "MIIB", "abab"] {
            for login in
                [login("", word, ""), login(word, "", ""), login("any", word, word), login(word, word, "")]
            {
                assert!(!accepted(&wish, &login), "{login:?}");
            }
        }
    }

    #[test]
    fn a_certificate_is_found_whether_itself_or_its_fingerprint_was_given() {
        for text in ["MIIB", "abab"] {
            let held =
                Wish::certificate(certificate(text, "abab"), &Glass).credential(Generation(1)).unwrap();
            assert_eq!(held.chosen(), Some((Generation(1), shown(10, 20).lookup(&Glass))));
        }
    }

    #[test]
    fn a_certificate_is_valid_from_its_first_moment_and_not_beyond_its_last() {
        let valid = |now| shown(10, 20).is_valid_at(Timestamp(now));
        assert_eq!([9, 10, 19, 20].map(valid), [false, true, true, false]);
    }

    fn shown(not_before: i64, expires_at: i64) -> ShownCertificate {
        ShownCertificate {
            fingerprint: "abab".into(),
            not_before: Timestamp(not_before),
            expires_at: Timestamp(expires_at),
        }
    }

    #[test]
    fn stored_parts_must_be_equal_and_absent_parts_match_anything() {
        let cases = [
            (basic("c", "", ""), login("c", "", ""), true),
            (basic("c", "", ""), login("d", "", ""), false),
            (basic("", "u", ""), login("any", "u", "thing"), true),
            (basic("", "u", "p"), login("any", "u", "p"), true),
            (basic("", "u", "p"), login("any", "u", "q"), false),
            (basic("c", "u", "p"), login("c", "u", "p"), true),
            (basic("c", "u", "p"), login("c", "u", ""), false),
            (basic("c", "u", "p"), login("d", "u", "p"), false),
            (basic("c", "u", ""), login("c", "u", "whatever"), true),
            (basic("c", "", ""), login("c", "u", ""), false),
        ];
        for (stored, offered, expected) in cases {
            let told = format!("{stored:?} {offered:?}");
            assert_eq!(accepted(&Wish::basic(stored, &Glass), &offered), expected, "{told}");
        }
    }
}
