-- Bids of each bidder in 10 seconds of processing time. The end of the input ends no such window: the last is not told.
CREATE VIEW bid_processed AS
SELECT *, PROCTIME() AS p_time
FROM bid;

CREATE TABLE q12 WITH ('connector' = 'blackhole') AS
SELECT bidder, count(*) AS bid_count, window_start, window_end
FROM TABLE(TUMBLE(TABLE bid_processed, DESCRIPTOR(p_time), INTERVAL '10' SECOND))
GROUP BY bidder, window_start, window_end;
