-- Bounded side input: each bid with a value out of a table of 10,000 rows.
CREATE TABLE side_input (key BIGINT PRIMARY KEY, value VARCHAR);

INSERT INTO side_input SELECT value AS key, CAST(value AS VARCHAR) AS text FROM generate_series(0, 9999);

CREATE MATERIALIZED VIEW q13 AS
SELECT b.auction, b.bidder, b.price, b.date_time, s.value
FROM bid AS b
JOIN side_input FOR SYSTEM_TIME AS OF PROCTIME() AS s ON s.key = b.auction % 10000;
