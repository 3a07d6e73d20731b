"""Reads an archive with fastavro and the standard library alone: checks manifests, checksums, offsets and events."""
import hashlib
import io
import json
import pathlib
import sys

import fastavro

total = 0
for manifest_path in sorted(pathlib.Path(sys.argv[1]).rglob("*.json")):
    manifest = json.loads(manifest_path.read_text())
    file = (manifest_path.parent / manifest["file"]).read_bytes()
    assert len(file) == manifest["bytes"] and hashlib.sha256(file).hexdigest() == manifest["sha256"]
    reader = fastavro.reader(io.BytesIO(file))
    schemas = {
        int(name.removeprefix("tidewheel.schema.")): fastavro.parse_schema(json.loads(text))
        for name, text in reader.metadata.items()
        if name.startswith("tidewheel.schema.")
    }
    assert sorted(schemas) == manifest["schemas"]
    assert reader.metadata["tidewheel.log_id"] == manifest["log_id"]
    expected = manifest["from"]
    for record in reader:
        assert record["offset"] == expected, (record["offset"], expected)
        expected += 1
        total += 1
        headers = {header["name"]: header["value"].decode() for header in record["headers"]}
        if record["foreign"] is not None:
            assert record["value"].decode() == f"foreign {record['offset']}" and not headers
            continue
        value = record["value"]
        assert value[0] == 0
        schema_id = int.from_bytes(value[1:5], "big")
        assert schema_id == int(headers["schema-id"])
        rest = io.BytesIO(value[5:])
        event = fastavro.schemaless_reader(rest, schemas[schema_id], None, return_record_name=True)
        assert rest.read() == b""
        assert headers["entity"] == f"{event['entity_kind']}/{event['entity_id']}"
        assert record["key"].decode() == headers["entity"].split("/", 1)[1] or record["key"].decode() == headers["entity"]
        assert (headers["type"] == "log-created") == (record["offset"] == 0)
        if headers["type"] == "run-signaled":
            payload = json.loads(event["body"][1]["payload"]["data"])
            assert payload["number"] == record["offset"]
    assert expected == manifest["to"]
print(f"{total} records agree")
