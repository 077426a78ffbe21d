SELECT b.auction, b.bidder, b.price, b.date_time, CAST(key AS VARCHAR) AS value
FROM bid AS b
JOIN range(10000) AS side_input(key) ON key = b.auction % 10000;
