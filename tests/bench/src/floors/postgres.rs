//! Batched inserts into PostgreSQL of rows like those a delivery needs, in tables with the indexes
//! that any such store has: by id, by time, by license, by endpoint.

use sqlx::{Connection, Executor, PgConnection};

use super::{BATCH, FAN, Ground, Stopwatch, StoreCosts};
use crate::event::{LICENSES, Template};
use crate::services::{Corner, Services};

const SCHEMA: [&str; 8] = [
    "CREATE TABLE floor_licenses (tenant text, license text, last bigint NOT NULL,
        PRIMARY KEY (tenant, license))",
    "CREATE TABLE floor_events (tenant text, id text, type text NOT NULL, license text,
        environment smallint NOT NULL, occurred_at timestamptz NOT NULL,
        accepted_at timestamptz NOT NULL, sequence bigint, digest bytea NOT NULL,
        data text NOT NULL, PRIMARY KEY (tenant, id))",
    "CREATE INDEX ON floor_events (tenant, accepted_at)",
    "CREATE INDEX ON floor_events (tenant, license, sequence)",
    "CREATE TABLE floor_deliveries (id bigint PRIMARY KEY, tenant text NOT NULL,
        event text NOT NULL, endpoint bigint NOT NULL, status smallint NOT NULL,
        attempts integer NOT NULL, next_attempt_at timestamptz, created_at timestamptz NOT NULL)",
    "CREATE INDEX ON floor_deliveries (tenant, event)",
    "CREATE INDEX ON floor_deliveries (endpoint, created_at)",
    "CREATE TABLE floor_attempts (delivery bigint, number integer, id bigint NOT NULL,
        started_at timestamptz NOT NULL, duration_us bigint NOT NULL, status integer NOT NULL,
        response text NOT NULL, PRIMARY KEY (delivery, number))",
];

const NEXT_SEQUENCES: &str =
    "INSERT INTO floor_licenses SELECT 'bench', license, count(*) FROM unnest($1::text[]) license
        GROUP BY license ORDER BY license
     ON CONFLICT (tenant, license) DO UPDATE SET last = floor_licenses.last + EXCLUDED.last";
const INSERT_EVENTS: &str =
    "INSERT INTO floor_events SELECT 'bench', id, 'license.validated', license, 0, now(), now(),
        sequence, '\\x00112233445566778899aabbccddeeff', data
     FROM unnest($1::text[], $2::text[], $3::bigint[], $4::text[]) row(id, license, sequence, data)
     ON CONFLICT DO NOTHING";
const INSERT_DELIVERIES: &str =
    "INSERT INTO floor_deliveries SELECT id, 'bench', event, endpoint, 0, 0, now(), now()
     FROM unnest($1::bigint[], $2::text[], $3::bigint[]) row(id, event, endpoint)";
const INSERT_ATTEMPTS: &str =
    "INSERT INTO floor_attempts SELECT id, 1, id, now(), 900, 200, '' FROM unnest($1::bigint[]) id";
const UPDATE_DELIVERIES: &str =
    "UPDATE floor_deliveries SET status = 1, attempts = 1, next_attempt_at = NULL
     FROM unnest($1::bigint[]) row(id) WHERE floor_deliveries.id = row.id";

/// A connection to tables of the floor's own.
#[derive(Debug)]
pub(super) struct Store {
    connection: PgConnection,
    template: Template,
}

pub(super) fn measure(
    ground: &Ground<'_>,
    services: &Services,
    corner: &Corner,
) -> anyhow::Result<StoreCosts> {
    ground.runtime.block_on(async {
        let mut store = Store::open(ground, corner).await?;
        store.create().await?;
        let events = ground.events;
        store.accept_all(0..events / 4, 1).await?;

        let stopwatch = Stopwatch::start(services.postgres_pid);
        store.accept_all(events..events * 2, 1).await?;
        let accept = stopwatch.cost(events);

        let stopwatch = Stopwatch::start(services.postgres_pid);
        store.record_all(events..events * 2).await?;
        let record = stopwatch.cost(events);

        let fan = FAN as u32;
        let stopwatch = Stopwatch::start(services.postgres_pid);
        store
            .accept_all(events * 2..events * 2 + events / fan, FAN)
            .await?;
        let accept_fan = stopwatch.cost(events);
        store.connection.close().await?;
        Ok(StoreCosts {
            accept,
            accept_fan,
            record,
        })
    })
}

impl Store {
    pub(super) async fn open(ground: &Ground<'_>, corner: &Corner) -> anyhow::Result<Self> {
        let connection = PgConnection::connect(corner.store_url.as_str()).await?;
        let template = Template::direct(ground.receiver.address(), "/", 0);
        Ok(Self {
            connection,
            template,
        })
    }

    async fn create(&mut self) -> anyhow::Result<()> {
        for statement in SCHEMA {
            self.connection.execute(statement).await?;
        }
        Ok(())
    }

    async fn accept_all(
        &mut self,
        numbers: std::ops::Range<u32>,
        fan: usize,
    ) -> anyhow::Result<()> {
        let numbers: Vec<_> = numbers.collect();
        for batch in numbers.chunks(BATCH) {
            self.accept(batch, fan).await?;
        }
        Ok(())
    }

    /// Commits events, their sequences and `fan` deliveries of each.
    pub(super) async fn accept(&mut self, numbers: &[u32], fan: usize) -> anyhow::Result<()> {
        let mut ids = Vec::with_capacity(numbers.len());
        let (mut licenses, mut data, mut sequences) = (ids.clone(), ids.clone(), Vec::new());
        for number in numbers {
            ids.push(format!("evt_bench_{number:08}"));
            licenses.push(format!("lic_{:08}", number % LICENSES));
            sequences.push(i64::from(number / LICENSES));
            data.push(String::from_utf8(self.template.event(*number))?);
        }
        let deliveries = numbers.len() * fan;
        let (mut of, mut endpoints) = (Vec::with_capacity(deliveries), Vec::new());
        let mut delivery_ids = Vec::with_capacity(deliveries);
        for (number, id) in numbers.iter().zip(&ids) {
            for endpoint in 0..fan as i64 {
                of.push(id.as_str());
                endpoints.push(endpoint);
                delivery_ids.push(i64::from(*number) * FAN as i64 + endpoint);
            }
        }
        let mut transaction = self.connection.begin().await?;
        let executor = &mut *transaction;
        sqlx::query(NEXT_SEQUENCES)
            .bind(&licenses)
            .execute(&mut *executor)
            .await?;
        let events = sqlx::query(INSERT_EVENTS).bind(&ids).bind(&licenses);
        events
            .bind(&sequences)
            .bind(&data)
            .execute(&mut *executor)
            .await?;
        let deliveries = sqlx::query(INSERT_DELIVERIES).bind(&delivery_ids);
        deliveries
            .bind(&of)
            .bind(&endpoints)
            .execute(executor)
            .await?;
        transaction.commit().await?;
        Ok(())
    }

    async fn record_all(&mut self, numbers: std::ops::Range<u32>) -> anyhow::Result<()> {
        let ids: Vec<_> = numbers
            .map(|number| i64::from(number) * FAN as i64)
            .collect();
        for batch in ids.chunks(BATCH) {
            let mut transaction = self.connection.begin().await?;
            let executor = &mut *transaction;
            sqlx::query(INSERT_ATTEMPTS)
                .bind(batch)
                .execute(&mut *executor)
                .await?;
            sqlx::query(UPDATE_DELIVERIES)
                .bind(batch)
                .execute(executor)
                .await?;
            transaction.commit().await?;
        }
        Ok(())
    }
}
