-- Hot items: the auctions with the most bids of the last 10 seconds, every 2 seconds.
CREATE MATERIALIZED VIEW q5 AS
SELECT bids.auction, bids.num
FROM (
    SELECT auction, count(*) AS num, window_start, window_end
    FROM TABLE(HOP(TABLE bid, DESCRIPTOR(date_time), INTERVAL '2' SECOND, INTERVAL '10' SECOND))
    GROUP BY auction, window_start, window_end
) AS bids
JOIN (
    SELECT max(num) AS num, window_start, window_end
    FROM (
        SELECT count(*) AS num, window_start, window_end
        FROM TABLE(HOP(TABLE bid, DESCRIPTOR(date_time), INTERVAL '2' SECOND, INTERVAL '10' SECOND))
        GROUP BY auction, window_start, window_end
    ) AS counted
    GROUP BY window_start, window_end
) AS most
ON bids.window_start = most.window_start AND bids.window_end = most.window_end AND bids.num >= most.num
EMIT ON WINDOW CLOSE;
