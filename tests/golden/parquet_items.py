"""Writes the Parquet files that the ingest tests read, as pyarrow writes them. Usage: parquet_items.py (no arguments)."""

import datetime
from pathlib import Path

import pyarrow
import pyarrow.parquet

OUT = Path(__file__).resolve().parents[2] / "index-tools" / "tests" / "data"
TABLE = pyarrow.table(
    {
        "id": pyarrow.array(["a", "b", "c"]),
        "title": pyarrow.array(["one", None, "three"]),
        "embedding": pyarrow.array([[1.0, 0.5], [0.25, -2.0], [3.0, 4.0]], pyarrow.list_(pyarrow.float32())),
        "n": pyarrow.array([1, 2**40, None], pyarrow.int64()),
        "price": pyarrow.array([1.5, 2.25, 0.0]),
        "tags": pyarrow.array([["x", "y"], [], None], pyarrow.list_(pyarrow.string())),
        "seen": pyarrow.array(
            [datetime.datetime(2026, 11, 27, 15, 4, 5, tzinfo=datetime.timezone.utc)] * 3, pyarrow.timestamp("us", "UTC")
        ),
        "shop": pyarrow.array([{"town": "Bern", "open": True}] * 3),
    }
)
for compression in ["snappy", "zstd", "none", "gzip", "lz4"]:
    pyarrow.parquet.write_table(TABLE, OUT / f"{compression}.parquet", compression=compression, row_group_size=2)
