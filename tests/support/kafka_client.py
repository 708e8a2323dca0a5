"""Somebody else's Kafka client (confluent-kafka from PyPI, with a newer librdkafka than windrow's): producers with
transactions, a reader that counts, and what an operator does to topics."""

import time

import harness

harness.require_client("confluent_kafka")

from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewPartitions, OffsetSpec, ResourceType

TIMEOUT_S = 60
# As windrow produces: records of one id stay on one partition.
PARTITIONER = {"partitioner": "murmur2_random"}


class Sender:
    """A producer; with TRANSACTIONAL_ID one whose records count when their transaction is committed."""

    def __init__(self, address, transactional_id=None, **settings):
        settings = {"bootstrap.servers": address, "enable.idempotence": True, "linger.ms": 5, **PARTITIONER, **settings}
        if transactional_id:
            settings["transactional.id"] = transactional_id
        self.failed = []
        self.producer = Producer(settings)
        if transactional_id:
            self.producer.init_transactions(TIMEOUT_S)

    def delivered(self, error, message):
        if error:
            self.failed.append((message.key(), error))

    def send(self, topic, records, partition=-1, timestamp_ms=0, headers=None):
        """
        RECORDS as (key, value) texts, values also as bytes; a value of None is a tombstone. TIMESTAMP_MS is Kafka's, 0: now.
        HEADERS is for each of them.
        Returns when all are acknowledged.
        """
        for key, value in records:
            value = value.encode() if isinstance(value, str) else value
            while True:
                try:
                    self.producer.produce(topic, value, key.encode(), partition, on_delivery=self.delivered, timestamp=timestamp_ms, headers=headers)
                    break
                except BufferError:
                    self.producer.poll(0.1)
            self.producer.poll(0)
        left = self.producer.flush(TIMEOUT_S)
        if left or self.failed:
            raise AssertionError(f"{left} records not acknowledged; {self.failed[:3]}")

    def begin(self):
        self.producer.begin_transaction()

    def end(self, commit):
        if commit:
            self.producer.commit_transaction(TIMEOUT_S)
        else:
            self.producer.abort_transaction(TIMEOUT_S)


def readable_records(address, topic, partitions):
    """How many records a reader of committed transactions gets from the whole topic."""
    count, open_partitions = 0, set(range(partitions))
    reader = Consumer({"bootstrap.servers": address, "group.id": "reader", "enable.partition.eof": True, "enable.auto.commit": False})
    try:
        reader.assign([TopicPartition(topic, number, 0) for number in range(partitions)])
        while open_partitions:
            message = reader.poll(TIMEOUT_S)
            if message is None:
                raise AssertionError(f"no end of {topic} {open_partitions} within {TIMEOUT_S} s")
            if message.error():
                open_partitions.discard(message.partition())
            else:
                count += 1
    finally:
        reader.close()
    return count


def next_message(consumer):
    """The next message. Kafka tells of a topic that is not there yet, too; then it is asked again."""
    deadline = time.monotonic() + TIMEOUT_S
    while time.monotonic() < deadline:
        message = consumer.poll(1)
        if message is not None and not message.error():
            return message
    raise AssertionError(f"no message within {TIMEOUT_S} s")


class Operator:
    def __init__(self, address):
        self.admin = AdminClient({"bootstrap.servers": address})

    def configure_topic(self, topic, **settings):
        """Names with underscores for dots."""
        entries = [
            ConfigEntry(name.replace("_", "."), str(value), incremental_operation=AlterConfigOpType.SET)
            for name, value in settings.items()
        ]
        resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=entries)
        self.admin.incremental_alter_configs([resource])[resource].result(TIMEOUT_S)

    def add_partitions(self, topic, count):
        """COUNT is how many there are then."""
        self.admin.create_partitions([NewPartitions(topic, count)])[topic].result(TIMEOUT_S)

    def partition_count(self, topic):
        """0: there is no such topic."""
        found = self.admin.list_topics(timeout=10).topics.get(topic)
        return len(found.partitions) if found else 0

    def delete_topic(self, topic):
        self.admin.delete_topics([topic])[topic].result(TIMEOUT_S)

    def delete_records(self, topic, partition, before_offset):
        place = TopicPartition(topic, partition, before_offset)
        self.admin.delete_records([place])[place].result(TIMEOUT_S)

    def list_offset(self, topic, partition, which):
        """Asked again while the partition is between two leaders."""
        place = TopicPartition(topic, partition)

        def answer():
            try:
                return [self.admin.list_offsets({place: which})[place].result(TIMEOUT_S).offset]
            except KafkaException as error:
                raise ValueError(error) from error

        return harness.wait_for(answer, f"Kafka tells an offset of {topic} [{partition}]")[0]

    def begin_offset(self, topic, partition):
        return self.list_offset(topic, partition, OffsetSpec.earliest())

    def end_offset(self, topic, partition):
        return self.list_offset(topic, partition, OffsetSpec.latest())

    def committed_offset(self, group, topic, partition):
        request = ConsumerGroupTopicPartitions(group, [TopicPartition(topic, partition)])
        found = self.admin.list_consumer_group_offsets([request])[group].result(TIMEOUT_S)
        return found.topic_partitions[0].offset
