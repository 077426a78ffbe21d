WITH highest AS (
    SELECT max(price) AS price, time_bucket(INTERVAL 10 SECOND, date_time) + INTERVAL 10 SECOND AS window_end
    FROM bid
    GROUP BY window_end
)
SELECT b.auction, b.bidder, b.price, b.date_time, b.extra
FROM bid AS b
JOIN highest AS h ON b.price = h.price
WHERE b.date_time BETWEEN h.window_end - INTERVAL 10 SECOND AND h.window_end
    AND h.window_end <= (SELECT reached FROM watermark WHERE topic = 'bid');
