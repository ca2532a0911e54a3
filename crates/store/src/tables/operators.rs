//! Operators' tokens; only verifiers of them.

use domain::{TenantId, Timestamp, Verifier};
use rusqlite::{OptionalExtension, Row, params};

use super::{Change, View};
use crate::StoreError;
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
        let mut statement = self.connection.prepare_cached(&sql)?;
        Ok(statement.query_map([], read)?.collect::<Result<_, _>>()?)
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
        Ok(self.connection.prepare_cached(&sql)?.query_row([verifier.0], read).optional()?)
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
                   VALUES (?, ?, ?, ?, ?)";
        self.connection.execute(
            sql,
            params![
                tenant.map(|tenant| tenant.0.cast_signed()),
                storable(label, "the token's label")?,
                verifier.0,
                now.0,
                expires_at.map(|end| end.0),
            ],
        )?;
        Ok(self.connection.last_insert_rowid().cast_unsigned())
    }

    /// Revokes a token; one that is revoked already stays so. `false` where there is none.
    ///
    /// # Errors
    /// What the database says.
    pub fn revoke_operator_token(&mut self, id: u64, now: Timestamp) -> Result<bool, StoreError> {
        let sql = "UPDATE operator_tokens SET revoked_at = coalesce(revoked_at, ?) WHERE id = ?";
        Ok(self.connection.execute(sql, (now.0, id.cast_signed()))? > 0)
    }
}

fn read(row: &Row<'_>) -> rusqlite::Result<OperatorToken> {
    Ok(OperatorToken {
        id: row.get::<_, i64>(0)?.cast_unsigned(),
        tenant: row.get::<_, Option<i64>>(1)?.map(|id| TenantId(id.cast_unsigned())),
        label: row.get(2)?,
        created_at: Timestamp(row.get(3)?),
        expires_at: row.get::<_, Option<i64>>(4)?.map(Timestamp),
        revoked_at: row.get::<_, Option<i64>>(5)?.map(Timestamp),
    })
}
