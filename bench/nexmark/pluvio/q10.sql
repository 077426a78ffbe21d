-- Log to files: every bid with its day and minute, into the lake (a Delta table of Parquet files).
CREATE MATERIALIZED VIEW q10 AS
SELECT auction, bidder, price, date_time, extra, to_char(date_time, '%Y-%m-%d') AS dt, to_char(date_time, '%H:%M') AS hm
FROM bid;

CREATE SINK q10_log INTO LAKE 'q10' FROM q10 WITH (commit_interval = '1 s');
