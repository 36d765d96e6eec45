"""Our producers put a key where every Kafka client puts it."""

from aiokafka.partitioner import DefaultPartitioner
from hypothesis import given
from hypothesis import strategies as st

from shared.messaging.kafka import _partition


@given(st.binary(max_size=80), st.integers(min_value=1, max_value=24))
def test_a_key_lies_in_the_partition_of_the_default_partitioner(key: bytes, count: int) -> None:
    partitions = list(range(count))
    expected = DefaultPartitioner()(key, partitions, partitions)
    assert [_partition(key, partitions, partitions) for _ in range(2)] == [expected, expected]


def test_a_record_without_a_key_lies_where_there_is_a_leader() -> None:
    assert {_partition(None, [0, 1, 2], [1]) for _ in range(20)} == {1}
