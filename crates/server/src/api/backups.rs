//! `/backups`

use axum::Json;
use axum::extract::{Extension, State};
use axum::http::StatusCode;
use engine::Registry;
use engine::registry::{Backup, BackupState, Operator};
use wire::admin::{self, BackupCreate, Page};

use super::extract::{Body, blocking};
use super::problem::No;
use super::shapes::{self, instant};

/// `GET /backups`
pub(super) async fn list(
    State(registry): State<Registry>,
    Extension(operator): Extension<Operator>,
) -> Result<Json<Page<admin::Backup>>, No> {
    let backups = blocking(&registry, move |registry| registry.backups(&operator)).await?;
    Ok(Json(shapes::whole(backups, shown)))
}

/// `POST /backups`: begins one; the listing tells how it stands.
pub(super) async fn create(
    State(registry): State<Registry>,
    Extension(operator): Extension<Operator>,
    Body(asked): Body<BackupCreate>,
) -> Result<(StatusCode, Json<admin::Backup>), No> {
    let name = asked.name.unwrap_or_else(|| plain(&instant(registry.now())));
    let begun = Backup { name: name.clone(), state: BackupState::Running };
    blocking(&registry, move |registry| registry.begin_backup(&operator, &name)).await?;
    Ok((StatusCode::ACCEPTED, Json(shown(begun))))
}

/// A moment as the name of a folder.
fn plain(moment: &str) -> String {
    moment.replace(':', "-")
}

fn shown(backup: Backup) -> admin::Backup {
    let nothing = |state, error| admin::Backup {
        name: backup.name.clone(),
        state,
        made_at: None,
        bytes: None,
        kek_ids: Vec::new(),
        error,
    };
    match backup.state {
        BackupState::Running => nothing(admin::BackupState::Running, None),
        BackupState::Failed(error) => nothing(admin::BackupState::Failed, Some(error)),
        BackupState::Done(manifest) => admin::Backup {
            made_at: Some(instant(domain::Timestamp(manifest.made_at_ms))),
            bytes: Some(manifest.files.iter().map(|file| file.bytes).sum()),
            kek_ids: manifest.kek_ids.clone(),
            ..nothing(admin::BackupState::Done, None)
        },
    }
}
