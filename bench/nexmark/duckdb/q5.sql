-- Each bid belongs to five windows of 10 seconds, which begin 0, 2, 4, 6 and 8 seconds before its own 2 seconds do.
WITH counted AS (
    SELECT auction, count(*) AS num, time_bucket(INTERVAL 2 SECOND, date_time) - INTERVAL 2 SECOND * slide AS window_start
    FROM bid, range(5) AS slides(slide)
    GROUP BY ALL
)
SELECT auction, num
FROM counted
WHERE window_start + INTERVAL 10 SECOND <= (SELECT reached FROM watermark WHERE topic = 'bid')
QUALIFY num = max(num) OVER (PARTITION BY window_start);
