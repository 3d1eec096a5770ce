"""The queue, bounded in bytes."""

import threading
import time

from hypothesis import given
from hypothesis import strategies as st

from natlens.delivery.queue import Encoded, Queue
from natlens.health import Health
from tests.delivery.account import account, balanced

STEP = st.one_of(
    st.tuples(st.just("put"), st.integers(1, 120), st.integers(1, 9)),
    st.tuples(st.just("send"), st.integers(0, 9), st.just(0)),
)


@given(st.lists(STEP))
def test_any_use_stays_within_the_bound_and_balances(steps: list[tuple[str, int, int]]) -> None:
    health = Health()
    queue = Queue(100, health)
    sizes: list[int] = []
    for number, (what, amount, count) in enumerate(steps):
        if what == "put":
            queue.put(Encoded(number.to_bytes(2, "big") + bytes(max(amount - 2, 0)), count))
        elif queue.pending:
            taken = queue.take()
            assert taken is not None
            sizes.append(int.from_bytes(taken.payload[:2], "big"))
            rejected = min(amount, taken.records)
            queue.settle(exported=taken.records - rejected, rejected=rejected, code="x")
        assert balanced(health)
    assert sizes == sorted(sizes)
    queue.close()
    assert "records_pending" not in account(health)


def test_what_never_fits_drops_nothing_else() -> None:
    health = Health()
    queue = Queue(100, health)
    queue.put(Encoded(bytes(60), 6))
    queue.put(Encoded(bytes(101), 9))
    assert account(health) == {
        "records_captured": 15,
        "records_dropped{reason=queue_full}": 9,
        "records_pending": 6,
    }


def test_what_is_being_sent_stays_and_counts() -> None:
    health = Health()
    queue = Queue(100, health)
    queue.put(Encoded(bytes(60), 6))
    assert queue.take() == Encoded(bytes(60), 6)
    queue.put(Encoded(bytes(50), 5))
    queue.put(Encoded(bytes(40), 4))
    assert queue.pending == 10
    queue.settle(exported=6)
    assert account(health) == {
        "records_captured": 15,
        "records_exported": 6,
        "records_dropped{reason=queue_full}": 5,
        "records_pending": 4,
    }


def test_a_waiting_taker_is_released_by_close() -> None:
    queue = Queue(100, Health())
    taken: list[Encoded | None] = []
    taker = threading.Thread(target=lambda: taken.append(queue.take()))
    taker.start()
    queue.close()
    taker.join(5)
    assert taken == [None]


def test_waiting_for_an_empty_queue_ends_at_the_deadline() -> None:
    queue = Queue(100, Health())
    assert queue.wait_empty(time.monotonic())
    queue.put(Encoded(bytes(1), 1))
    started = time.monotonic()
    assert not queue.wait_empty(started + 0.2)
    assert time.monotonic() - started >= 0.2
