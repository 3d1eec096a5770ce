"""The queue, bounded in bytes."""

import threading
import time

from hypothesis import given
from hypothesis import strategies as st

from natlens.delivery.account import Account
from natlens.delivery.queue import Item, Queue
from natlens.health import Health
from natlens.otlp.request import UNITS, Signal
from tests.delivery.account import account, balanced

STEP = st.one_of(
    st.tuples(st.just("put"), st.integers(1, 120), st.integers(1, 9)),
    st.tuples(st.sampled_from(["take", "give_back", "divide", "settle", "drop"]), st.integers(0, 9), st.just(0)),
)


def put(queue: Queue, size: int, records: int) -> None:
    queue.put(bytes(size), 10 * size, records)


def step(queue: Queue, taken: list[Item], what: str, amount: int, records: int) -> None:
    """Do one thing to the queue and to what is taken from it."""
    if what == "put":
        put(queue, amount, records)
    elif what == "take":
        taken += [item] if (item := queue.take()) else []
    elif taken:
        item = taken.pop(amount % len(taken))
        match what:
            case "give_back":
                queue.give_back(item)
            case "divide":
                first = item.records // 2
                halves = [(item.payload[:9], 90, first), (item.payload[9:], 90, item.records - first)]
                queue.divide(item, halves)
            case "settle":
                rejected = min(amount, item.records)
                queue.settle(item, exported=item.records - rejected, rejected=rejected, code="x")
            case "drop":
                queue.settle(item, dropped="too_large")


@given(st.lists(STEP, max_size=60))
def test_any_use_stays_within_the_bound_in_order_and_balances(steps: list[tuple[str, int, int]]) -> None:
    health = Health()
    queue, taken = Queue(100, Account(health)), list[Item]()
    for one in steps:
        step(queue, taken, *one)
        assert balanced(health)
        waiting = [item.place for item in queue._waiting]
        assert waiting == sorted(waiting)
        assert sum(len(item.payload) for item in [*queue._waiting, *taken]) <= 100
        assert queue.pending == sum(item.records for item in [*queue._waiting, *taken])
    queue.close()
    assert "records_pending" not in account(health)
    for item in taken:  # answers that come after all has been accounted for
        queue.settle(item, exported=item.records)
        queue.give_back(item)
        queue.divide(item, [(item.payload, 90, item.records)])
    assert queue.take() is None
    assert "records_pending" not in account(health)


def test_the_oldest_is_taken_first_also_among_those_given_back() -> None:
    queue = Queue(100, Account(Health()))
    for size in range(1, 5):
        put(queue, size, 1)
    first, second, third = queue.take(), queue.take(), queue.take()
    assert first
    assert second
    assert third
    queue.give_back(third)
    queue.give_back(first)
    queue.divide(second, [(bytes(6), 6, 1), (bytes(7), 7, 1)])
    order = [item.payload for item in iter(queue.take, None)]
    assert [len(payload) for payload in order] == [1, 6, 7, 3, 4]


def test_what_never_fits_drops_nothing_else() -> None:
    health = Health()
    queue = Queue(100, Account(health))
    put(queue, 60, 6)
    put(queue, 101, 9)
    assert account(health) == {
        "records_captured": 15,
        "records_dropped{reason=queue_full}": 9,
        "records_pending": 6,
    }


def test_what_is_being_sent_stays_and_counts() -> None:
    health = Health()
    queue = Queue(100, Account(health))
    put(queue, 60, 6)
    taken = queue.take()
    assert taken == Item((0,), bytes(60), 600, 6)
    put(queue, 50, 5)
    put(queue, 40, 4)
    assert queue.pending == 10
    queue.settle(taken, exported=6)
    assert account(health) == {
        "records_captured": 15,
        "records_exported": 6,
        "records_dropped{reason=queue_full}": 5,
        "records_pending": 4,
    }


def test_the_account_has_the_signals_own_names_and_the_bytes_that_are_held(signal: Signal) -> None:
    health = Health()
    queue = Queue(100, Account(health, signal))
    for size, records in ((60, 6), (30, 3), (20, 2)):
        put(queue, size, records)
    item = queue.take()
    assert item
    queue.settle(item, exported=1, rejected=2, code="x")
    unit = UNITS[signal]
    assert health.snapshot() == {
        f"{unit}_captured": 11,
        f"{unit}_dropped{{reason=queue_full}}": 6,
        f"{unit}_exported": 1,
        f"{unit}_rejected{{code=x}}": 2,
        f"{unit}_pending": 2,
        f"queue_bytes{{signal={signal}}}": 20,
        f"queue_capacity_bytes{{signal={signal}}}": 100,
    }


def test_a_full_queue_drops_the_oldest_that_waits() -> None:
    health = Health()
    queue = Queue(100, Account(health))
    for records in (1, 2, 4, 8):
        put(queue, 30, records)
    assert account(health)["records_dropped{reason=queue_full}"] == 1
    assert [item.records for item in iter(queue.take, None)] == [2, 4, 8]


def test_closing_drops_what_waits_and_what_is_being_sent() -> None:
    health = Health()
    queue = Queue(100, Account(health))
    put(queue, 10, 1)
    put(queue, 10, 2)
    queue.take()
    queue.close()
    put(queue, 10, 4)
    assert account(health) == {"records_captured": 7, "records_dropped{reason=shutdown}": 7}


def test_waiting_for_an_empty_queue_ends_at_the_deadline() -> None:
    queue = Queue(100, Account(Health()))
    assert queue.wait_empty(time.monotonic())
    put(queue, 1, 1)
    started = time.monotonic()
    assert not queue.wait_empty(started + 0.2)
    assert time.monotonic() - started >= 0.2


def test_waiting_for_an_empty_queue_ends_when_the_last_is_settled() -> None:
    queue = Queue(100, Account(Health()))
    put(queue, 1, 1)
    item = queue.take()
    assert item
    emptied: list[bool] = []
    waiting = threading.Thread(target=lambda: emptied.append(queue.wait_empty(time.monotonic() + 10)))
    waiting.start()
    queue.settle(item, exported=1)
    waiting.join(5)
    assert emptied == [True]
