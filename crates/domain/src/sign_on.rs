//! Signing on over an OpenID provider: what its word is worth here.
//!
//! A signature says who speaks; these rules say whom he may speak for, and to whom. They follow OpenID Connect
//! Core 1.0, section 3.1.3.7, and RFC 8725. Nobody is let in whom no mapping names.

use crate::{Role, Timestamp};

/// How far the provider's clock may be from ours, in milliseconds.
pub const LEEWAY_MS: u64 = 60_000;

/// The longest subject (OpenID Connect Core 1.0, section 2), and the longest name of an account, in characters.
const MOST_CHARS: usize = 255;

/// Whom an operator trusts to say who somebody is, and what that makes them here.
#[derive(Clone, Debug)]
pub struct Rules {
    /// The provider, as it names itself.
    pub issuer: String,
    /// What we are called there.
    pub client_id: String,
    /// Groups and what they may do here; the first that fits counts.
    pub mappings: Vec<Mapping>,
    /// The domains of e-mail addresses that may sign on; empty means that nothing is asked of the address.
    pub email_domains: Vec<String>,
}

/// What a group of the provider's may do here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// The group, as the claim spells it.
    pub group: String,
    /// What its members may do.
    pub role: Role,
    /// The name of the tenant they are limited to; `None` for the whole server.
    pub tenant: Option<String>,
}

/// What a provider says of somebody. Its signature was found to be right.
#[derive(Clone, Debug)]
pub struct Vouched {
    /// Who says so.
    pub issuer: String,
    /// To whom it is said.
    pub audiences: Vec<String>,
    /// Who asked for it, where that is told.
    pub authorized_party: Option<String>,
    /// Whom it is about: never given to anybody else by the same issuer.
    pub subject: String,
    /// When it was said.
    pub issued_at: Timestamp,
    /// From when on it is true.
    pub not_before: Option<Timestamp>,
    /// When it ends.
    pub expires_at: Timestamp,
    /// An e-mail address that the provider has verified.
    pub verified_email: Option<String>,
    /// The groups somebody is in.
    pub groups: Vec<String>,
}

vocabulary! {
    /// Why somebody whom a provider is said to vouch for is not let in.
    SignOnRefusal;

    Off, "openid-off", NotFound,
        "No OpenID provider is configured here.",
        "Configure one in [sign_on.openid], or sign on with an account of this server.";
    Malformed, "openid-malformed", Unproven,
        "The token is not one that says who somebody is.",
        "Show an ID token, or an access token that is a JWT with iss, sub, aud, exp and iat.";
    Algorithm, "openid-algorithm", Unproven,
        "The token is not signed, or by an algorithm that is not taken.",
        "Let the provider sign by RS256, ES256 or EdDSA.";
    KeyUnknown, "openid-key-unknown", Unproven,
        "The provider does not publish the key that the token is said to be signed by.",
        "Sign on anew. If the provider has just changed its keys, wait a few seconds.";
    Signature, "openid-signature", Unproven,
        "The token was not signed by the provider.",
        "Sign on anew, at the provider that [sign_on.openid] names.";
    Issuer, "openid-issuer", Unproven,
        "The token comes from another issuer.",
        "Compare `iss` of the token with `issuer` in [sign_on.openid], to the last character.";
    Audience, "openid-audience", Unproven,
        "The token was made for somebody else.",
        "Compare `aud` and `azp` of the token with `client_id` in [sign_on.openid].";
    Expired, "openid-expired", Unproven,
        "The token has expired.",
        "Sign on anew.";
    NotYet, "openid-not-yet-valid", Unproven,
        "The token is not valid yet.",
        "Set the clocks of this server and of the provider.";
    EmailDomain, "openid-email-domain", Forbidden,
        "The provider names no verified e-mail address of a domain that may sign on.",
        "Add the domain to `email_domains` in [sign_on.openid], or let the provider verify and tell the address.";
    NoRole, "openid-no-role", Forbidden,
        "The provider names no group that has a role here.",
        "Put the person into a group that `roles` in [sign_on.openid] names, and see that the token carries `claim`.";
    TenantUnknown, "openid-tenant-unknown", Forbidden,
        "The group's role is within a tenant that does not exist.",
        "Make the tenant (muster tenant create), or correct `roles` in [sign_on.openid].";
    AccountRemoved, "openid-account-removed", Unproven,
        "The account was removed, or lost its role, after the token was made.",
        "Sign on anew, if you may.";
    NameTaken, "openid-name-taken", Forbidden,
        "Another account has the name that this one would get.",
        "Remove or rename the other one: muster operator list.";
    CodeRefused, "openid-code-refused", Unproven,
        "The provider gives no token for what was shown.",
        "Begin to sign on anew.";
    Pending, "openid-pending", Unavailable,
        "Nobody has signed on at the provider yet.",
        "Open the address, type the code, and ask again.";
    DeviceUnsupported, "openid-device-unsupported", NotFound,
        "The provider cannot let somebody sign on by a code on another machine.",
        "Sign on with a browser on this machine.";
    RedirectForbidden, "openid-redirect-forbidden", Forbidden,
        "Nobody may be sent back to this address.",
        "Use the `redirect_uri` of [sign_on.openid].";
    Unreachable, "openid-unreachable", Unavailable,
        "The OpenID provider cannot be asked.",
        "See that it runs and may be called (allow_networks, root_certificate). Accounts of this server can sign on all the same.";
}

/// What somebody may do here whom a provider vouches for.
///
/// # Errors
/// Why nothing.
pub fn judge<'a>(rules: &'a Rules, vouched: &Vouched, now: Timestamp) -> Result<&'a Mapping, SignOnRefusal> {
    if !is_subject(&vouched.subject) {
        return Err(SignOnRefusal::Malformed);
    }
    if vouched.issuer != rules.issuer {
        return Err(SignOnRefusal::Issuer);
    }
    if !is_for(&rules.client_id, vouched) {
        return Err(SignOnRefusal::Audience);
    }
    if vouched.expires_at.plus_ms(LEEWAY_MS) <= now {
        return Err(SignOnRefusal::Expired);
    }
    let latest = now.plus_ms(LEEWAY_MS);
    if vouched.issued_at > latest || vouched.not_before.is_some_and(|begin| begin > latest) {
        return Err(SignOnRefusal::NotYet);
    }
    if !rules.email_domains.is_empty() && !is_of(&rules.email_domains, vouched.verified_email.as_deref()) {
        return Err(SignOnRefusal::EmailDomain);
    }
    let fits = |mapping: &&Mapping| vouched.groups.contains(&mapping.group);
    rules.mappings.iter().find(fits).ok_or(SignOnRefusal::NoRole)
}

fn is_subject(subject: &str) -> bool {
    (1..=MOST_CHARS).contains(&subject.chars().count()) && !subject.chars().any(char::is_control)
}

/// Whoever asked for a token that others may read too has to be us.
fn is_for(client_id: &str, vouched: &Vouched) -> bool {
    let named = vouched.audiences.iter().any(|audience| audience == client_id);
    named
        && match &vouched.authorized_party {
            Some(party) => party == client_id,
            None => vouched.audiences.len() == 1,
        }
}

fn is_of(domains: &[String], email: Option<&str>) -> bool {
    let domain = email.and_then(|email| email.rsplit_once('@')).map(|(_, domain)| domain);
    domain.is_some_and(|domain| domains.iter().any(|allowed| allowed.eq_ignore_ascii_case(domain)))
}

impl Vouched {
    /// The names that an account for this person may have, the best one first. An address that nobody has verified
    /// is not among them: it could be somebody else's.
    pub fn names(&self) -> Vec<String> {
        let host =
            self.issuer.split("://").last().and_then(|rest| rest.split('/').next()).unwrap_or_default();
        let of_subject = format!("{}@{host}", self.subject);
        let plain = |name: &String| !name.chars().any(char::is_control) && name.trim() == name;
        self.verified_email
            .iter()
            .cloned()
            .chain([of_subject])
            .map(|name| name.chars().take(MOST_CHARS).collect())
            .filter(plain)
            .collect()
    }
}

impl Mapping {
    /// Reads `GROUP -> ROLE` or `GROUP -> ROLE in TENANT`.
    pub fn parse(text: &str) -> Option<Mapping> {
        let (group, right) = text.rsplit_once(" -> ")?;
        let (role, tenant) = match right.trim().split_once(" in ") {
            Some((role, tenant)) => (role, Some(tenant.trim().to_owned())),
            None => (right, None),
        };
        let group = group.trim();
        let role = Role::from_word(role.trim())?;
        (!group.is_empty()).then(|| Mapping { group: group.to_owned(), role, tenant })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_800_000_000_000);

    fn rules() -> Rules {
        let mapping = |text| Mapping::parse(text).unwrap();
        Rules {
            issuer: "https://id.example".into(),
            client_id: "muster".into(),
            mappings: vec![mapping("admins -> admin"), mapping("fitters -> installer in plant 7")],
            email_domains: Vec::new(),
        }
    }

    fn ann() -> Vouched {
        Vouched {
            issuer: "https://id.example".into(),
            audiences: vec!["muster".into()],
            authorized_party: None,
            subject: "42".into(),
            issued_at: NOW,
            not_before: None,
            expires_at: NOW.plus_ms(1),
            verified_email: Some("ann@example.org".into()),
            groups: vec!["staff".into(), "fitters".into()],
        }
    }

    fn judged(change: impl FnOnce(&mut Vouched)) -> Result<(Role, Option<String>), SignOnRefusal> {
        let mut vouched = ann();
        change(&mut vouched);
        judge(&rules(), &vouched, NOW).map(|mapping| (mapping.role, mapping.tenant.clone()))
    }

    #[test]
    fn a_group_gives_a_role_and_the_first_mapping_that_fits_counts() {
        assert_eq!(judged(|_| ()), Ok((Role::Installer, Some("plant 7".into()))));
        assert_eq!(judged(|ann| ann.groups.push("admins".into())), Ok((Role::Admin, None)));
    }

    #[test]
    fn whoever_is_in_no_group_with_a_role_is_nobody() {
        for groups in [vec![], vec!["staff".to_owned()], vec!["Admins".to_owned()]] {
            assert_eq!(judged(|ann| ann.groups = groups), Err(SignOnRefusal::NoRole));
        }
    }

    #[test]
    fn only_the_word_of_our_provider_to_us_counts() {
        let other = |issuer: &str| judged(|ann| ann.issuer = issuer.into());
        for issuer in ["https://id.example/", "https://ID.example", "https://evil.example", ""] {
            assert_eq!(other(issuer), Err(SignOnRefusal::Issuer), "{issuer}");
        }
        let to = |audiences: &[&str], party: Option<&str>| {
            judged(|ann| {
                ann.audiences = audiences.iter().map(|&audience| audience.to_owned()).collect();
                ann.authorized_party = party.map(str::to_owned);
            })
        };
        assert!(to(&["muster"], Some("muster")).is_ok() && to(&["other", "muster"], Some("muster")).is_ok());
        let foreign: [(&[&str], _); 5] = [
            (&[], None),
            (&["other"], None),
            (&["other"], Some("muster")),
            (&["muster", "other"], None),
            (&["muster"], Some("other")),
        ];
        for (audiences, party) in foreign {
            assert_eq!(to(audiences, party), Err(SignOnRefusal::Audience), "{audiences:?} {party:?}");
        }
    }

    #[test]
    fn clocks_may_differ_by_a_minute_and_no_more() {
        let ago = |ms: i64| Timestamp(NOW.0 - ms);
        assert!(judged(|ann| ann.expires_at = ago(59_999)).is_ok());
        assert_eq!(judged(|ann| ann.expires_at = ago(60_000)), Err(SignOnRefusal::Expired));
        assert!(judged(|ann| ann.issued_at = ago(-60_000)).is_ok());
        assert_eq!(judged(|ann| ann.issued_at = ago(-60_001)), Err(SignOnRefusal::NotYet));
        assert!(judged(|ann| ann.not_before = Some(ago(-60_000))).is_ok());
        assert_eq!(judged(|ann| ann.not_before = Some(ago(-60_001))), Err(SignOnRefusal::NotYet));
    }

    #[test]
    fn a_domain_is_that_of_a_verified_address() {
        let rules = Rules { email_domains: vec!["example.org".into()], ..rules() };
        let with = |email: Option<&str>| {
            let vouched = Vouched { verified_email: email.map(str::to_owned), ..ann() };
            judge(&rules, &vouched, NOW).map(|_| ())
        };
        assert_eq!(with(Some("ann@EXAMPLE.org")), Ok(()));
        for email in [None, Some("ann"), Some("ann@sub.example.org"), Some("example.org@evil.example")] {
            assert_eq!(with(email), Err(SignOnRefusal::EmailDomain), "{email:?}");
        }
    }

    #[test]
    fn a_subject_is_short_and_plain() {
        for subject in ["", "a\nb", &"x".repeat(256)] {
            assert_eq!(judged(|ann| ann.subject = subject.into()), Err(SignOnRefusal::Malformed));
        }
    }

    #[test]
    fn an_account_is_named_by_a_verified_address_or_else_by_the_subject() {
        assert_eq!(ann().names(), ["ann@example.org", "42@id.example"]);
        assert_eq!(Vouched { verified_email: None, ..ann() }.names(), ["42@id.example"]);
    }

    #[test]
    fn a_mapping_is_read_from_its_text() {
        let read = |text: &str| Mapping::parse(text).map(|it| (it.group, it.role, it.tenant));
        let ldap = "cn=a,ou=b";
        assert_eq!(read(&format!("{ldap} -> viewer")), Some((ldap.into(), Role::Viewer, None)));
        assert_eq!(
            read("a -> b -> admin in c in d"),
            Some(("a -> b".into(), Role::Admin, Some("c in d".into())))
        );
        for text in ["", "a", "a ->", " -> admin", "a -> root", "a->admin"] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn each_code_stands_once() {
        let mut codes: Vec<_> = SignOnRefusal::ALL.iter().map(|refusal| refusal.code()).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), SignOnRefusal::ALL.len());
    }
}
