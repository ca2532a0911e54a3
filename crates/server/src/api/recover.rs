//! `/recover`: an admin's account, for whoever can write into the server's own folder.
//!
//! The request itself proves nothing and says nothing. What is to be done stands in a file in the folder of the
//! keys, which only the server's user can write; whoever could write there could read every key.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::extract::State;
use axum::http::Extensions;
use axum::routing::post;
use axum::{Json, Router};
use domain::{OperatorRefusal, Secret};
use engine::Registry;
use wire::admin::{BASE_PATH, OperatorAccount, RECOVERY_FILE, Recovery};

use super::auth::source;
use super::extract::blocking;
use super::problem::No;
use super::shapes;

/// Answers one path. `keys` is the folder of the server's keys.
pub fn router(registry: Registry, keys: &Path) -> Router {
    let state = (registry, Arc::new(keys.join(RECOVERY_FILE)));
    Router::new().route(&format!("{BASE_PATH}/recover"), post(recover)).with_state(state)
}

async fn recover(
    State((registry, file)): State<(Registry, Arc<PathBuf>)>,
    extensions: Extensions,
) -> Result<Json<OperatorAccount>, No> {
    if !source(&extensions).is_some_and(|source| source.is_loopback()) {
        return Err(nothing_asked());
    }
    let text = zeroize::Zeroizing::new(tokio::fs::read(&*file).await.map_err(|_| nothing_asked())?);
    // It is done once: a password must not lie about.
    tokio::fs::remove_file(&*file).await.map_err(|_| No::internal())?;
    let asked: Recovery = serde_json::from_slice(&text).map_err(|_| nothing_asked())?;
    let account = blocking(&registry, move |registry| {
        registry.recover_account(&asked.name, &Secret::new(asked.password.expose()))
    });
    Ok(Json(shapes::account(account.await?)))
}

fn nothing_asked() -> No {
    No::of(OperatorRefusal::RecoveryNotAsked)
}
