-- User sessions: the bids of each bidder until there was none for 10 seconds.
CREATE TABLE q11 WITH ('connector' = 'blackhole') AS
SELECT bidder, count(*) AS bid_count, window_start, window_end
FROM TABLE(SESSION(TABLE bid PARTITION BY bidder, DESCRIPTOR(date_time), INTERVAL '10' SECOND))
GROUP BY bidder, window_start, window_end;
