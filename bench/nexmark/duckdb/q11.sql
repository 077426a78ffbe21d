-- A session is new when the last bid is more than 10 seconds ago; windows that only touch are one.
WITH begun AS (
    SELECT bidder, date_time,
        CASE WHEN date_time <= lag(date_time) OVER w + INTERVAL 10 SECOND THEN 0 ELSE 1 END AS begins
    FROM bid
    WINDOW w AS (PARTITION BY bidder ORDER BY date_time)
), numbered AS (
    SELECT bidder, date_time, sum(begins) OVER (PARTITION BY bidder ORDER BY date_time) AS session FROM begun
)
SELECT bidder, count(*) AS bid_count, min(date_time) AS window_start, max(date_time) + INTERVAL 10 SECOND AS window_end
FROM numbered
GROUP BY bidder, session
HAVING window_end <= (SELECT reached FROM watermark WHERE topic = 'bid');
