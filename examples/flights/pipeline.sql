-- Every flight that left New York in 2013, as a stream: delays by airline and
-- hour, by route and by destination, kept up to date with each departure.
--
--   pluvio run examples/flights/pipeline.sql
--   zcat examples/flights/flights-2013-01.jsonl.gz | pluvio produce flights

-- A topic keeps order within a partition only. The replay's order of departure
-- matters to the hourly windows, so one partition; within a day flights are not
-- in order of schedule, hence a watermark of one day.
CREATE STREAM flights (
    year INT, month INT, day INT,
    dep_time INT, sched_dep_time INT, dep_delay INT,
    arr_time INT, sched_arr_time INT, arr_delay INT,
    carrier VARCHAR NOT NULL, flight INT, tailnum VARCHAR,
    origin VARCHAR NOT NULL, dest VARCHAR NOT NULL,
    air_time INT, distance INT, hour INT, minute INT,
    time_hour TIMESTAMP NOT NULL,
    WATERMARK FOR time_hour AS time_hour - INTERVAL '1' DAY
) WITH (topic = 'flights', format = 'json', partitions = '1', on_error = 'dead_letter');

-- The reference data, one row per key. Paths are relative to this file.
CREATE TABLE airlines (carrier VARCHAR PRIMARY KEY, name VARCHAR);
COPY airlines FROM 'airlines.csv' WITH (header 'true', null 'NA');

CREATE TABLE airports (
    faa VARCHAR PRIMARY KEY, name VARCHAR, lat DOUBLE, lon DOUBLE,
    alt INT, tz INT, dst VARCHAR, tzone VARCHAR
);
COPY airports FROM 'airports.csv' WITH (header 'true', null 'NA');

CREATE TABLE planes (
    tailnum VARCHAR PRIMARY KEY, year INT, type VARCHAR, manufacturer VARCHAR,
    model VARCHAR, engines INT, seats INT, speed INT, engine VARCHAR
);
COPY planes FROM 'planes.csv' WITH (header 'true', null 'NA');

-- Each flight with its airline, its plane and both airports. A few destinations
-- and many planes are not in the reference data: their columns are NULL.
CREATE MATERIALIZED VIEW enriched WITH (retention = '10000 days', retention_bytes = '512 MiB') AS
SELECT f.time_hour, f.carrier, al.name AS airline, f.flight, f.tailnum,
       pl.manufacturer, pl.model, pl.year AS built, pl.seats,
       f.origin, o.name AS origin_name,
       f.dest, d.name AS dest_name, d.lat AS dest_lat, d.lon AS dest_lon, d.tzone AS dest_tzone,
       f.hour, f.dep_time, f.dep_delay, f.arr_time, f.arr_delay, f.air_time, f.distance
FROM flights f
LEFT JOIN airlines al ON al.carrier = f.carrier
LEFT JOIN planes   pl ON pl.tailnum = f.tailnum
LEFT JOIN airports o  ON o.faa = f.origin
LEFT JOIN airports d  ON d.faa = f.dest;

-- Delays by airline and hour. A flight without a departure time was cancelled.
-- A row is updated as long as its hour can still receive flights.
CREATE MATERIALIZED VIEW delays_by_carrier_hour WITH (retention = '10000 days') AS
SELECT window_start, carrier, airline,
       count(*) AS flights, count(dep_time) AS departed,
       sum(dep_delay) AS dep_minutes, avg(dep_delay) AS dep_delay_avg, max(dep_delay) AS dep_delay_max,
       sum(arr_delay) AS arr_minutes, avg(arr_delay) AS arr_delay_avg
FROM TABLE(TUMBLE(TABLE enriched, DESCRIPTOR(time_hour), INTERVAL '1' HOUR))
GROUP BY window_start, carrier, airline;

-- One final row per origin and day, written when the watermark has passed the day.
CREATE MATERIALIZED VIEW days_closed WITH (retention = '10000 days') AS
SELECT window_start, window_end, origin,
       count(*) AS flights, count(dep_time) AS departed, sum(dep_delay) AS dep_minutes
FROM TABLE(TUMBLE(TABLE enriched, DESCRIPTOR(time_hour), INTERVAL '1' DAY))
GROUP BY window_start, window_end, origin
EMIT ON WINDOW CLOSE;

-- Delays by route, over all time.
CREATE MATERIALIZED VIEW delays_by_route AS
SELECT origin, dest, dest_name, distance,
       count(*) AS flights, count(arr_delay) AS arrived, sum(arr_delay) AS arr_minutes,
       avg(arr_delay) AS arr_delay_avg, min(air_time) AS air_time_min, max(air_time) AS air_time_max
FROM enriched
GROUP BY origin, dest, dest_name, distance;

-- The airports one arrives late at: at least 100 arrivals, 10 minutes on average.
CREATE MATERIALIZED VIEW worst_airports AS
SELECT dest, dest_name, count(arr_delay) AS arrived,
       sum(arr_delay) AS arr_minutes, avg(arr_delay) AS arr_delay_avg
FROM enriched
GROUP BY dest, dest_name
HAVING count(arr_delay) >= 100 AND avg(arr_delay) >= 10;

-- All enriched flights as a Delta table.
CREATE SINK archive INTO LAKE 'flights' FROM enriched WITH (commit_interval = '2 s');
