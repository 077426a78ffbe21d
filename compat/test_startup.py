"""Light at rest: ready within milliseconds, idle in tens of megabytes, a clean end on Ctrl-C.

The aims are 300 ms and 60 MB. The limits asserted here are generous multiples, because a busy machine runs the tests;
the measured figures are printed, and bench/start records them.
"""

import time

from harness import until
from kafka_client import create_topic, send_all

READY_MS_MAX = 5 * 300
RSS_MB_MAX = 2 * 60


def test_ready_and_idle_figures(platform):
    ready_ms, rss_mb = [], []
    for _ in range(5):
        p = platform(start=False)
        ready_ms.append(1_000 * p.start())
        # Ready means ready: the first client gets an answer.
        assert p.one("SELECT 1") == 1
        create_topic(p.kafka, "t")
        time.sleep(0.5)  # idle, which is what is measured
        rss_mb.append(p.rss_mb())
        p.kill()
    print(f"ready in {min(ready_ms):.0f} to {max(ready_ms):.0f} ms (aim 300), idle {min(rss_mb):.0f} to {max(rss_mb):.0f} MB (aim 60)")
    assert min(ready_ms) <= READY_MS_MAX
    assert max(rss_mb) <= RSS_MB_MAX


def test_ready_is_said_on_stderr_and_over_http(platform):
    p = platform()
    assert p.healthy()
    until("the line is written", lambda: any(line.split()[:1] == ["ready"] or " ready" in line for line in p.log_tail().splitlines()), 5)


def test_control_c_ends_cleanly_and_nothing_is_lost(platform):
    p = platform()
    create_topic(p.kafka, "t")
    send_all(p.kafka, "t", [b"%d" % i for i in range(1_000)])
    began = time.monotonic()
    assert p.stop(20) == 0
    assert time.monotonic() - began < 10
    p.start()
    send_all(p.kafka, "t", [b"after"])


def test_two_processes_cannot_share_a_folder(platform):
    p = platform()
    second = platform(start=False)
    second.data = p.data
    try:
        second.start(seconds=15)
    except AssertionError:
        pass
    assert second.process.poll() not in (None, 0, 101), "the second process must refuse the folder"
    assert str(p.data) in second.log_tail(), second.log_tail()
    assert p.healthy()
