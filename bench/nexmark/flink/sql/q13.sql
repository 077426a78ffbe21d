-- Bounded side input: each bid with a value out of a table of 10,000 rows, which a small connector (SideInput.java)
-- keeps in memory: the file connector cannot be looked up in any more.
CREATE TABLE side_input (key BIGINT, `value` VARCHAR) WITH ('connector' = 'side-input', 'rows' = '10000');

CREATE TABLE q13 WITH ('connector' = 'blackhole') AS
SELECT b.auction, b.bidder, b.price, b.date_time, s.`value`
FROM (SELECT *, PROCTIME() AS p_time FROM bid) AS b
JOIN side_input FOR SYSTEM_TIME AS OF b.p_time AS s ON s.key = b.auction % 10000;
