//! Is it who it says? One module a way of proof.

mod group_secret;

use std::sync::Arc;

use crate::name::Name;
use crate::{Claim, Evidence, GroupSecret, Origin, Profile, Refusal, Request, SecretId, Wish};

/// What is needed to judge evidence, looked up by the words of the evidence itself.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    /// The profile that the evidence names, if there is one and the claim's listener may see it.
    pub profile: Option<Arc<Profile>>,
}

/// A claim whose evidence has been checked. Only [`attest`] makes one, so nothing behind it can forget to check.
#[derive(Debug)]
pub struct Attested {
    request: Request,
    name: Option<Name>,
    profile: Arc<Profile>,
    secret: SecretId,
}

impl Attested {
    /// The registration id, in the form in which it is stored; `None` asks for one of the server's making.
    pub fn name(&self) -> Option<&Name> {
        self.name.as_ref()
    }

    /// The profile it proved to belong to.
    pub fn profile(&self) -> &Arc<Profile> {
        &self.profile
    }

    /// The credentials it would like to have.
    pub fn wish(&self) -> &Wish {
        &self.request.wish
    }

    /// Whether it says that it speaks for other devices.
    pub fn gateway(&self) -> bool {
        self.request.gateway
    }

    /// Where the request came from.
    pub fn origin(&self) -> Origin {
        self.request.origin
    }

    /// The group secret that proved it, as the profile had it when it was attested.
    pub fn secret(&self) -> Option<&GroupSecret> {
        self.profile.secrets.iter().find(|secret| secret.id == self.secret)
    }

    /// The provision key under which it came.
    pub fn provision_key(&self) -> &str {
        let Evidence::GroupSecret { key, .. } = &self.request.evidence;
        key
    }

    /// Checks the same evidence once more, after the profile has changed.
    ///
    /// # Errors
    /// As [`attest`].
    pub fn renew(self, trust: &Trust) -> Result<Attested, Refusal> {
        attest(self.request, trust)
    }
}

/// Judges the evidence of a request, before anything is looked up by the name it claims.
///
/// # Errors
/// An unproven refusal where the evidence fails; a malformed one where the proven claim breaks the rules for names.
pub fn attest(request: Request, trust: &Trust) -> Result<Attested, Refusal> {
    let Evidence::GroupSecret { key, secret } = &request.evidence;
    let profile = reachable(&request.claim, trust)?;
    let secret = group_secret::prove(key, secret, profile)?;
    Ok(Attested {
        name: Name::from_device(request.claim.registration_id.as_deref())?,
        profile: Arc::clone(profile),
        secret,
        request,
    })
}

/// A listener that belongs to a tenant knows no other tenant's profiles.
fn reachable<'a>(claim: &Claim, trust: &'a Trust) -> Result<&'a Arc<Profile>, Refusal> {
    let inside = |profile: &&Arc<Profile>| claim.within.is_none_or(|tenant| tenant == profile.tenant);
    trust.profile.as_ref().filter(inside).ok_or(Refusal::ProfileUnknown)
}
