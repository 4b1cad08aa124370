"""Makes titles.csv.gz from the npm package bangumi-data: ``npm pack bangumi-data@0.3.208`` and then

python -m pipeline.demo.extract bangumi-data-0.3.208.tgz
"""

import csv
import gzip
import io
import json
import sys
import tarfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

TITLES = Path(__file__).with_name("titles.csv.gz")
COLUMNS = ("item_id", "began", "title", "type", "lang", "sites")


def rows(data: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    """Yield one row a title that has a date: sites are those that show it ('onair'), not those that describe it."""
    shows = {site for site, meta in data["siteMeta"].items() if meta["type"] == "onair"}
    for number, item in enumerate(data["items"]):
        if not item["begin"]:
            continue
        began = datetime.fromisoformat(item["begin"]).astimezone(UTC)
        ids = [site["id"] for site in item["sites"] if site["site"] == "bangumi"]
        sites = sorted({site["site"] for site in item["sites"]} & shows)
        yield (
            ids[0] if ids else f"n{number}", f"{began:%Y-%m-%d %H:%M:%S}", item["title"], item["type"], item["lang"],
            "|".join(sites),
        )  # fmt: skip


def _order(row: tuple[str, ...]) -> tuple[str, str]:
    return row[1], row[0]


def main(archive: Path) -> None:
    """Write the extract, sorted by time; the same archive gives the same bytes."""
    with tarfile.open(archive) as tar:
        member = tar.extractfile("package/dist/data.json")
        if member is None:
            raise SystemExit(f"{archive}: no package/dist/data.json in it; expected the npm package bangumi-data")
        data = json.load(member)
    found = sorted(rows(data), key=_order)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(found)
    TITLES.write_bytes(gzip.compress(text.getvalue().encode(), mtime=0))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
