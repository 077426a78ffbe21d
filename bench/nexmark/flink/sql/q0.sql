-- Pass through: what reading, decoding and writing alone cost.
CREATE TABLE q0 WITH ('connector' = 'blackhole') AS
SELECT auction, bidder, price, date_time, extra
FROM bid;
