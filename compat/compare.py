"""Compares two sets of rows as multisets, exactly but for floating point, and shows where they differ."""

import collections
import datetime
import decimal
import math


def plain(value, digits=9):
    """A value in one form whatever library it came from. Floats keep `digits` significant digits after rounding."""
    if isinstance(value, decimal.Decimal):
        return int(value) if value == value.to_integral_value() else plain(float(value), digits)
    if isinstance(value, float):
        if math.isnan(value):
            return "NaN"
        return float(f"{value:.{digits}e}")
    if isinstance(value, datetime.datetime) and value.tzinfo is not None:
        return value.astimezone(datetime.timezone.utc).replace(tzinfo=None)
    return value


def same_rows(name, got, expected):
    """Fails unless both hold the same rows, each as often, in any order."""
    got_count = collections.Counter(tuple(plain(v) for v in row) for row in got)
    expected_count = collections.Counter(tuple(plain(v) for v in row) for row in expected)
    if got_count == expected_count:
        return
    extra = list((got_count - expected_count).items())
    missing = list((expected_count - got_count).items())
    order = lambda item: tuple(str(v) for v in item[0])  # noqa: E731
    text = [f"{name}: {sum(got_count.values())} rows, expected {sum(expected_count.values())}; "
            f"{sum(n for _, n in extra)} too many, {sum(n for _, n in missing)} missing"]
    text += [f"  too many  {n} x {row}" for row, n in sorted(extra, key=order)[:5]]
    text += [f"  missing   {n} x {row}" for row, n in sorted(missing, key=order)[:5]]
    raise AssertionError("\n".join(text))


def same_ordered(name, got, expected, keys, relative=1e-9):
    """Fails unless both hold the same rows by their first `keys` columns, floats within `relative`."""
    got_by, expected_by = ({row[:keys]: row[keys:] for row in (tuple(plain(v, 17) for v in r) for r in rows)} for rows in (got, expected))
    assert len(got_by) == len(got), f"{name}: a key occurs twice"
    assert got_by.keys() == expected_by.keys(), (
        f"{name}: {len(got_by)} keys, expected {len(expected_by)}; "
        f"too many {sorted(map(str, got_by.keys() - expected_by.keys()))[:3]}, missing {sorted(map(str, expected_by.keys() - got_by.keys()))[:3]}")
    for key, expected_values in expected_by.items():
        for a, b in zip(got_by[key], expected_values, strict=True):
            close = isinstance(a, float) and isinstance(b, float) and math.isclose(a, b, rel_tol=relative, abs_tol=1e-12)
            assert a == b or close, f"{name} at {key}: {got_by[key]}, expected {expected_values}"
