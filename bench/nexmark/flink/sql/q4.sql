-- Average price for a category: the highest bid of each auction while it is open, averaged; both change with each bid.
CREATE TABLE q4 WITH ('connector' = 'blackhole') AS
SELECT w.category, avg(w.final) AS final
FROM (
    SELECT a.id, a.category, max(b.price) AS final
    FROM auction AS a
    JOIN bid AS b ON b.auction = a.id
    WHERE b.date_time BETWEEN a.date_time AND a.expires
    GROUP BY a.id, a.category
) AS w
GROUP BY w.category;
