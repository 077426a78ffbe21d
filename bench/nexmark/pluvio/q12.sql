-- Bids of each bidder in 10 seconds of processing time: the same topic with a column for when an event is processed.
CREATE STREAM bid_processed (
    auction BIGINT, bidder BIGINT, price BIGINT, channel VARCHAR, url VARCHAR,
    date_time TIMESTAMP NOT NULL, extra VARCHAR,
    p_time AS PROCTIME()
) WITH (topic = 'bid', format = 'json');

CREATE MATERIALIZED VIEW q12 AS
SELECT bidder, count(*) AS bid_count, window_start, window_end
FROM TABLE(TUMBLE(TABLE bid_processed, DESCRIPTOR(p_time), INTERVAL '10' SECOND))
GROUP BY bidder, window_start, window_end
EMIT ON WINDOW CLOSE;
