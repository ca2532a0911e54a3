//! Operators' tokens; only verifiers of them.

use domain::{TenantId, Timestamp, Verifier};

use super::{Change, View};
use crate::StoreError;
use crate::driver::{Row, params};
use crate::error::storable;

/// A token of an operator, without the token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperatorToken {
    /// Its number, by which it is revoked.
    pub id: u64,
    /// The tenant it is limited to; `None` for the whole server.
    pub tenant: Option<TenantId>,
    /// The operators' own note.
    pub label: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends by itself.
    pub expires_at: Option<Timestamp>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
}

const COLUMNS: &str = "id, tenant, label, created_at, expires_at, revoked_at";

impl View<'_> {
    /// All tokens, the oldest first, the revoked ones among them.
    ///
    /// # Errors
    /// What the database says.
    pub fn operator_tokens(&self) -> Result<Vec<OperatorToken>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM operator_tokens ORDER BY id");
        self.sql.query(&sql, params![], read)
    }

    /// The token with this verifier, also where it has expired or was revoked.
    ///
    /// # Errors
    /// What the database says.
    pub fn operator_token_by_verifier(
        &self,
        verifier: &Verifier,
    ) -> Result<Option<OperatorToken>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM operator_tokens WHERE verifier = ?");
        self.sql.first(&sql, params![verifier], read)
    }
}

impl Change<'_> {
    /// Makes a token and returns its number.
    ///
    /// # Errors
    /// What the database says.
    pub fn create_operator_token(
        &mut self,
        verifier: &Verifier,
        tenant: Option<TenantId>,
        label: &str,
        expires_at: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<u64, StoreError> {
        let sql = "INSERT INTO operator_tokens (tenant, label, verifier, created_at, expires_at)
                   VALUES (?, ?, ?, ?, ?) RETURNING id";
        let label = storable(label, "the token's label")?;
        self.sql.one(sql, params![tenant, label, verifier, now, expires_at], |row| row.unsigned(0))
    }

    /// Revokes a token; one that is revoked already stays so. `false` where there is none.
    ///
    /// # Errors
    /// What the database says.
    pub fn revoke_operator_token(&mut self, id: u64, now: Timestamp) -> Result<bool, StoreError> {
        let sql = "UPDATE operator_tokens SET revoked_at = coalesce(revoked_at, ?) WHERE id = ?";
        Ok(self.sql.execute(sql, params![now, id])? > 0)
    }
}

fn read(row: &Row<'_>) -> Result<OperatorToken, StoreError> {
    Ok(OperatorToken {
        id: row.unsigned(0)?,
        tenant: row.opt_unsigned(1)?.map(TenantId),
        label: row.string(2)?,
        created_at: row.time(3)?,
        expires_at: row.opt_time(4)?,
        revoked_at: row.opt_time(5)?,
    })
}
