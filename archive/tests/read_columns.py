"""Reads columns with pyarrow and compares them with what fastavro reads of the sealed files they were made of."""
import hashlib
import json
import pathlib
import sys

import fastavro
import pyarrow as pa
import pyarrow.parquet as pq

root = pathlib.Path(sys.argv[1])
total = 0
for manifest_path in sorted((root / "columns").rglob("*.parquet.json")):
    manifest = json.loads(manifest_path.read_text())
    path = manifest_path.parent / manifest["file"]
    file = path.read_bytes()
    assert len(file) == manifest["bytes"] and hashlib.sha256(file).hexdigest() == manifest["sha256"]
    source = root / "avro" / manifest_path.parent.relative_to(root / "columns") / manifest["source"]
    assert hashlib.sha256(source.read_bytes()).hexdigest() == manifest["source_sha256"]
    # One file, not a data set with partitions in the names of its folders.
    table = pq.ParquetFile(path).read()
    about = {name.decode(): value.decode() for name, value in table.schema.metadata.items()}
    assert about["tidewheel.source_sha256"] == manifest["source_sha256"]
    assert table.schema.field("recorded_at").type == pa.timestamp("us", tz="UTC")
    assert table.schema.field("offset").type == pa.int64() and not table.schema.field("offset").nullable
    assert table.schema.field("value").type == pa.string() and table.schema.field("key").type == pa.binary()
    times = table.column("recorded_at").cast(pa.int64()).to_pylist()
    rows = table.to_pylist()
    with source.open("rb") as opened:
        records = list(fastavro.reader(opened))
    assert len(rows) == len(records) == manifest["records"] == manifest["to"] - manifest["from"]
    for row, record, time in zip(rows, records, times):
        headers = {header["name"]: header["value"].decode() for header in record["headers"]}
        assert (row["topic"], row["partition"]) == (manifest["topic"], manifest["partition"])
        assert (row["offset"], row["key"], row["value_bytes"]) == (record["offset"], record["key"], record["value"])
        assert row["foreign"] == record["foreign"]
        assert (row["event_type"], row["event_id"]) == (headers.get("type"), headers.get("event-id"))
        assert (time is None) == (record["foreign"] is not None)
        if record["foreign"] is None:
            assert time == int(headers["recorded-at"])
            assert row["entity_kind"] + "/" + row["entity_id"] == headers["entity"]
            assert row["schema_id"] == int(headers["schema-id"])
            value = json.loads(row["value"])
            if row["event_type"] == "run-signaled":
                assert value["payload"]["data"]["number"] == row["offset"]
        total += 1
print(f"{total} rows agree")
