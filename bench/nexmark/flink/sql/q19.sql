-- The ten highest bids of each auction: top-N with its rank.
CREATE TABLE q19 WITH ('connector' = 'blackhole') AS
SELECT *
FROM (
    SELECT *, ROW_NUMBER() OVER (PARTITION BY auction ORDER BY price DESC) AS rank_number
    FROM bid
) AS placed
WHERE rank_number <= 10;
