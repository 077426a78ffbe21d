-- Highest bid of every 10 seconds: a window's maximum joined back to the bids it was taken from.
CREATE MATERIALIZED VIEW q7 AS
SELECT b.auction, b.bidder, b.price, b.date_time, b.extra
FROM bid AS b
JOIN (
    SELECT max(price) AS price, window_end
    FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(date_time), INTERVAL '10' SECOND))
    GROUP BY window_start, window_end
) AS highest
ON b.price = highest.price
WHERE b.date_time BETWEEN highest.window_end - INTERVAL '10' SECOND AND highest.window_end
EMIT ON WINDOW CLOSE;
