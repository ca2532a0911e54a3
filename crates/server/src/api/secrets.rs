//! `/secrets`: key-encryption keys and what they seal.

use axum::Json;
use axum::extract::{Extension, State};
use domain::Secret;
use engine::Registry;
use engine::registry::{Kek, Operator, Progress, SecretsView, Walk};
use schemars::JsonSchema;
use serde::Deserialize;
use wire::admin::{
    self, KekState, Secrets, SecretsReset, SecretsResetRequest, SecretsUnlock, SecretsVerify, SecretsWalk,
    SecretsWalkRequest,
};

use super::extract::{Ask, Body, Named, blocking};
use super::problem::No;
use super::shapes::instant;

/// Whether a call only tells what it would do.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct DryRun {
    /// Only tell whether it could be done.
    #[serde(default)]
    dry_run: bool,
}

/// `GET /secrets`
pub(super) async fn show(
    State(registry): State<Registry>,
    Extension(operator): Extension<Operator>,
) -> Result<Json<Secrets>, No> {
    Ok(Json(shown(blocking(&registry, move |registry| registry.secrets(&operator)).await?)))
}

/// `POST /secrets/unlock`
pub(super) async fn unlock(
    State(registry): State<Registry>,
    Extension(operator): Extension<Operator>,
    Body(asked): Body<SecretsUnlock>,
) -> Result<Json<Secrets>, No> {
    let view = blocking(&registry, move |registry| {
        registry.unlock(&operator, clear(asked.passphrase).as_ref())?;
        registry.secrets(&operator)
    });
    Ok(Json(shown(view.await?)))
}

/// `POST /secrets/keks`
pub(super) async fn add(
    State(registry): State<Registry>,
    Extension(operator): Extension<Operator>,
    Body(asked): Body<SecretsUnlock>,
) -> Result<Json<Secrets>, No> {
    let view = blocking(&registry, move |registry| {
        registry.add_kek(&operator, clear(asked.passphrase).as_ref())?;
        registry.secrets(&operator)
    });
    Ok(Json(shown(view.await?)))
}

/// `POST /secrets/keks/{id}/retire`
pub(super) async fn retire(
    State(registry): State<Registry>,
    Extension(operator): Extension<Operator>,
    Ask(how): Ask<DryRun>,
    Named(id): Named,
) -> Result<Json<Secrets>, No> {
    let view = blocking(&registry, move |registry| {
        registry.retire_kek(&operator, &id, how.dry_run)?;
        registry.secrets(&operator)
    });
    Ok(Json(shown(view.await?)))
}

/// `POST /secrets/rewrap`
pub(super) async fn rewrap(
    state: State<Registry>,
    operator: Extension<Operator>,
    asked: Body<SecretsWalkRequest>,
) -> Result<Json<Secrets>, No> {
    walk(Walk::Rewrap, state, operator, asked).await
}

/// `POST /secrets/rekey`
pub(super) async fn rekey(
    state: State<Registry>,
    operator: Extension<Operator>,
    asked: Body<SecretsWalkRequest>,
) -> Result<Json<Secrets>, No> {
    walk(Walk::Rekey, state, operator, asked).await
}

async fn walk(
    walk: Walk,
    State(registry): State<Registry>,
    Extension(operator): Extension<Operator>,
    Body(asked): Body<SecretsWalkRequest>,
) -> Result<Json<Secrets>, No> {
    let view = blocking(&registry, move |registry| {
        registry.walk(&operator, walk, asked.rate)?;
        registry.secrets(&operator)
    });
    Ok(Json(shown(view.await?)))
}

/// `POST /secrets/verify`
pub(super) async fn verify(
    State(registry): State<Registry>,
    Extension(operator): Extension<Operator>,
) -> Result<Json<SecretsVerify>, No> {
    let found = blocking(&registry, move |registry| registry.verify_secrets(&operator)).await?;
    let (values, unreadable, places) = (found.values, found.unreadable, found.places);
    Ok(Json(SecretsVerify { values, unreadable, places }))
}

/// `POST /secrets/reset`
pub(super) async fn reset(
    State(registry): State<Registry>,
    Extension(operator): Extension<Operator>,
    Body(asked): Body<SecretsResetRequest>,
) -> Result<Json<SecretsReset>, No> {
    let dry_run = asked.dry_run;
    let reset = blocking(&registry, move |registry| {
        registry.reset_secrets(&operator, clear(asked.passphrase).as_ref(), dry_run)
    })
    .await?;
    Ok(Json(SecretsReset { dry_run, dropped: reset.dropped, keys_made: reset.keys_made }))
}

fn clear(passphrase: Option<wire::Secret>) -> Option<Secret> {
    passphrase.map(|passphrase| Secret::new(passphrase.expose()))
}

fn shown(view: SecretsView) -> Secrets {
    Secrets {
        locked: view.locked,
        keks: view.keks.into_iter().map(kek).collect(),
        walks: view.walks.iter().map(progress).collect(),
    }
}

fn kek(kek: Kek) -> admin::Kek {
    let state = match (&kek.retired_at, &kek.missing) {
        (Some(_), _) => KekState::Retired,
        (None, Some(_)) => KekState::Missing,
        (None, None) if kek.active => KekState::Active,
        (None, None) => KekState::Reading,
    };
    admin::Kek {
        id: kek.id,
        state,
        values: kek.values,
        added_at: instant(kek.added_at),
        retired_at: kek.retired_at.map(instant),
        missing: kek.missing,
    }
}

fn progress(progress: &Progress) -> SecretsWalk {
    SecretsWalk {
        walk: progress.walk.word().to_owned(),
        rate: progress.rate,
        done: progress.done,
        failed: progress.failed,
        started_at: instant(progress.started_at),
        ended_at: progress.ended_at.map(instant),
    }
}
