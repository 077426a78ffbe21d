"""Writes the storm: reference tables and card payments, the same bytes for the same seed.

    python bench/storm/generate.py --out /tmp/storm [--payments 1000000]

Makes in the output folder
  persons.csv      id,name            1,000,000 rows
  companies.csv    id,name              100,000 rows
  payments/part-NNNNN.jsonl           100,000 payments of about 950 bytes per file
  expected.json    what every peer's result is checked against
One payment in 1,000 is of a person that is not in persons.csv.
"""

import argparse
import datetime
import json
import pathlib
import time

import numpy

FIRST = """Ada Alan Amara Anita Barbara Bela Carlos Chen Chidi Claude Dana Dennis Edith Edgar Elif Emmy
Farid Frances Grace Hana Hedy Henri Ines Ivan Jean Joan Jorge Kazuo Karen Katherine Kurt Leila Lena Leslie
Linus Lotte Maja Margaret Mary Mei Mikhail Nadia Niklaus Noor Olga Omar Pavel Priya Radia Ravi Rosa Ruth
Sofia Soren Tim Tomas Uma Vera Wei Yara Yuki Zoltan""".split()
LAST = """Abbott Achterberg Adeyemi Almeida Andersson Banerjee Becker Bianchi Bishop Castillo Chandra Cohen
Costa Dijkstra Dubois Eriksen Farouk Fischer Garcia Goldberg Haddad Hansen Hopper Horvat Ivanova Jansen Kim
Kovacs Kowalski Lamarr Larsen Liskov Lovelace Martin Mensah Moreau Nakamura Nguyen Novak Okafor Oliveira
Park Petrov Popescu Rossi Sato Schmidt Shannon Silva Singh Smith Suzuki Tanaka Torvalds Turing Vargas
Virtanen Wagner Weber Wirth Yilmaz Zhang""".split()
TRADE = """Bakery Books Cafe Chemist Cinema Cycles Deli Dental Diner Electric Fashion Fitness Florist Foods
Fuel Furniture Garage Garden Hardware Hotel Insurance Jewellers Kitchen Laundry Market Media Music Optics
Outdoors Parking Pets Pharmacy Pizza Post Rail Records Shoes Software Sports Studio Supplies Taxi Tea
Telecom Theatre Tools Toys Travel Vets Wines""".split()
NOTE = """payment for order invoice thanks delivered to the door before noon please keep the receipt table four
two coffees and a sandwich monthly subscription renewed membership fee refund pending partial shipment gift
wrapped birthday card attached customer reference warehouse north entrance paid at the counter contactless
terminal offline retry approved second attempt currency converted rate applied tip included service charge
discount code spring loyalty points earned return within thirty days warranty two years serial number ticket
adult return off peak seat window coach platform change at parking zone three hours left luggage room night
breakfast late checkout minibar water sparkling bread milk eggs butter cheese apples oranges rice beans""".split()
# Text that a JSON parser has to work for: escapes and letters beyond ASCII.
SPICE = ['\\"express\\"', "caf\u00e9", "M\u00fcnchen", "5\\u20ac", "line\\nbreak", "a\\/b", "\u5bff\u53f8", "c:\\\\till"]

PAYMENTS_PER_FILE = 100_000
START = datetime.datetime(2026, 11, 1, 8, 0, 0)


def names(rng, count, left, right):
    """`count` two-word names."""
    a = rng.integers(0, len(left), count)
    b = rng.integers(0, len(right), count)
    return [f"{left[i]} {right[j]}" for i, j in zip(a.tolist(), b.tolist())]


def phrases(rng, count):
    """Phrases of about 100 bytes, of which the notes are made; one in ten has an escape or accent."""
    out = []
    for _ in range(count):
        words = [NOTE[i] for i in rng.integers(0, len(NOTE), 16)]
        if rng.random() < 0.1:
            words[rng.integers(0, 16)] = SPICE[rng.integers(0, len(SPICE))]
        out.append(" ".join(words))
    return out


def write_csv(path, values):
    with open(path, "w", encoding="utf-8") as file:
        file.write("id,name\n")
        file.writelines(f"{i},{name}\n" for i, name in enumerate(values, 1))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--payments", type=int, default=1_000_000)
    parser.add_argument("--persons", type=int, default=1_000_000)
    parser.add_argument("--companies", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=7)
    args = parser.parse_args()

    marker = args.out / "expected.json"
    wanted = {k: getattr(args, k) for k in ("payments", "persons", "companies", "seed")}
    if marker.exists() and json.loads(marker.read_text())["input"] == wanted:
        print(f"{args.out}: already there")
        return
    started = time.monotonic()
    rng = numpy.random.default_rng(args.seed)
    folder = args.out / "payments"
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.jsonl"):
        old.unlink()
    person_names = names(rng, args.persons, FIRST, LAST)
    company_names = names(rng, args.companies, LAST, TRADE)
    write_csv(args.out / "persons.csv", person_names)
    write_csv(args.out / "companies.csv", company_names)
    pool = phrases(rng, 20_000)

    totals = {"rows": 0, "cents": 0, "unknown_persons": 0, "person_name_bytes": 0, "company_name_bytes": 0, "bytes": 0}
    for part, first in enumerate(range(0, args.payments, PAYMENTS_PER_FILE)):
        count = min(PAYMENTS_PER_FILE, args.payments - first)
        person = rng.integers(1, args.persons + 1, count)
        person[rng.random(count) < 0.001] += args.persons
        # A few companies take much, most take little.
        company = (args.companies * rng.random(count) ** 2).astype(numpy.int64) + 1
        # About 1 % of the payments are of 400 and more.
        cents = numpy.minimum(numpy.exp(rng.normal(numpy.log(2200), 1.22, count)), 5_000_000).astype(numpy.int64) + 1
        note = rng.integers(0, len(pool), (count, 8)).tolist()
        lines = []
        for i, (p, c, a, n) in enumerate(zip(person.tolist(), company.tolist(), cents.tolist(), note)):
            # 100,000 payments a second, so 10 microseconds from one to the next.
            at = START + datetime.timedelta(microseconds=10 * (first + i))
            text = " ".join([pool[k] for k in n])[:858]
            text = text[:text.rindex(" ")]  # never in the middle of an escape
            lines.append(f'{{"person_id":{p},"company_id":{c},"amount":{a / 100:.2f},'
                         f'"paid_at":"{at.isoformat(timespec="milliseconds")}Z","note":"{text}"}}\n')
            totals["company_name_bytes"] += len(company_names[c - 1])
            if p > args.persons:
                totals["unknown_persons"] += 1
            else:
                totals["person_name_bytes"] += len(person_names[p - 1])
        blob = "".join(lines).encode()
        (folder / f"part-{part:05}.jsonl").write_bytes(blob)
        totals["rows"] += count
        totals["cents"] += int(cents.sum())
        totals["bytes"] += len(blob)
    marker.write_text(json.dumps({"input": wanted, "expected": totals}, indent=1) + "\n")
    print(f"{args.out}: {totals['rows']:,} payments, {totals['bytes'] / max(totals['rows'], 1):.0f} bytes each, "
          f"{time.monotonic() - started:.1f} s")


if __name__ == "__main__":
    main()
