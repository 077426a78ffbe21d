-- The generated files as tables. ${DATA} is their folder. `watermark` is what each topic's has come to: the newest time
-- of every partition (a file), the oldest of these, less 4 seconds; windows that end later are not closed.

CREATE TABLE person AS
SELECT id, name, email_address, credit_card, city, state, epoch_ms(date_time) AS date_time, extra, filename
FROM read_ndjson('${DATA}/person-*.jsonl', filename = true, columns = {
    id: 'BIGINT', name: 'VARCHAR', email_address: 'VARCHAR', credit_card: 'VARCHAR', city: 'VARCHAR', state: 'VARCHAR',
    date_time: 'BIGINT', extra: 'VARCHAR'});

CREATE TABLE auction AS
SELECT id, item_name, description, initial_bid, reserve, epoch_ms(date_time) AS date_time, epoch_ms(expires) AS expires,
    seller, category, extra, filename
FROM read_ndjson('${DATA}/auction-*.jsonl', filename = true, columns = {
    id: 'BIGINT', item_name: 'VARCHAR', description: 'VARCHAR', initial_bid: 'BIGINT', reserve: 'BIGINT',
    date_time: 'BIGINT', expires: 'BIGINT', seller: 'BIGINT', category: 'BIGINT', extra: 'VARCHAR'});

CREATE TABLE bid AS
SELECT auction, bidder, price, channel, url, epoch_ms(date_time) AS date_time, extra, filename
FROM read_ndjson('${DATA}/bid-*.jsonl', filename = true, columns = {
    auction: 'BIGINT', bidder: 'BIGINT', price: 'BIGINT', channel: 'VARCHAR', url: 'VARCHAR',
    date_time: 'BIGINT', extra: 'VARCHAR'});

CREATE TABLE watermark AS
WITH newest AS (
    SELECT 'person' AS topic, max(date_time) AS reached FROM person GROUP BY filename
    UNION ALL SELECT 'auction', max(date_time) FROM auction GROUP BY filename
    UNION ALL SELECT 'bid', max(date_time) FROM bid GROUP BY filename
)
SELECT topic, min(reached) - INTERVAL 4 SECOND AS reached FROM newest GROUP BY topic;

ALTER TABLE person DROP COLUMN filename;
ALTER TABLE auction DROP COLUMN filename;
ALTER TABLE bid DROP COLUMN filename;
