//! Profiles: what an operator settled beforehand for devices of a kind.

use std::net::IpAddr;

use ipnet::IpNet;
use regex::Regex;

use crate::plan::StepRule;
use crate::{ProfileId, SecretId, TenantId, Timestamp, Verifier, Version};

/// The longest pattern for names that we compile.
pub const MAX_PATTERN_CHARS: usize = 1000;

/// Settings that devices of a kind share, and the secrets that let them in.
#[derive(Clone, Debug)]
pub struct Profile {
    /// Its number.
    pub id: ProfileId,
    /// The tenant it belongs to.
    pub tenant: TenantId,
    /// Its name, unique in the tenant.
    pub name: String,
    /// Who may come in.
    pub strategy: Strategy,
    /// What happens when a provisioned device asks again.
    pub reprovision: Reprovision,
    /// For how long after it was provisioned a device is told the same again (`return-existing`), in milliseconds.
    pub redelivery_window_ms: u64,
    /// Whether an expected device may bring credentials of its own.
    pub pre_provisioned_credentials: PreProvisionedCredentials,
    /// The identifier that devices send; unique over all tenants.
    pub provision_key: String,
    /// The secrets that are valid now, the newest first; two while one is being rotated.
    pub secrets: Vec<GroupSecret>,
    /// What joining takes beside the proof.
    pub joining: Joining,
    /// For how long a device that leaves can be taken back, and its name stays taken, in milliseconds.
    pub grace_period_ms: u64,
    /// Whether an operator has stopped provisioning under it.
    pub frozen: bool,
    /// Rises with every change that an operator makes.
    pub version: Version,
}

/// What joining takes beside the proof: whom to ask before, whom to tell, and what to begin with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Joining {
    /// The hook that is asked before a device is let in.
    pub hook: Option<String>,
    /// Whether a person has to approve each device.
    pub approval: bool,
    /// What is done outside, and when.
    pub steps: Vec<StepRule>,
    /// The attributes that a device begins with; a JSON object.
    pub initial_attributes: Option<String>,
}

/// The grace period of a profile for which nothing else was said: a day.
pub const DEFAULT_GRACE_PERIOD_MS: u64 = 24 * 60 * 60 * 1000;

/// The redelivery window of a profile for which nothing else was said: ten minutes.
pub const DEFAULT_REDELIVERY_WINDOW_MS: u64 = 10 * 60 * 1000;

words! {
    /// Who may come in.
    Strategy {
        /// Any device with the group secret, if its name is free.
        CreateNew = "create-new",
        /// Only devices that an operator announced.
        CheckPreProvisioned = "check-pre-provisioned",
        /// Nobody.
        Disabled = "disabled",
    }
}

words! {
    /// What happens when a device that is provisioned asks again.
    Reprovision {
        /// It is refused.
        Refuse = "refuse",
        /// An equal request is told the same again while the redelivery window is open; refused after that.
        ReturnExisting = "return-existing",
        /// It gets new credentials; the old ones are void in the same write.
        Rotate = "rotate",
    }
}

words! {
    /// What happens when an expected device brings credentials of its own (thingsboard page, section 1, row 6).
    PreProvisionedCredentials {
        /// They become its credentials.
        Accept = "accept",
        /// They are ignored; the server makes the credentials.
        Keep = "keep",
    }
}

/// One secret for many devices, and the limits on its use.
#[derive(Clone, Debug)]
pub struct GroupSecret {
    /// Its number.
    pub id: SecretId,
    /// What an offered secret is compared with.
    pub verifier: Verifier,
    /// The moment from which on it admits nobody.
    pub expires_at: Option<Timestamp>,
    /// How many devices it may still provision, as it was when the profile was read; the record counts.
    pub uses_left: Option<u64>,
    /// The networks that may use it; empty means all.
    pub networks: Vec<IpNet>,
    /// What names must match, whole.
    pub name_pattern: Option<NamePattern>,
    /// Whether an operator has stopped provisioning by it.
    pub frozen: bool,
}

impl GroupSecret {
    /// Whether it still admits anybody at `now`.
    pub fn is_current(&self, now: Timestamp) -> bool {
        self.expires_at.is_none_or(|end| now < end)
    }

    /// Whether a request from `source` may use it. An IPv4 address in IPv6 clothes counts as IPv4.
    pub fn allows_source(&self, source: IpAddr) -> bool {
        let source = source.to_canonical();
        self.networks.is_empty() || self.networks.iter().any(|network| network.contains(&source))
    }

    /// Whether it may provision a device of that name.
    pub fn allows_name(&self, name: &str) -> bool {
        self.name_pattern.as_ref().is_none_or(|pattern| pattern.matches(name))
    }
}

/// A pattern that a whole name must match. It runs in linear time: look-around and back-references do not exist.
#[derive(Clone, Debug)]
pub struct NamePattern {
    text: String,
    regex: Regex,
}

impl NamePattern {
    /// Compiles a pattern.
    ///
    /// # Errors
    /// What is wrong with it, for the operator.
    pub fn parse(text: &str) -> Result<NamePattern, String> {
        if text.chars().count() > MAX_PATTERN_CHARS {
            return Err(format!("the pattern is longer than {MAX_PATTERN_CHARS} characters"));
        }
        // By itself first: `a)|(?:b` would close our group and match parts of names.
        let regex = Regex::new(text)
            .and_then(|_| Regex::new(&format!("^(?:{text})$")))
            .map_err(|error| error.to_string())?;
        Ok(NamePattern { text: text.to_owned(), regex })
    }

    /// The pattern as the operator wrote it.
    pub fn text(&self) -> &str {
        &self.text
    }

    fn matches(&self, name: &str) -> bool {
        self.regex.is_match(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret() -> GroupSecret {
        GroupSecret {
            id: SecretId(1),
            verifier: Verifier([0; 32]),
            expires_at: Some(Timestamp(100)),
            uses_left: None,
            networks: vec!["10.0.0.0/8".parse().unwrap(), "2001:db8::/32".parse().unwrap()],
            name_pattern: Some(NamePattern::parse("pump-[0-9]+|valve").unwrap()),
            frozen: false,
        }
    }

    #[test]
    fn a_secret_ends_at_its_expiry() {
        assert!(secret().is_current(Timestamp(99)));
        assert!(!secret().is_current(Timestamp(100)));
    }

    #[test]
    fn an_address_is_allowed_by_its_network_in_either_clothes() {
        for (address, allowed) in [
            ("10.1.2.3", true),
            ("::ffff:10.1.2.3", true),
            ("11.0.0.1", false),
            ("2001:db8::7", true),
            ("::1", false),
        ] {
            assert_eq!(secret().allows_source(address.parse().unwrap()), allowed, "{address}");
        }
    }

    #[test]
    fn a_pattern_matches_whole_names_only() {
        for (name, allowed) in
            [("pump-17", true), ("valve", true), ("xvalve", false), ("pump-17b", false), ("pump-1\n", false)]
        {
            assert_eq!(secret().allows_name(name), allowed, "{name:?}");
        }
        for bad in ["(", ")", "a)|(?:b"] {
            assert!(NamePattern::parse(bad).is_err(), "{bad}");
        }
        assert!(NamePattern::parse(r"(a)\1").is_err());
    }
}
