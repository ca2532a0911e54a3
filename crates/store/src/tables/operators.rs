//! Operators' tokens; only verifiers of them.

use domain::{Role, TenantId, Timestamp, Verifier};

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
    /// What its holder may do.
    pub role: Role,
    /// The operators' own note.
    pub label: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends by itself.
    pub expires_at: Option<Timestamp>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
}

/// What a new token is to be.
#[derive(Clone, Copy, Debug)]
pub struct NewOperatorToken<'a> {
    /// As [`OperatorToken::tenant`].
    pub tenant: Option<TenantId>,
    /// As [`OperatorToken::role`].
    pub role: Role,
    /// As [`OperatorToken::label`].
    pub label: &'a str,
    /// As [`OperatorToken::expires_at`].
    pub expires_at: Option<Timestamp>,
}

const COLUMNS: &str = "id, tenant, label, created_at, expires_at, revoked_at, role";

impl View<'_> {
    /// All tokens, the oldest first, the revoked ones among them.
    ///
    /// # Errors
    /// What the database says.
    pub fn operator_tokens(&self) -> Result<Vec<OperatorToken>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM operator_tokens ORDER BY id");
        self.sql.query(&sql, params![], read)
    }

    /// The token of this number, also where it has expired or was revoked.
    ///
    /// # Errors
    /// What the database says.
    pub fn operator_token(&self, id: u64) -> Result<Option<OperatorToken>, StoreError> {
        self.sql.first(&format!("SELECT {COLUMNS} FROM operator_tokens WHERE id = ?"), params![id], read)
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
        new: NewOperatorToken<'_>,
        now: Timestamp,
    ) -> Result<u64, StoreError> {
        let sql = "INSERT INTO operator_tokens (tenant, label, verifier, created_at, expires_at, role)
                   VALUES (?, ?, ?, ?, ?, ?) RETURNING id";
        let label = storable(new.label, "the token's label")?;
        let row = params![new.tenant, label, verifier, now, new.expires_at, new.role.word()];
        self.sql.one(sql, row, |row| row.unsigned(0))
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
        role: super::accounts::role(row, 6)?,
        label: row.string(2)?,
        created_at: row.time(3)?,
        expires_at: row.opt_time(4)?,
        revoked_at: row.opt_time(5)?,
    })
}
