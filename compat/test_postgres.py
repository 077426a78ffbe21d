"""psql and psycopg against the Postgres port: catalog commands, parameters, writes, errors with SQLSTATE."""

import datetime
import decimal
import os
import subprocess

import psycopg
import pytest
from harness import until
from kafka_client import send_all
from psycopg.rows import dict_row

TABLE = """
    CREATE TABLE people (id BIGINT PRIMARY KEY, name VARCHAR NOT NULL, age INT, weight DOUBLE, member BOOLEAN, joined TIMESTAMP);
    INSERT INTO people VALUES (1, 'Ada', 36, 55.5, true, '2026-01-02 03:04:05'), (2, 'Bela', NULL, NULL, false, NULL);
"""


@pytest.fixture
def people(platform):
    p = platform()
    p.script(TABLE)
    return p


def psql(p, *commands, check=True, flags=()):
    arguments = [word for command in commands for word in ("-c", command)]
    done = subprocess.run(
        ["psql", "-h", "127.0.0.1", "-p", str(p.postgres_port), "-U", "test", "-d", "pluvio", "-X", *flags, *arguments],
        capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL, env={**os.environ, "PGCONNECT_TIMEOUT": "10"})
    if check:
        assert done.returncode == 0, done.stderr
    return done.stdout if check else done


def test_psql_catalog_commands(people):
    people.script("""
        CREATE STREAM s (a BIGINT, at TIMESTAMP) WITH (topic = 's', format = 'json');
        CREATE MATERIALIZED VIEW v AS SELECT a, count(*) AS n FROM s GROUP BY a;
    """)
    listing = psql(people, r"\d")
    for name in ("people", "v"):
        assert name in listing, listing
    assert "people" in psql(people, r"\dt")
    described = psql(people, r"\d people")
    for column, kind in (("id", "bigint"), ("name", "character varying"), ("age", "integer"), ("weight", "double precision"),
                         ("member", "boolean"), ("joined", "timestamp without time zone")):
        line = next((row for row in described.splitlines() if row.split("|")[0].strip() == column), "")
        assert kind in line or (kind == "character varying" and "text" in line), described
    assert "pluvio" in psql(people, r"\l")
    psql(people, r"\dn")
    psql(people, r"\conninfo")


def test_psql_select_in_every_shape(people):
    assert psql(people, "SELECT id, name, age FROM people ORDER BY id", flags=["-At"]) == "1|Ada|36\n2|Bela|\n"
    assert psql(people, "SELECT count(*), sum(weight), max(joined) FROM people", flags=["-At"]) == "2|55.5|2026-01-02 03:04:05.000000\n"
    assert psql(people, "SELECT 1; SELECT 2", flags=["-At"]) == "1\n2\n"
    assert "(2 rows)" in psql(people, "SELECT * FROM people")
    assert psql(people, "SELECT name FROM people WHERE name LIKE 'A%' OR id IN (SELECT 2)", flags=["-At"]).split() == ["Ada", "Bela"]
    assert "UPDATE 1" in psql(people, "UPDATE people SET age = 40 WHERE id = 2")
    assert "INSERT 0 1" in psql(people, "INSERT INTO people (id, name) VALUES (3, 'Cy')")
    assert "DELETE 1" in psql(people, "DELETE FROM people WHERE id = 3")
    failed = psql(people, "SELECT nosuch FROM people", check=False)
    assert failed.returncode == 1 and "nosuch" in failed.stderr


def test_psycopg_types_and_parameters(people):
    with people.connect(row_factory=dict_row) as connection:
        row = connection.execute("SELECT * FROM people WHERE id = %s", (1,)).fetchone()
        assert row == {"id": 1, "name": "Ada", "age": 36, "weight": 55.5, "member": True, "joined": datetime.datetime(2026, 1, 2, 3, 4, 5)}
        rows = connection.execute("SELECT id FROM people WHERE name = %s OR age IS NULL ORDER BY id", ("Ada",)).fetchall()
        assert [r["id"] for r in rows] == [1, 2]
        # The same statement many times becomes a prepared one.
        for i in (1, 2, 1, 2, 1, 2, 1, 2):
            assert connection.execute("SELECT id FROM people WHERE id = %s", (i,)).fetchone() == {"id": i}
        # Binary results.
        cursor = connection.cursor(binary=True)
        assert cursor.execute("SELECT id, name, age, weight, member, joined FROM people WHERE id = 1").fetchone() == row
        assert cursor.execute("SELECT count(*) AS n FROM people WHERE weight > %s", (1.5,)).fetchone() == {"n": 1}
        assert connection.execute("SELECT name FROM people WHERE joined < %s", (datetime.datetime(2027, 1, 1),)).fetchone() == {"name": "Ada"}
        assert connection.execute("SELECT count(*) AS n FROM people WHERE name = ANY(%s)", (["Ada", "Bela"],)).fetchone() == {"n": 2}
        assert connection.execute("SELECT 'it''s' AS t, 1.5 AS d, NULL AS n, DATE '2026-11-01' AS day").fetchone()["day"] == datetime.date(2026, 11, 1)


def test_psycopg_writes(people):
    with people.connect() as connection:
        run = connection.execute
        for i in range(10, 110):
            assert run("INSERT INTO people (id, name, age) VALUES (%s, %s, %s)", (i, f"p{i}", i)).rowcount == 1
        assert run("SELECT count(*) FROM people").fetchone() == (102,)
        assert run("UPDATE people SET age = age + 1, name = %s WHERE id >= %s AND id < %s", ("same", 10, 20)).rowcount == 10
        assert run("SELECT sum(age) FROM people WHERE name = %s", ("same",)).fetchone()[0] == sum(range(11, 21))
        assert run("DELETE FROM people WHERE id >= %s", (60,)).rowcount == 50
        upsert = "INSERT INTO people (id, name, age) VALUES (%s, %s, %s) ON CONFLICT (id) DO UPDATE SET name = EXCLUDED.name, age = EXCLUDED.age"
        run(upsert, (1, "Ada Byron", 37))
        run(upsert, (500, "new", 1))
        assert run("SELECT name, age FROM people WHERE id IN (1, 500) ORDER BY id").fetchall() == [("Ada Byron", 37), ("new", 1)]
        run("INSERT INTO people (id, name) VALUES (1, 'ignored') ON CONFLICT (id) DO NOTHING")
        assert run("SELECT name FROM people WHERE id = 1").fetchone() == ("Ada Byron",)
        connection.cursor().executemany("INSERT INTO people (id, name) VALUES (%s, %s)", [(i, "many") for i in range(1_000, 1_200)])
        assert run("SELECT count(*) FROM people WHERE name = 'many'").fetchone() == (200,)


def test_written_rows_survive_a_kill(people):
    people.sql("UPDATE people SET name = 'kept' WHERE id = 1")
    people.sql("DELETE FROM people WHERE id = 2")
    people.kill()
    people.start()
    assert people.sql("SELECT id, name FROM people") == [(1, "kept")]


@pytest.mark.parametrize("statement, state", [
    ("SELECT * FROM nosuch", "42P01"),
    ("SELECT nosuch FROM people", "42703"),
    ("SELEC 1", "42601"),
    ("SELECT nosuch(1)", "42883"),
    ("INSERT INTO people (id, name) VALUES (1, 'again')", "23505"),
    ("INSERT INTO people (id, name) VALUES (9, NULL)", "23502"),
    ("CREATE TABLE people (id BIGINT PRIMARY KEY)", "42P07"),
    ("SELECT 1 / 0", "22012"),
])
def test_errors_carry_their_sqlstate_and_the_connection_lives_on(people, statement, state):
    with people.connect() as connection:
        with pytest.raises(psycopg.Error) as raised:
            connection.execute(statement)
        assert raised.value.sqlstate == state, f"{raised.value.sqlstate}: {raised.value}"
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_numbers_of_aggregates_arrive_as_numbers(people):
    row = people.sql("SELECT count(*), sum(age), avg(weight), min(name) FROM people")[0]
    assert row == (2, 36, 55.5, "Ada") and not isinstance(row[2], (str, decimal.Decimal))


def test_live_rows_are_visible_to_an_open_connection(platform):
    p = platform()
    p.script("""
        CREATE STREAM s (a BIGINT) WITH (topic = 's', format = 'json', partitions = '1');
        CREATE MATERIALIZED VIEW v AS SELECT a % 10 AS d, count(*) AS n FROM s GROUP BY a % 10;
    """)
    with p.connect() as connection:
        for turn in range(1, 6):
            send_all(p.kafka, "s", [f'{{"a": {i}}}'.encode() for i in range(100)])
            until(f"turn {turn} is counted", lambda: connection.execute("SELECT sum(n) FROM v").fetchone()[0] == 100 * turn, 15)
        assert sorted(connection.execute("SELECT d, n FROM v").fetchall()) == [(d, 50) for d in range(10)]


def test_system_tables(platform):
    p = platform()
    p.script("""
        CREATE STREAM s (a BIGINT) WITH (topic = 's', format = 'json', partitions = '2');
        CREATE MATERIALIZED VIEW v AS SELECT a FROM s;
    """)
    send_all(p.kafka, "s", [b'{"a": 1}'] * 10)
    p.wait_for("SELECT count(*) FROM v", 10, 20)
    assert p.one("SELECT count(*) FROM pluvio.jobs") >= 1
    assert p.one("SELECT count(*) FROM pluvio.topics WHERE name = 's'") == 1
    until("epochs are listed", lambda: p.one("SELECT count(*) FROM pluvio.epochs") >= 1, 10)
    assert p.one("SELECT count(*) FROM pluvio.metrics") > 0
    assert p.sql("SELECT * FROM pluvio.dead_letters") == []


def test_own_sql_command(people):
    done = people.cli("sql", "--postgres", f"127.0.0.1:{people.postgres_port}", "-c", "SELECT id, name FROM people ORDER BY id")
    assert "Ada" in done.stdout and "Bela" in done.stdout
    failed = people.cli("sql", "--postgres", f"127.0.0.1:{people.postgres_port}", "-c", "SELECT nosuch FROM people", check=False)
    assert failed.returncode not in (0, 101) and "nosuch" in failed.stderr


def test_a_stream_takes_rows_and_flush_waits_for_them(platform):
    p = platform()
    p.script("""
        CREATE STREAM clicks (page VARCHAR NOT NULL, at TIMESTAMP);
        CREATE MATERIALIZED VIEW per_page AS SELECT page, count(*) AS clicks FROM clicks GROUP BY page;
    """)
    with p.connect() as connection:
        for round in range(1, 4):
            with connection.cursor() as cursor:
                cursor.execute("INSERT INTO clicks VALUES (%s, now()), ('/shop', NULL), (%s, now())", ("/home", "/home"))
                assert cursor.statusmessage == "INSERT 0 3"
            connection.execute("FLUSH")
            rows = connection.execute("SELECT page, clicks FROM per_page ORDER BY page").fetchall()
            assert rows == [("/home", 2 * round), ("/shop", round)]
        with pytest.raises(psycopg.errors.NotNullViolation):
            connection.execute("INSERT INTO clicks VALUES (NULL, now())")
    # They are events like any other.
    assert p.cli("consume", "clicks", "--from-beginning", "--count", "9", "--bootstrap", p.kafka).stdout.count('"page":"/home"') == 6


def test_plans_of_views_reach_psql_and_drivers(platform):
    p = platform()
    p.script("CREATE STREAM s (a BIGINT); CREATE MATERIALIZED VIEW v AS SELECT a, count(*) AS n FROM s GROUP BY a;")
    planned = "EXPLAIN CREATE MATERIALIZED VIEW w AS SELECT a, count(*) AS n FROM s GROUP BY a"
    assert psql(p, planned, flags=["-At"]) == "0||read stream s: project\n1|0|aggregate 1 columns: count(*) (rows are only added)\n"
    with psycopg.connect(host="127.0.0.1", port=p.postgres_port, user="test", dbname="pluvio", autocommit=True) as connection:
        rows = connection.execute(planned).fetchall()
        assert [(row[0], row[1]) for row in rows] == [(0, ""), (1, "0")]
        connection.execute("INSERT INTO s VALUES (1), (1), (2)")
        connection.execute("FLUSH")
        analyzed = connection.cursor(row_factory=dict_row).execute("EXPLAIN ANALYZE MATERIALIZED VIEW v").fetchall()
        assert [(row["rows_in"], row["rows_out"], row["rows_kept"]) for row in analyzed] == [(3, 3, None), (3, 2, 2)], analyzed
        assert analyzed[1]["bytes_kept"] > 0 and analyzed[1]["busy_ms"] >= 0
    assert psql(p, "SELECT * FROM w", check=False).returncode != 0
