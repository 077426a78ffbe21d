CREATE TABLE ysb WITH ('connector' = 'blackhole') AS
SELECT campaign_id, window_start, count(*) AS view_count
FROM TABLE(TUMBLE(TABLE campaign_views, DESCRIPTOR(happened_at), INTERVAL '10' SECOND))
GROUP BY campaign_id, window_start, window_end;
