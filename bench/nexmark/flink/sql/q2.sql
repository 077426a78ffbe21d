-- Selection: a filter that few bids pass.
CREATE TABLE q2 WITH ('connector' = 'blackhole') AS
SELECT auction, price
FROM bid
WHERE auction % 123 = 0;
