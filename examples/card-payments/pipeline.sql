-- Card payments, enriched as they arrive.
--
-- Start it with `pluvio demo` (which also makes the payments), or with
-- `pluvio run examples/card-payments/pipeline.sql` and payments of your own
-- (README.md beside this file).

-- 1. Where events come in. A stream is a Kafka topic with a schema: every JSON
--    object sent to the topic `payments` becomes a row. Fields that are not
--    named here (a free-text note, say) are skipped. The watermark says how
--    late an event may be: two seconds behind the newest one. Each partition of
--    the topic keeps the newest hour, or what fits in 256 MiB.
CREATE STREAM payments (
    person_id  BIGINT NOT NULL,
    company_id BIGINT NOT NULL,
    amount     DOUBLE,
    paid_at    TIMESTAMP NOT NULL,
    WATERMARK FOR paid_at AS paid_at - INTERVAL '2' SECOND
) WITH (topic = 'payments', format = 'json', partitions = '4', on_error = 'dead_letter',
        retention = '1 hour', retention_bytes = '256 MiB');

-- 2. What we know beforehand: two real-time tables, found by primary key and
--    changed at any time with INSERT, UPDATE and DELETE.
CREATE TABLE persons   (id BIGINT PRIMARY KEY, name VARCHAR);
CREATE TABLE companies (id BIGINT PRIMARY KEY, name VARCHAR);

-- 3. Every payment with both names. A LEFT JOIN keeps payments of persons that
--    are not known (the name is NULL). The view holds the newest 30 seconds, or
--    what fits in 128 MiB; the lake (7.) keeps all of it.
CREATE MATERIALIZED VIEW enriched WITH (retention = '30 seconds', retention_bytes = '128 MiB') AS
SELECT p.person_id, per.name AS person,
       p.company_id, com.name AS company,
       p.amount, p.paid_at
FROM payments p
LEFT JOIN persons   per ON per.id = p.person_id
LEFT JOIN companies com ON com.id = p.company_id;

-- 4. What each company took in every minute. EMIT ON WINDOW CLOSE writes a
--    minute once, when the watermark has passed its end: these rows are final.
CREATE MATERIALIZED VIEW spend_per_minute WITH (retention = '10 minutes') AS
SELECT window_start, company_id, company,
       count(*) AS payments, sum(amount) AS total
FROM TABLE(TUMBLE(TABLE enriched, DESCRIPTOR(paid_at), INTERVAL '1' MINUTE))
GROUP BY window_start, company_id, company
EMIT ON WINDOW CLOSE;

-- 5. The same idea without waiting: ten-second totals that grow as payments
--    come in. The console draws this view as a chart.
CREATE MATERIALIZED VIEW spend_live WITH (retention = '1 hour') AS
SELECT window_start, count(*) AS payments, sum(amount) AS total, max(amount) AS largest
FROM TABLE(TUMBLE(TABLE enriched, DESCRIPTOR(paid_at), INTERVAL '10' SECOND))
GROUP BY window_start;

-- 6. Alerts: one person paying large sums at three or more companies within a
--    minute. Only large payments are counted, so the state stays small.
CREATE MATERIALIZED VIEW alerts WITH (retention = '1 hour') AS
SELECT window_start, person_id, person,
       count(DISTINCT company_id) AS companies, sum(amount) AS total
FROM TABLE(TUMBLE(TABLE enriched, DESCRIPTOR(paid_at), INTERVAL '1' MINUTE))
WHERE amount >= 400
GROUP BY window_start, person_id, person
HAVING count(DISTINCT company_id) >= 3;

-- 7. History: every enriched payment as a Delta Lake table in the data folder
--    (lake/payments), readable by Spark, DuckDB, Polars and here as lake.payments.
--    At 100,000 payments a second it grows by some gigabytes an hour, so this
--    one keeps twelve hours; without a retention it keeps everything.
CREATE SINK archive INTO LAKE 'payments' FROM enriched
    WITH (commit_interval = '10 s', retention = '12 hours');
