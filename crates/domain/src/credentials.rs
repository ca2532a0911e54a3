//! What a device holds once it is provisioned, and what it may choose to hold.

use crate::{Generation, Held, Refusal, Secret, Verifier};

/// The most characters of a token, a client id or a user name (thingsboard page, section 6.1).
pub const MAX_ID_CHARS: usize = 255;
/// The most characters of an MQTT password (thingsboard page, section 6.1).
pub const MAX_PASSWORD_CHARS: usize = 1024;
/// The most characters of a certificate's text (thingsboard page, section 6.1).
pub const MAX_CERTIFICATE_CHARS: usize = 16 << 10;

/// The keyed functions that turn what a device chose into what we compare. The keys live with the secrets.
pub trait CredentialKeys {
    /// The verifier of a text, under the server's pepper.
    fn verifier(&self, text: &str) -> Verifier;
    /// SHA3-256 (FIPS 202) of a text in lower-case hexadecimal.
    fn sha3_256_hex(&self, text: &str) -> String;
}

/// A device's credential as the registry knows it: never in clear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Credential {
    /// None yet.
    None,
    /// A token that the server derives from the device's key and this generation.
    Derived(Generation),
    /// A token that the device chose.
    Token(Generation, Verifier),
    /// MQTT client id, user name and password that the device chose.
    Basic(Generation, Verifier, BasicParts),
    /// A certificate that the device chose, or its fingerprint; the verifier is that of the fingerprint in both cases.
    Certificate(Generation, Verifier),
}

impl Credential {
    /// The word of its kind, everywhere.
    pub fn kind(&self) -> &'static str {
        match self {
            Credential::None => "none",
            Credential::Derived(_) => "token",
            Credential::Token(..) => "chosen-token",
            Credential::Basic(..) => "mqtt-basic",
            Credential::Certificate(..) => "x509",
        }
    }

    /// The generation it was made in; `None` where there is no credential.
    pub fn generation(&self) -> Option<Generation> {
        match self {
            Credential::None => None,
            Credential::Derived(generation) => Some(*generation),
            Credential::Token(..) | Credential::Basic(..) | Credential::Certificate(..) => {
                self.chosen().map(|(generation, _)| generation)
            }
        }
    }

    /// Of what was chosen, by the device or for it: the generation, and the verifier by which it is found, which no other
    /// device has.
    pub fn chosen(&self) -> Option<(Generation, Verifier)> {
        match self {
            Credential::None | Credential::Derived(_) => None,
            Credential::Token(generation, verifier)
            | Credential::Basic(generation, verifier, _)
            | Credential::Certificate(generation, verifier) => Some((*generation, *verifier)),
        }
    }

    /// Whether what the device wishes for is what it already holds.
    pub fn answers(&self, wish: &Wish) -> bool {
        match (self, wish) {
            (Credential::Derived(_), Wish::ServerMade) => true,
            (Credential::Token(_, held), Wish::Token(chosen)) => *held == chosen.verifier,
            (Credential::Basic(_, _, held), Wish::Basic(chosen)) => *held == chosen.parts,
            (Credential::Certificate(_, held), Wish::Certificate(chosen)) => *held == chosen.verifier,
            _ => false,
        }
    }
}

/// Verifiers of the parts of MQTT basic credentials; a part that is absent matches anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BasicParts {
    /// The client id, if it counts.
    pub client_id: Option<Verifier>,
    /// The user name, if it counts.
    pub user_name: Option<Verifier>,
    /// The password, if it counts.
    pub password: Option<Verifier>,
}

/// The credentials a device would like to have.
#[derive(Clone, Debug)]
pub enum Wish {
    /// Whatever the server makes.
    ServerMade,
    /// A token of its own.
    Token(ChosenToken),
    /// MQTT basic credentials of its own.
    Basic(ChosenBasic),
    /// A certificate of its own.
    Certificate(ChosenCertificate),
    /// Something it cannot have. It is told so only after it has proven itself.
    Unusable(Refusal),
}

/// A token that a device chose; made by [`Wish::token`].
#[derive(Clone, Debug)]
pub struct ChosenToken {
    clear: Secret,
    verifier: Verifier,
}

/// MQTT basic credentials that a device chose; made by [`Wish::basic`].
#[derive(Clone, Debug)]
pub struct ChosenBasic {
    clear: Basic,
    verifier: Verifier,
    parts: BasicParts,
}

/// A certificate that a device chose; made by [`Wish::certificate`].
#[derive(Clone, Debug)]
pub struct ChosenCertificate {
    text: String,
    verifier: Verifier,
}

/// A certificate as a device may bring it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// The base64 of its DER in one line; or its fingerprint, where nothing more is known.
    pub text: String,
    /// The SHA-256 of its DER, in lower-case hexadecimal. It is found by this one, whichever was given: who brings the
    /// certificate must not take the place of who brought its fingerprint.
    pub fingerprint: String,
}

/// MQTT basic credentials in clear; parts that do not count are empty.
#[derive(Clone, Debug)]
pub struct Basic {
    /// The MQTT client id.
    pub client_id: String,
    /// The MQTT user name.
    pub user_name: String,
    /// The MQTT password.
    pub password: Secret,
}

impl Wish {
    /// A token that the device chose; unusable where it breaks the rules for tokens.
    pub fn token(clear: Secret, keys: &dyn CredentialKeys) -> Wish {
        if clear.expose().is_empty() {
            return Wish::Unusable(Refusal::CredentialsIncomplete);
        }
        if !is_plain(clear.expose(), MAX_ID_CHARS) {
            return Wish::Unusable(Refusal::CredentialsMalformed);
        }
        let verifier = keys.verifier(clear.expose());
        Wish::Token(ChosenToken { clear, verifier })
    }

    /// MQTT basic credentials that the device chose; unusable where they break the rules
    /// (thingsboard page, sections 3.4 and 6.1).
    pub fn basic(clear: Basic, keys: &dyn CredentialKeys) -> Wish {
        match check_basic(&clear) {
            Ok(()) => {
                let verifier = keys.verifier(&basic_credentials_id(&clear.client_id, &clear.user_name, keys));
                let parts = basic_parts(&clear.client_id, &clear.user_name, clear.password.expose(), keys);
                Wish::Basic(ChosenBasic { clear, verifier, parts })
            }
            Err(refusal) => Wish::Unusable(refusal),
        }
    }

    /// A certificate that the device chose; unusable where its text is none.
    pub fn certificate(certificate: Certificate, keys: &dyn CredentialKeys) -> Wish {
        let Certificate { text, fingerprint } = certificate;
        if text.is_empty() || !is_plain(&text, MAX_CERTIFICATE_CHARS) {
            return Wish::Unusable(Refusal::CertificateMalformed);
        }
        Wish::Certificate(ChosenCertificate { text, verifier: keys.verifier(&fingerprint) })
    }

    /// The word of the kind of credential it asks for, everywhere.
    pub fn kind(&self) -> &'static str {
        self.credential(crate::Generation(0)).map_or("none", |credential| credential.kind())
    }

    /// The credential this wish becomes in `generation`.
    ///
    /// # Errors
    /// Why it cannot be had.
    pub fn credential(&self, generation: Generation) -> Result<Credential, Refusal> {
        match self {
            Wish::ServerMade => Ok(Credential::Derived(generation)),
            Wish::Token(chosen) => Ok(Credential::Token(generation, chosen.verifier)),
            Wish::Basic(chosen) => Ok(Credential::Basic(generation, chosen.verifier, chosen.parts)),
            Wish::Certificate(chosen) => Ok(Credential::Certificate(generation, chosen.verifier)),
            Wish::Unusable(refusal) => Err(*refusal),
        }
    }

    /// What the device chose, in clear; `None` where the server makes it.
    pub fn chosen(&self) -> Option<Held> {
        match self {
            Wish::Token(chosen) => Some(Held::Token(chosen.clear.clone())),
            Wish::Basic(chosen) => Some(Held::Basic(chosen.clear.clone())),
            Wish::Certificate(chosen) => Some(Held::Certificate(chosen.text.clone())),
            Wish::ServerMade | Wish::Unusable(_) => None,
        }
    }
}

/// The identifier of MQTT basic credentials (thingsboard page, section 6): the user name alone, or the
/// SHA3-256 of the client id, or of client id, bar and user name.
pub fn basic_credentials_id(client_id: &str, user_name: &str, keys: &dyn CredentialKeys) -> String {
    match (client_id.is_empty(), user_name.is_empty()) {
        (true, _) => user_name.to_owned(),
        (false, true) => keys.sha3_256_hex(client_id),
        (false, false) => keys.sha3_256_hex(&format!("{client_id}|{user_name}")),
    }
}

/// The identifier of a certificate in ThingsBoard's words (thingsboard page, section 6): the SHA3-256 of its text.
/// Everybody can know it, and nothing is found by it.
pub fn certificate_credentials_id(text: &str, keys: &dyn CredentialKeys) -> String {
    keys.sha3_256_hex(text)
}

/// Verifiers of the parts that are not empty. Each part has a name before it, so that equal texts in two
/// places, or a token of the same text, have different verifiers.
pub fn basic_parts(
    client_id: &str,
    user_name: &str,
    password: &str,
    keys: &dyn CredentialKeys,
) -> BasicParts {
    let part = |name: &str, text: &str| {
        (!text.is_empty()).then(|| keys.verifier(Secret::new(format!("{name}\0{text}")).expose()))
    };
    BasicParts {
        client_id: part("client-id", client_id),
        user_name: part("user-name", user_name),
        password: part("password", password),
    }
}

fn check_basic(basic: &Basic) -> Result<(), Refusal> {
    let (client_id, user_name, password) = (&basic.client_id, &basic.user_name, basic.password.expose());
    if client_id.is_empty() && user_name.is_empty() {
        return Err(Refusal::BasicIdentityMissing);
    }
    if user_name.is_empty() && !password.is_empty() {
        return Err(Refusal::BasicPasswordWithoutUser);
    }
    let plain = is_plain(client_id, MAX_ID_CHARS)
        && is_plain(user_name, MAX_ID_CHARS)
        && is_plain(password, MAX_PASSWORD_CHARS);
    if plain { Ok(()) } else { Err(Refusal::CredentialsMalformed) }
}

fn is_plain(text: &str, max_chars: usize) -> bool {
    text.chars().count() <= max_chars && !text.chars().any(char::is_control)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Keys that hide nothing: tests see through them.
    pub(crate) struct Glass;

    impl CredentialKeys for Glass {
        fn verifier(&self, text: &str) -> Verifier {
            let mut bytes = [0_u8; 32];
            for (at, byte) in text.bytes().enumerate() {
                bytes[at % 32] = bytes[at % 32].wrapping_mul(31) ^ byte;
            }
            Verifier(bytes)
        }

        fn sha3_256_hex(&self, text: &str) -> String {
            format!("sha3({text})")
        }
    }

    pub(crate) fn basic(client_id: &str, user_name: &str, password: &str) -> Basic {
        Basic { client_id: client_id.into(), user_name: user_name.into(), password: Secret::new(password) }
    }

    pub(crate) fn certificate(text: &str, fingerprint: &str) -> Certificate {
        Certificate { text: text.into(), fingerprint: fingerprint.into() }
    }

    fn refusal(wish: &Wish) -> Option<Refusal> {
        wish.credential(Generation(1)).err()
    }

    #[test]
    fn a_token_has_1_to_255_characters_and_no_control_characters() {
        for (token, expected) in [
            ("x".repeat(255), None),
            ("x".repeat(256), Some(Refusal::CredentialsMalformed)),
            ("a\tb".into(), Some(Refusal::CredentialsMalformed)),
            (String::new(), Some(Refusal::CredentialsIncomplete)),
        ] {
            assert_eq!(refusal(&Wish::token(Secret::new(token), &Glass)), expected);
        }
    }

    #[test]
    fn basic_credentials_need_an_identity_and_a_password_needs_a_user() {
        for ((client_id, user_name, password), expected) in [
            (("", "", "p"), Some(Refusal::BasicIdentityMissing)),
            (("c", "", "p"), Some(Refusal::BasicPasswordWithoutUser)),
            (("c", "", ""), None),
            (("", "u", ""), None),
            (("c", "u", "p"), None),
            (("c", "u", "p\n"), Some(Refusal::CredentialsMalformed)),
        ] {
            assert_eq!(refusal(&Wish::basic(basic(client_id, user_name, password), &Glass)), expected);
        }
    }

    #[test]
    fn the_identifier_of_basic_credentials_follows_the_parts_that_are_there() {
        assert_eq!(basic_credentials_id("", "u", &Glass), "u");
        assert_eq!(basic_credentials_id("c", "", &Glass), "sha3(c)");
        assert_eq!(basic_credentials_id("c", "u", &Glass), "sha3(c|u)");
    }

    #[test]
    fn a_certificate_has_1_to_16384_characters() {
        for (length, expected) in [
            (0, Some(Refusal::CertificateMalformed)),
            (1, None),
            (MAX_CERTIFICATE_CHARS, None),
            (MAX_CERTIFICATE_CHARS + 1, Some(Refusal::CertificateMalformed)),
        ] {
            assert_eq!(refusal(&Wish::certificate(certificate(&"M".repeat(length), "ab"), &Glass)), expected);
        }
    }

    #[test]
    fn a_wish_is_answered_only_by_the_same_credential() {
        let wish = Wish::basic(basic("c", "u", "p"), &Glass);
        let held = wish.credential(Generation(1)).unwrap();
        assert!(held.answers(&wish));
        assert!(!held.answers(&Wish::basic(basic("c", "u", "q"), &Glass)));
        assert!(!held.answers(&Wish::ServerMade));
        assert!(Credential::Derived(Generation(1)).answers(&Wish::ServerMade));
        let wish = Wish::certificate(certificate("MIIB", "ab"), &Glass);
        let held = wish.credential(Generation(1)).unwrap();
        assert!(held.answers(&wish));
        assert!(held.answers(&Wish::certificate(certificate("ab", "ab"), &Glass)));
        assert!(!held.answers(&Wish::certificate(certificate("MIIC", "cd"), &Glass)));
        assert!(!held.answers(&Wish::token(Secret::new("ab"), &Glass)));
    }
}
