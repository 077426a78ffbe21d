"""The console in a headless Chromium while events flow: live rows, charts, no error, nothing loaded from elsewhere."""

import datetime
import json
import re

import pytest
from browser import Browser, executable
from harness import ROOT, Tail, until
from kafka_client import Acknowledged

needs_chromium = pytest.mark.skipif(executable() is None, reason="there is no chromium here")


def payments(p):
    """Sends payments of known persons until told to stop; the amounts count up, so that new rows can be told from old."""
    producer = Acknowledged(p.kafka)

    def work(stop):
        number = 0
        while not stop.is_set():
            for _ in range(20):
                now = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
                producer.send("payments", number, json.dumps({"person_id": number % 3, "company_id": number % 2, "amount": 500 + number, "paid_at": now}))
                number += 1
            stop.wait(0.05)
        producer.flush()

    return work


@needs_chromium
def test_rows_rain_in(platform, artifacts_folder):
    p = platform(pipeline=ROOT / "examples" / "card-payments" / "pipeline.sql")
    p.sql("INSERT INTO persons VALUES (0, 'Zoe Quartermain'), (1, 'Una Quartermain'), (2, 'Tess Quartermain')")
    p.sql("INSERT INTO companies VALUES (0, 'Corner Bakery'), (1, 'Night Trains')")
    sending = Tail(payments(p))
    try:
        with Browser() as browser:
            browser.open(p.url + "/")
            until("enriched rows are on the page", lambda: "Quartermain" in browser.text() and "Bakery" in browser.text(), 30)
            first = browser.text()
            until("the page changes by itself", lambda: browser.text() != first, 10)

            def newest():
                return browser.evaluate("document.querySelector('tbody').innerText")

            before = newest()
            until("newer rows come in", lambda: newest() != before, 15)
            assert browser.evaluate("document.querySelectorAll('canvas, svg').length") > 0, "there is no chart"
            until("a chart is drawn", lambda: browser.evaluate("""
                Array.from(document.querySelectorAll('canvas')).some(c => c.width > 0 && c.getContext('2d')
                    .getImageData(0, 0, c.width, c.height).data.some(v => v !== 0))
                || document.querySelectorAll('svg path, svg polyline, svg line, svg rect').length > 0"""), 15)
            for word in ("events", "lag", "latency"):
                assert word in browser.text().lower(), f"the page does not show {word!r}:\n{browser.text()[:2000]}"
            browser.screenshot(artifacts_folder / "console.png")
            assert not browser.errors, browser.errors
            elsewhere = [u for u in browser.requests if f"127.0.0.1:{p.http_port}" not in u and not u.startswith(("about:", "data:", "blob:"))]
            assert not elsewhere, f"the page loads from elsewhere: {elsewhere}"
    finally:
        sending.finish()


@needs_chromium
def test_it_reconnects_after_a_restart(platform):
    p = platform(pipeline=ROOT / "examples" / "card-payments" / "pipeline.sql")
    p.sql("INSERT INTO persons VALUES (0, 'Zoe Quartermain'), (1, 'Una Quartermain'), (2, 'Tess Quartermain')")
    with Browser() as browser:
        browser.open(p.url + "/")
        until("the page is live", lambda: browser.evaluate("document.body?.dataset.connection") == "live", 20)
        p.kill()
        p.start()
        sending = Tail(payments(p))
        try:
            until("rows come in after the restart", lambda: "Quartermain" in browser.text(), 40)
        finally:
            sending.finish()
