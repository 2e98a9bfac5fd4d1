//! How ids and times stand in SQLite's columns.

use model::Timestamp;
use rusqlite::ToSql;
use rusqlite::types::{FromSql, FromSqlResult, ToSqlOutput, ValueRef};

/// An id that Fanfare makes, as 16 bytes that sort like the id.
#[derive(Clone, Copy)]
pub(super) struct Id([u8; 16]);

impl Id {
    pub(super) const fn new(id: u128) -> Self {
        Self(id.to_be_bytes())
    }

    pub(super) const fn as_u128(self) -> u128 {
        u128::from_be_bytes(self.0)
    }
}

impl ToSql for Id {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(ValueRef::Blob(&self.0)))
    }
}

impl FromSql for Id {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        FromSql::column_result(value).map(Self)
    }
}

/// A time in microseconds since 1970.
#[derive(Clone, Copy)]
pub(super) struct At(pub(super) Timestamp);

impl ToSql for At {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::from(self.0.as_micros()))
    }
}

impl FromSql for At {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        i64::column_result(value).map(|micros| Self(Timestamp::from_micros(micros)))
    }
}
