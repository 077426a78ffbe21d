-- The topic of ad events, read from its first event to the last one there is when the query starts, and the ads, kept
-- in memory. ${KAFKA} is the queue's address, ${FOLDER} where the ads' file is.

CREATE TABLE ad_events (
    user_id VARCHAR, page_id VARCHAR, ad_id VARCHAR, ad_type VARCHAR, event_type VARCHAR, event_time BIGINT,
    ip_address VARCHAR,
    happened_at AS TO_TIMESTAMP_LTZ(event_time, 3),
    WATERMARK FOR happened_at AS happened_at - INTERVAL '1' SECOND
) WITH (
    'connector' = 'kafka', 'topic' = 'ad_events', 'properties.bootstrap.servers' = '${KAFKA}',
    'properties.group.id' = 'ysb', 'scan.startup.mode' = 'earliest-offset', 'scan.bounded.mode' = 'latest-offset',
    'format' = 'json'
);

CREATE TABLE ads (ad_id VARCHAR, campaign_id VARCHAR) WITH ('connector' = 'csv-lookup', 'path' = '${FOLDER}/ads.csv');

CREATE VIEW campaign_views AS
SELECT ads.campaign_id, viewed.happened_at
FROM (SELECT ad_id, happened_at, PROCTIME() AS processed_at FROM ad_events WHERE event_type = 'view') AS viewed
JOIN ads FOR SYSTEM_TIME AS OF viewed.processed_at ON ads.ad_id = viewed.ad_id;
