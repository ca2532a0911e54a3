//! What `muster profile set --rotate-secret` voids at once: asked about before, or only told.

use jiff::Timestamp;
use wire::admin::{Profile, ProfileSecret};

use super::Scope;
use crate::client::Client;
use crate::confirm::Confirmation;
use crate::failure::Failure;
use crate::render::Output;

/// A new group secret for a profile, and for how many seconds the old one stays valid beside it.
pub(crate) struct Rotation<'a> {
    pub(crate) profile: &'a str,
    pub(crate) scope: &'a Scope,
    pub(crate) overlap: u64,
}

impl Rotation<'_> {
    /// Asks where a group secret is voided at once. The version of the profile that was asked about: what is voided is
    /// that, and nothing that came in meanwhile.
    pub(crate) async fn confirm(&self, sure: Confirmation, client: &Client) -> Result<Option<u64>, Failure> {
        if sure.is_given() {
            return Ok(None);
        }
        let profile = self.read(client).await?;
        let voided = voided(&profile, self.overlap, Timestamp::now());
        if voided.is_empty() {
            return Ok(None);
        }
        sure.ask(&format!("Rotate, and void {} of the profile {} at once?", slots(&voided), self.profile))?;
        Ok(Some(profile.version))
    }

    /// Tells what would be voided, of a change that is a rotation.
    pub(crate) async fn rehearse(
        &self,
        rotates: bool,
        client: &Client,
        out: &mut Output,
    ) -> Result<(), Failure> {
        if !rotates {
            let only = "--dry-run tells what --rotate-secret would void; nothing else here destroys anything";
            return Err(Failure::usage(only));
        }
        let profile = self.read(client).await?;
        out.sheet(&profile)?;
        out.note(&match voided(&profile, self.overlap, Timestamp::now()).as_slice() {
            [] => "No group secret would be void at once; nothing was changed.".to_owned(),
            voided => format!("{} would be void at once; nothing was changed.", slots(voided)),
        })
    }

    async fn read(&self, client: &Client) -> Result<Profile, Failure> {
        client.get(&["profiles", self.profile], &self.scope.query()).await
    }
}

/// The slots of the group secrets that end at once: the current one unless there is an overlap, and those that are on
/// their way out.
fn voided(profile: &Profile, overlap: u64, now: Timestamp) -> Vec<u32> {
    let stays = |secret: &ProfileSecret| secret.current && overlap > 0;
    let ended = |at: &String| at.parse::<Timestamp>().is_ok_and(|at| at <= now);
    let valid = |secret: &&ProfileSecret| !secret.expires_at.as_ref().is_some_and(ended);
    profile.secrets.iter().filter(valid).filter(|it| !stays(it)).map(|secret| secret.slot).collect()
}

fn slots(slots: &[u32]) -> String {
    let numbers: Vec<String> = slots.iter().map(ToString::to_string).collect();
    format!("the group secret in slot {}", numbers.join(" and in slot "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rotation_voids_what_no_overlap_keeps_and_what_was_on_its_way_out() {
        let secret = |slot, current, expires_at: Option<&str>| ProfileSecret {
            slot,
            created_at: "2026-11-01T00:00:00Z".to_owned(),
            expires_at: expires_at.map(str::to_owned),
            uses_left: None,
            networks: Vec::new(),
            name_pattern: None,
            current,
        };
        let profile = |secrets| Profile {
            secrets,
            ..serde_json::from_value(serde_json::json!({
                "id": "i", "tenant": "t", "name": "p", "strategy": "create-new", "reprovision": "refuse",
                "redelivery_window_s": 0, "pre_provisioned_credentials": "keep", "provision_key": "k",
                "secrets": [], "version": 1, "created_at": "2026-11-01T00:00:00Z",
            }))
            .unwrap()
        };
        let now = "2026-11-23T18:00:00Z".parse().unwrap();
        let fresh = profile(vec![secret(2, true, None)]);
        assert_eq!(voided(&fresh, 0, now), [2]);
        assert!(voided(&fresh, 60, now).is_empty());
        let leaving = |at| profile(vec![secret(2, true, None), secret(1, false, Some(at))]);
        assert_eq!(voided(&leaving("2026-11-23T18:00:01Z"), 60, now), [1]);
        assert_eq!(voided(&leaving("2026-11-23T18:00:01Z"), 0, now), [2, 1]);
        assert!(voided(&leaving("2026-11-23T18:00:00Z"), 60, now).is_empty());
        assert_eq!(slots(&[2, 1]), "the group secret in slot 2 and in slot 1");
    }
}
