//! Parameters and columns in PostgreSQL's binary form.

use std::error::Error;

use tokio_postgres::Row;
use tokio_postgres::types::private::BytesMut;
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};

use super::super::Param;
use crate::StoreError;

/// Many values of one column: what `UNNEST` and `= ANY` take.
pub(crate) type Array<'a> = &'a (dyn ToSql + Sync);

impl ToSql for Param<'_> {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        match (self, ty) {
            (Param::Null, _) => Ok(IsNull::Yes),
            (Param::Int(number), &Type::INT8) => number.to_sql(ty, out),
            (Param::Int(number), &Type::INT4) => i32::try_from(*number)?.to_sql(ty, out),
            (Param::Int(number), &Type::BOOL) => (*number != 0).to_sql(ty, out),
            (Param::Real(number), &Type::FLOAT8) => number.to_sql(ty, out),
            (Param::Text(text), _) if <&str as ToSql>::accepts(ty) => text.to_sql(ty, out),
            (Param::Bytes(bytes), &Type::BYTEA) => bytes.to_sql(ty, out),
            (Param::Array(array), _) => array.to_sql_checked(ty, out),
            (given, wanted) => Err(format!("a parameter of kind {} for a {wanted}", given.kind()).into()),
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

pub(crate) fn int(row: &Row, column: usize) -> Result<Option<i64>, StoreError> {
    let read = match row.columns().get(column).map(tokio_postgres::Column::type_) {
        Some(&Type::INT4) => row.try_get::<_, Option<i32>>(column).map(|number| number.map(i64::from)),
        Some(&Type::BOOL) => row.try_get::<_, Option<bool>>(column).map(|yes| yes.map(i64::from)),
        _ => row.try_get(column),
    };
    read.map_err(|error| mistyped(column, &error))
}

pub(crate) fn real(row: &Row, column: usize) -> Result<f64, StoreError> {
    row.try_get(column).map_err(|error| mistyped(column, &error))
}

pub(crate) fn text(row: &Row, column: usize) -> Result<Option<&str>, StoreError> {
    row.try_get(column).map_err(|error| mistyped(column, &error))
}

pub(crate) fn bytes(row: &Row, column: usize) -> Result<Option<&[u8]>, StoreError> {
    row.try_get(column).map_err(|error| mistyped(column, &error))
}

fn mistyped(column: usize, error: &tokio_postgres::Error) -> StoreError {
    StoreError::Corrupt(format!("column {column}: {error}"))
}
