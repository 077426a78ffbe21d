-- Average selling price by seller, over a seller's last auctions: OVER on top of a top-1. Flink has no such query yet.
-- Of bids with the same price the first one wins, as in q9; the published text leaves that open.
SELECT w.seller,
    avg(w.price) OVER (PARTITION BY w.seller ORDER BY w.date_time ROWS BETWEEN 10 PRECEDING AND CURRENT ROW) AS avg_price
FROM (
    SELECT id, seller, price, date_time
    FROM (
        SELECT a.id, a.seller, b.price, b.date_time,
            ROW_NUMBER() OVER (PARTITION BY a.id, a.seller ORDER BY b.price DESC, b.date_time) AS place
        FROM auction AS a
        JOIN bid AS b ON b.auction = a.id
        WHERE b.date_time BETWEEN a.date_time AND a.expires
    ) AS placed
    WHERE place <= 1
) AS w;
