-- Log to files: every bid with its day and minute, into CSV files of a folder each, as the benchmark sets it.
-- ${FOLDER} is emptied before each run.
CREATE TABLE q10 PARTITIONED BY (dt, hm) WITH (
    'connector' = 'filesystem', 'path' = 'file://${FOLDER}/q10', 'format' = 'csv',
    'sink.partition-commit.trigger' = 'partition-time', 'sink.partition-commit.delay' = '1 min',
    'sink.partition-commit.policy.kind' = 'success-file', 'partition.time-extractor.timestamp-pattern' = '$dt $hm:00',
    'sink.rolling-policy.rollover-interval' = '1 min', 'sink.rolling-policy.check-interval' = '1 min'
) AS
SELECT auction, bidder, price, date_time, extra, DATE_FORMAT(date_time, 'yyyy-MM-dd') AS dt, DATE_FORMAT(date_time, 'HH:mm') AS hm
FROM bid;
