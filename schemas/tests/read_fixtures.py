"""Reads every fixture in a folder with fastavro, compares it with its expected JSON, and writes it back.

Usage: read_fixtures.py <folder>, which holds schema.avsc and the fixtures.
"""

import base64
import datetime
import io
import json
import pathlib
import sys
import uuid

import fastavro

EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
MICROSECOND = datetime.timedelta(microseconds=1)
# fastavro 1.13 gives a UUID that is stored as 16 bytes as these bytes.
IDS = {"event_id", "cause", "log_id", "source", "target"}
LISTS_OF_IDS = {"runs"}


def spelled(key, item):
    """The value of one field."""
    if isinstance(item, bytes) and key in IDS:
        return str(uuid.UUID(bytes=item))
    if isinstance(item, list) and key in LISTS_OF_IDS:
        return [str(uuid.UUID(bytes=member)) for member in item]
    if isinstance(item, bytes) and key == "hash":
        return item.hex()
    return plain(item)


def plain(value):
    """The value as the fixtures spell it in JSON."""
    if isinstance(value, tuple):
        name, record = value
        return {name.rpartition(".")[2]: plain(record)}
    if isinstance(value, dict):
        return {key: spelled(key, item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, datetime.datetime):
        return (value - EPOCH) // MICROSECOND
    if isinstance(value, uuid.UUID):
        return str(value)
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    return value


def check(schema, fixture):
    """What is wrong with a fixture; None if nothing is."""
    framed = bytes.fromhex(fixture["value"])
    schema_id = int(dict(fixture["headers"])["schema-id"])
    if framed[:5] != b"\0" + schema_id.to_bytes(4, "big"):
        return f"framing is {framed[:5].hex()}"
    source = io.BytesIO(framed[5:])
    event = fastavro.schemaless_reader(
        source, schema, None, return_record_name=True, return_record_name_override=True
    )
    if source.read():
        return "bytes are left over"
    if plain(event) != fixture["event"]:
        return f"read {plain(event)}, expected {fixture['event']}"
    written = io.BytesIO()
    fastavro.schemaless_writer(written, schema, event)
    if written.getvalue() != framed[5:]:
        return f"wrote {written.getvalue().hex()}, expected {framed[5:].hex()}"
    return None


def main(folder):
    schema = fastavro.parse_schema(json.loads((folder / "schema.avsc").read_text(encoding="utf-8")))
    agreed = 0
    for path in sorted(folder.glob("*.json")):
        problem = check(schema, json.loads(path.read_text(encoding="utf-8")))
        if problem:
            sys.exit(f"{path.name}: {problem}")
        agreed += 1
    print(f"{agreed} fixtures agree")


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
