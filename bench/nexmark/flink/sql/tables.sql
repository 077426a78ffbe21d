-- The three topics, read from their first event to the last one there is when the query starts. The views name the
-- event time as the queries want it. ${KAFKA} is the queue's address.

CREATE TABLE person_events (
    id BIGINT, name VARCHAR, email_address VARCHAR, credit_card VARCHAR, city VARCHAR, state VARCHAR,
    date_time BIGINT, extra VARCHAR,
    event_time AS TO_TIMESTAMP_LTZ(date_time, 3),
    WATERMARK FOR event_time AS event_time - INTERVAL '4' SECOND
) WITH (
    'connector' = 'kafka', 'topic' = 'person', 'properties.bootstrap.servers' = '${KAFKA}',
    'properties.group.id' = 'nexmark', 'scan.startup.mode' = 'earliest-offset', 'scan.bounded.mode' = 'latest-offset',
    'format' = 'json'
);

CREATE TABLE auction_events (
    id BIGINT, item_name VARCHAR, description VARCHAR, initial_bid BIGINT, reserve BIGINT,
    date_time BIGINT, expires BIGINT, seller BIGINT, category BIGINT, extra VARCHAR,
    event_time AS TO_TIMESTAMP_LTZ(date_time, 3),
    WATERMARK FOR event_time AS event_time - INTERVAL '4' SECOND
) WITH (
    'connector' = 'kafka', 'topic' = 'auction', 'properties.bootstrap.servers' = '${KAFKA}',
    'properties.group.id' = 'nexmark', 'scan.startup.mode' = 'earliest-offset', 'scan.bounded.mode' = 'latest-offset',
    'format' = 'json'
);

CREATE TABLE bid_events (
    auction BIGINT, bidder BIGINT, price BIGINT, channel VARCHAR, url VARCHAR,
    date_time BIGINT, extra VARCHAR,
    event_time AS TO_TIMESTAMP_LTZ(date_time, 3),
    WATERMARK FOR event_time AS event_time - INTERVAL '4' SECOND
) WITH (
    'connector' = 'kafka', 'topic' = 'bid', 'properties.bootstrap.servers' = '${KAFKA}',
    'properties.group.id' = 'nexmark', 'scan.startup.mode' = 'earliest-offset', 'scan.bounded.mode' = 'latest-offset',
    'format' = 'json'
);

CREATE VIEW person AS
SELECT id, name, email_address, credit_card, city, state, event_time AS date_time, extra
FROM person_events;

CREATE VIEW auction AS
SELECT id, item_name, description, initial_bid, reserve, event_time AS date_time, TO_TIMESTAMP_LTZ(expires, 3) AS expires,
    seller, category, extra
FROM auction_events;

CREATE VIEW bid AS
SELECT auction, bidder, price, channel, url, event_time AS date_time, extra
FROM bid_events;
