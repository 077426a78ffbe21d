-- A web server's access log, line by line, parsed in SQL.
--
--   pluvio run examples/weblogs/pipeline.sql
--   zcat examples/weblogs/access-2015-05.log.gz | pluvio produce weblog

-- A raw stream has one column: the record's text. A line that does not match
-- `require` (Apache's combined log format) becomes a dead letter.
CREATE STREAM weblog (line VARCHAR) WITH (
    topic = 'weblog', format = 'raw', partitions = '2', on_error = 'dead_letter',
    require = '^\S+ \S+ \S+ \[[^\]]+\] "[A-Z]+ \S+ HTTP/[0-9.]+" [0-9]{3} ([0-9]+|-) "[^"]*" "[^"]*"$'
);

-- One regular expression takes a line apart; its groups become columns.
CREATE MATERIALIZED VIEW requests WITH (retention = '10000 days') AS
SELECT to_timestamp(m[3], '%d/%b/%Y:%H:%M:%S %z') AS requested_at,
       m[1] AS client, nullif(m[2], '-') AS username,
       m[4] AS method, m[5] AS path, m[6] AS protocol,
       CAST(m[7] AS INT) AS status, CAST(nullif(m[8], '-') AS BIGINT) AS bytes,
       nullif(m[9], '-') AS referrer, m[10] AS agent
FROM (
    SELECT regexp_match(line,
        '^(\S+) \S+ (\S+) \[([^\]]+)\] "([A-Z]+) (\S+) (HTTP/[0-9.]+)" ([0-9]{3}) ([0-9]+|-) "([^"]*)" "([^"]*)"$') AS m
    FROM weblog
) AS parsed;

-- Answers by status, kept up to date.
CREATE MATERIALIZED VIEW by_status AS
SELECT status, count(*) AS requests, sum(bytes) AS bytes
FROM requests
GROUP BY status;

-- The sections of the site: the first part of the path, without query text.
CREATE MATERIALIZED VIEW by_section AS
SELECT section, count(*) AS requests, count(DISTINCT client) AS clients
FROM (
    SELECT regexp_replace(path, '^/?([^/?#]*).*$', '/\1') AS section, client
    FROM requests
) AS r
GROUP BY section;

-- Requests per hour, with the share of robots.
CREATE MATERIALIZED VIEW by_hour AS
SELECT date_trunc('hour', requested_at) AS hour, count(*) AS requests,
       sum(CASE WHEN regexp_like(agent, '(bot|crawler|spider)', 'i') THEN 1 ELSE 0 END) AS robots
FROM requests
GROUP BY date_trunc('hour', requested_at);

CREATE SINK archive INTO LAKE 'requests' FROM requests WITH (commit_interval = '2 s');
