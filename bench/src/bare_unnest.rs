//! The same rows written by nothing but a client of PostgreSQL: one `INSERT … SELECT … FROM UNNEST` a table.
//!
//! The rows are those that the server has just written: they are read out of its tables, and written into tables
//! with the same columns and indexes in a schema of their own.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, NoTls, Row, Statement};

/// The two tables of a provisioning, and what their rows were written in order of.
const TABLES: [(&str, &str); 2] = [("devices", "device"), ("journal", "position")];

/// What the loop came to.
#[derive(Clone, Copy, Debug)]
pub struct Written {
    /// Provisionings a second.
    pub rate: f64,
    /// Rows of each table in a transaction: as many as the server wrote together on the average.
    pub batch: usize,
}

/// The values of a column.
enum Column {
    Int(Vec<Option<i64>>),
    Text(Vec<Option<String>>),
    Bytes(Vec<Option<Vec<u8>>>),
}

/// Rows of one table, cut into batches; each is a list of columns.
struct Table {
    insert: String,
    batches: Vec<Vec<Column>>,
}

/// Reads at most so many provisionings out of a database that no server uses now, and writes them once more.
///
/// # Errors
/// Those of the database.
pub fn write_anew(url: &str, most: usize, limit: Duration) -> Result<Written> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
        let connection = tokio::spawn(connection);
        let written = write(&client, most, limit).await?;
        drop(client);
        connection.await??;
        Ok(written)
    })
}

async fn write(client: &Client, most: usize, limit: Duration) -> Result<Written> {
    // The schema of the server's main tables.
    client.batch_execute("SET search_path = muster").await?;
    let batch = mean_batch(client).await?;
    let mut tables = Vec::new();
    for (table, order) in TABLES {
        tables.push(read(client, table, order, most, batch).await?);
    }
    let mut inserts = Vec::new();
    for table in &tables {
        inserts.push(client.prepare(&table.insert).await?);
    }
    let (began, mut written) = (Instant::now(), 0);
    for at in 0..tables.iter().map(|table| table.batches.len()).min().unwrap_or(0) {
        client.batch_execute("BEGIN").await?;
        for (table, insert) in tables.iter().zip(&inserts) {
            written += insert_batch(client, insert, &table.batches[at]).await?;
        }
        client.batch_execute("COMMIT").await?;
        if began.elapsed() > limit {
            break;
        }
    }
    ensure!(written > 0, "the server has written no rows");
    let rate = written as f64 / TABLES.len() as f64 / began.elapsed().as_secs_f64();
    Ok(Written { rate, batch })
}

/// A transaction leaves its number in the rows that it wrote.
async fn mean_batch(client: &Client) -> Result<usize> {
    let text = "SELECT COUNT(*), COUNT(DISTINCT xmin::text) FROM devices";
    let row = client.query_one(text, &[]).await?;
    let (rows, transactions): (i64, i64) = (row.get(0), row.get(1));
    ensure!(transactions > 0, "the server has written no devices");
    Ok(usize::try_from(rows / transactions)?.max(1))
}

async fn insert_batch(client: &Client, insert: &Statement, columns: &[Column]) -> Result<u64> {
    let values: Vec<&(dyn ToSql + Sync)> = columns.iter().map(Column::value).collect();
    Ok(client.execute(insert, &values).await?)
}

async fn read(client: &Client, table: &str, order: &str, most: usize, batch: usize) -> Result<Table> {
    client
        .batch_execute(&format!(
            "CREATE SCHEMA IF NOT EXISTS bare; CREATE TABLE bare.{table} (LIKE {table} INCLUDING ALL)"
        ))
        .await?;
    let newest = format!("SELECT * FROM {table} ORDER BY {order} DESC LIMIT {most}");
    let mut rows = client.query(&newest, &[]).await?;
    rows.reverse();
    let first = rows.first().with_context(|| format!("the server has written no {table}"))?;
    let types: Vec<Type> = first.columns().iter().map(|column| column.type_().clone()).collect();
    let holes: Vec<String> =
        types.iter().enumerate().map(|(at, kind)| format!("${}::{}[]", at + 1, kind.name())).collect();
    let insert = format!("INSERT INTO bare.{table} SELECT * FROM UNNEST({})", holes.join(", "));
    let batches = rows.chunks(batch).map(|rows| columns(rows, &types)).collect::<Result<_>>()?;
    Ok(Table { insert, batches })
}

fn columns(rows: &[Row], types: &[Type]) -> Result<Vec<Column>> {
    types.iter().enumerate().map(|(at, kind)| Column::read(rows, at, kind)).collect()
}

impl Column {
    fn read(rows: &[Row], at: usize, kind: &Type) -> Result<Column> {
        Ok(match *kind {
            Type::INT8 => Column::Int(rows.iter().map(|row| row.get(at)).collect()),
            Type::TEXT => Column::Text(rows.iter().map(|row| row.get(at)).collect()),
            Type::BYTEA => Column::Bytes(rows.iter().map(|row| row.get(at)).collect()),
            _ => bail!("the loop knows no columns of the type {kind}"),
        })
    }

    fn value(&self) -> &(dyn ToSql + Sync) {
        match self {
            Column::Int(values) => values,
            Column::Text(values) => values,
            Column::Bytes(values) => values,
        }
    }
}
