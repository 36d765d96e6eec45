"""The figures that promises rest on, held against each other: sizes, times and terms of architecture 3.1 and 3.2."""

from datetime import timedelta

import pytest
from pymongo import IndexModel

from services.intake.usecases.erasing import ROLL_EVERY, ROLLS
from shared.messaging import kafka
from shared.messaging.consumer import REVOKE_SECONDS
from shared.messaging.kafka import REBALANCE_MS, KafkaAddress, new_consumer, new_producer
from shared.messaging.relay import LEASE_SECONDS, SWEEP_SECONDS
from shared.messaging.topics import CONTACTS, MAX_BATCH_BYTES, MAX_REQUEST_BYTES, TOPICS, Topic
from shared.persistence.indexes import INSERT_ONLY, PLUMBING_INDEXES


def kept(collection: str, name: str) -> timedelta:
    """How long rows stay, by the index of this name."""
    documents = [index.document for index in PLUMBING_INDEXES[collection] if isinstance(index, IndexModel)]
    (found,) = [row for row in documents if row["name"] == name]
    return timedelta(seconds=found["expireAfterSeconds"])


def rolled_and_cleaned() -> tuple[timedelta, timedelta]:
    """After how long a record of the restricted topic lies in a closed segment, and that one is compacted."""
    config = CONTACTS.config(1)
    return (
        timedelta(milliseconds=int(config["segment.ms"])),
        timedelta(milliseconds=int(config["max.compaction.lag.ms"])),
    )


@pytest.mark.parametrize("topic", TOPICS, ids=lambda topic: topic.name)
def test_whatever_a_producer_may_send_every_topic_takes(topic: Topic) -> None:
    taken = int(topic.config(1)["max.message.bytes"])
    assert taken > MAX_REQUEST_BYTES
    assert taken >= 4 * MAX_BATCH_BYTES


@pytest.mark.parametrize("topic", [topic for topic in TOPICS if not topic.compacted], ids=lambda topic: topic.name)
def test_an_inbox_mark_outlives_the_record(topic: Topic) -> None:
    assert kept("inbox", "ttl") == timedelta(days=45) > timedelta(milliseconds=topic.retention_ms)


def test_what_was_closed_stays_as_long_as_inbox_marks() -> None:
    assert kept("dead_letters", "closed_ttl") == kept("outbox", "dropped_ttl") == kept("inbox", "ttl")


def test_an_answer_is_repeated_for_a_day() -> None:
    assert kept("idempotency", "ttl") == timedelta(hours=24)


def test_what_an_erased_person_left_on_a_restricted_topic_is_cleaned_within_a_day() -> None:
    rolled, cleaned = rolled_and_cleaned()
    assert CONTACTS.config(1)["cleanup.policy"] == "compact"
    assert rolled + ROLL_EVERY + cleaned < timedelta(hours=24)


def test_a_tombstone_is_said_again_until_its_partition_is_rolled_and_cleaned() -> None:
    rolled, cleaned = rolled_and_cleaned()
    assert rolled + ROLL_EVERY + cleaned <= ROLLS * ROLL_EVERY <= timedelta(hours=24)


def test_an_old_transport_key_is_needed_for_six_hours_more() -> None:
    """What `rotate-keys` and ADR 5 tell the operator."""
    rolled, cleaned = rolled_and_cleaned()
    assert rolled < cleaned == timedelta(hours=6)


@pytest.mark.parametrize("collection", sorted(INSERT_ONLY))
def test_nothing_ends_the_audit_by_its_age(collection: str) -> None:
    """It is kept for six years, and by whoever may delete it then."""
    assert [index for index in PLUMBING_INDEXES[collection] if "expireAfterSeconds" in index.document] == []


def test_a_member_that_gives_a_partition_away_finishes_and_commits_before_the_group_goes_on() -> None:
    assert 2 * REVOKE_SECONDS * 1000 < REBALANCE_MS


def test_what_the_broker_acknowledges_is_with_all_in_sync_and_there_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """With one broker, as in the tests, nothing else would show that only the leader has it."""
    monkeypatch.setattr(kafka, "AIOKafkaProducer", dict)
    made = new_producer(KafkaAddress("broker:9092"), "test")
    assert (made["acks"], made["enable_idempotence"]) == ("all", True)


def test_a_consumer_commits_by_hand_and_begins_with_the_earliest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kafka, "AIOKafkaConsumer", dict)
    made = new_consumer(KafkaAddress("broker:9092"), "group", "test", session_timeout_ms=15_000)
    assert (made["enable_auto_commit"], made["auto_offset_reset"]) == (False, "earliest")


def test_a_member_that_starts_anew_is_a_new_member(monkeypatch: pytest.MonkeyPatch) -> None:
    """With an id of its own (static membership) its partitions would wait for it until its session is over."""
    monkeypatch.setattr(kafka, "AIOKafkaConsumer", dict)
    made = new_consumer(KafkaAddress("broker:9092"), "group", "test", session_timeout_ms=6_000)
    assert made.get("group_instance_id") is None


def test_the_rows_of_a_killed_relay_move_again_within_three_seconds() -> None:
    assert LEASE_SECONDS + max(SWEEP_SECONDS.values()) < 3
