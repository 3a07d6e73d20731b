"""What other programs see of Tidewheel, and what they write: Kafka's Python client with its Schema Registry client,
Cassandra's Python driver. Nothing of Tidewheel's own is used here.

Usage: others.py read|produce|views JSON. Prints one JSON document a line.
"""

import base64
import datetime
import json
import sys
import time
import uuid

EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
MICROSECOND = datetime.timedelta(microseconds=1)
# Fields that hold a UUID as 16 bytes, which some versions of fastavro give as bytes.
IDS = {"event_id", "cause", "log_id", "source", "target"}
# Types whose only alternative is null, which the fixtures do not name.
ALONE = {"EventId", "OutboxName"}
PATIENCE_SECONDS = 120


def plain(value):
    """The value as Tidewheel's fixtures spell it in JSON."""
    if isinstance(value, tuple):
        name, record = value[0].rpartition(".")[2], value[1]
        if name == "EventId" and isinstance(record, bytes):
            return str(uuid.UUID(bytes=record))
        return plain(record) if name in ALONE else {name: plain(record)}
    if isinstance(value, dict):
        return {
            key: str(uuid.UUID(bytes=item)) if key in IDS and isinstance(item, bytes) else plain(item)
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, datetime.datetime):
        return (value - EPOCH) // MICROSECOND
    if isinstance(value, uuid.UUID):
        return str(value)
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    return value


def show(document):
    print(json.dumps(document), flush=True)


def read(asked):
    """Every record of a topic up to the ends given, decoded with the schemas of a registry."""
    from confluent_kafka import Consumer, TopicPartition
    from confluent_kafka.schema_registry import SchemaRegistryClient
    from confluent_kafka.schema_registry.avro import AvroDeserializer
    from confluent_kafka.serialization import MessageField, SerializationContext

    topic, ends = asked["topic"], asked["ends"]
    registry = SchemaRegistryClient({"url": asked["registry"]})
    decode = AvroDeserializer(registry, return_record_name=True)
    context = SerializationContext(topic, MessageField.VALUE)
    consumer = Consumer(
        {"bootstrap.servers": asked["brokers"], "group.id": "others", "enable.auto.commit": False}
    )
    consumer.assign([TopicPartition(topic, partition, 0) for partition in range(len(ends))])
    waited_for = {partition for partition, end in enumerate(ends) if end > 0}
    deadline = time.monotonic() + PATIENCE_SECONDS
    while waited_for:
        if time.monotonic() > deadline:
            sys.exit(f"partitions {waited_for} of {topic} were not read to their ends")
        message = consumer.poll(1.0)
        if message is None:
            continue
        if message.error():
            sys.exit(f"{topic}: {message.error()}")
        partition, offset = message.partition(), message.offset()
        if offset < ends[partition]:
            show(
                {
                    "partition": partition,
                    "offset": offset,
                    "key": message.key().decode("utf-8"),
                    "headers": [[name, text.decode("utf-8")] for name, text in message.headers()],
                    "event": plain(decode(message.value(), context)),
                }
            )
        if offset + 1 >= ends[partition]:
            waited_for.discard(partition)
    consumer.close()


def produce(asked):
    """Starts of runs, written to a topic with the newest schema of a registry."""
    from confluent_kafka import Producer
    from confluent_kafka.schema_registry import SchemaRegistryClient
    from confluent_kafka.schema_registry.avro import AvroSerializer
    from confluent_kafka.serialization import MessageField, SerializationContext

    topic = asked["topic"]
    registry = SchemaRegistryClient({"url": asked["registry"]})
    encode = AvroSerializer(registry, conf={"auto.register.schemas": False, "use.latest.version": True})
    schema_id = registry.get_latest_version(topic + "-value").schema_id
    context = SerializationContext(topic, MessageField.VALUE)
    settings = {"bootstrap.servers": asked["brokers"], "enable.idempotence": True}
    if asked["partitioner"]:
        settings["partitioner"] = asked["partitioner"]
    producer = Producer(settings)

    def delivered(error, message):
        if error:
            sys.exit(f"not delivered: {error}")
        show(
            {
                "run_id": message.key().decode("utf-8"),
                "partition": message.partition(),
                "offset": message.offset(),
            }
        )

    for run_id in asked["runs"]:
        event_id, recorded_at = uuid.uuid4(), int(time.time() * 1_000_000)
        event = {
            "event_id": event_id.bytes,
            "entity_kind": "run",
            "entity_id": run_id,
            "namespace": "default",
            "recorded_at": recorded_at,
            "cause": None,
            "traceparent": None,
            "author": ("tidewheel.v1.Ingest", {"principal": "python"}),
            "body": (
                "tidewheel.v1.RunStarted",
                {
                    "workflow": asked["workflow"],
                    "key": None,
                    "input": {
                        "content_type": "application/json",
                        "data": json.dumps(asked["input"]).encode("utf-8"),
                    },
                    "tags": {"from": "python"},
                },
            ),
        }
        headers = {
            "type": "run-started",
            "entity": f"run/{run_id}",
            "event-id": str(event_id),
            "recorded-at": str(recorded_at),
            "schema-id": str(schema_id),
            "author": "ingest:python",
        }
        producer.produce(
            topic, key=run_id, value=encode(event, context), headers=headers, on_delivery=delivered
        )
    if producer.flush(PATIENCE_SECONDS):
        sys.exit("not everything was delivered")


def views(asked):
    """A run and its history as the views have them."""
    from cassandra.cluster import Cluster

    cluster = Cluster([asked["host"]], port=asked["port"])
    session = cluster.connect(asked["keyspace"])
    run_id = uuid.UUID(asked["run_id"])
    run = session.execute(
        "SELECT run_id, namespace, workflow, status, version FROM runs_g1 WHERE run_id = %s LIMIT 1", [run_id]
    ).one()
    history = session.execute(
        "SELECT number, events FROM run_history_g1 WHERE run_id = %s AND bucket = 0", [run_id]
    )
    # Segments may overlap; what they share is equal.
    history = sorted(
        {
            number: (number, entry.type, plain(entry.payload))
            for segment in history
            for number, entry in enumerate(segment.events, segment.number)
        }.values()
    )
    show(
        {
            "run_id": str(run.run_id),
            "namespace": run.namespace,
            "workflow": run.workflow,
            "status": run.status,
            "version": run.version,
            "history": history,
        }
    )
    cluster.shutdown()


if __name__ == "__main__":
    {"read": read, "produce": produce, "views": views}[sys.argv[1]](json.loads(sys.argv[2]))
