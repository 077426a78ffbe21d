WITH p AS (
    SELECT DISTINCT id, name, time_bucket(INTERVAL 10 SECOND, date_time) AS window_start FROM person
), a AS (
    SELECT DISTINCT seller, time_bucket(INTERVAL 10 SECOND, date_time) AS window_start FROM auction
)
SELECT p.id, p.name, p.window_start
FROM p
JOIN a ON p.id = a.seller AND p.window_start = a.window_start
WHERE p.window_start + INTERVAL 10 SECOND <= (SELECT min(reached) FROM watermark WHERE topic IN ('person', 'auction'));
