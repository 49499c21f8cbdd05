"""The queue of one model: priorities without starvation, and who gives way when it is full."""

from __future__ import annotations

from random import Random

import pytest
from waiting import clients, waiting

from kernel.model_queue import MAX_PASSED, ModelQueue
from kernel.request import Request
from transports.settings import KernelSettings


def full_queue(*requests: Request, **settings: int) -> ModelQueue:
    queue = ModelQueue(KernelSettings(**settings))  # type: ignore[arg-type]
    for request in requests:
        assert queue.has_room(request)
        queue.add(request)
    return queue


def serve(queue: ModelQueue) -> Request:
    request = queue.next()
    assert request is not None
    queue.end(request.client, request.priority, queue.start(request, 0.0), 1.0)
    return request


def test_higher_priorities_go_first() -> None:
    queue = full_queue(*[waiting(priority=priority) for priority in (-1, 0, 1, 0)])

    assert [serve(queue).priority for _ in range(4)] == [1, 0, 0, -1]


def test_low_goes_after_so_many_of_higher_priority() -> None:
    queue = ModelQueue(KernelSettings())
    queue.add(waiting("low", priority=-1))
    served = []
    for _ in range(MAX_PASSED + 1):
        queue.add(waiting("high", priority=1))
        served.append(serve(queue).priority)

    assert served == [1] * MAX_PASSED + [-1]


@pytest.mark.parametrize("seed", range(20))
def test_nobody_waits_for_ever_whatever_comes(seed: int) -> None:
    """Each request goes after a bounded number of others, by priority, its client's own, and clients."""
    random = Random(seed)
    queue = ModelQueue(KernelSettings(max_queued=1000))
    born: dict[str, int] = {}
    longest = 0
    for turn in range(3000):
        while len(queue) < 30:
            priority = random.choices((1, 0, -1), (90, 9, 1))[0]
            request = waiting(random.choice("abc"), priority=priority)
            born[request.id] = turn
            queue.add(request)
        longest = max(longest, turn - born.pop(serve(queue).id))

    # Of the 30 that wait, all could be of one priority that goes every tenth time.
    assert longest <= 30 * (MAX_PASSED + 2), f"seed {seed}: {longest}"
    assert all(3000 - turn <= 30 * (MAX_PASSED + 2) for turn in born.values()), f"seed {seed}"


def test_the_order_that_is_told_is_the_order_in_which_they_go() -> None:
    random = Random(3)
    queue = ModelQueue(KernelSettings(max_queued=100))
    for _ in range(80):
        queue.add(waiting(random.choice("abc"), priority=random.choice((1, 0, -1))))
    for _ in range(15):
        serve(queue)

    told = list(queue.order())

    assert told == [serve(queue) for _ in range(65)]


def test_a_full_queue_of_one_client_makes_room_for_another() -> None:
    mine = [waiting("a") for _ in range(4)]
    queue = full_queue(*mine, max_queued=4)
    request = waiting("b")

    assert not queue.has_room(request)
    assert queue.giving_way(request) == (mine[-1],)


def test_the_lowest_priority_gives_way_first() -> None:
    mine = [waiting("a", priority=priority) for priority in (-1, 1, 0, 0)]

    assert full_queue(*mine, max_queued=4).giving_way(waiting("b")) == (mine[0],)


def test_nobody_gives_way_to_one_who_has_as_much() -> None:
    queue = full_queue(*[waiting(client) for client in "aabb"], max_queued=4)

    assert queue.giving_way(waiting("a")) == ()
    assert queue.giving_way(waiting("b")) == ()
    assert len(queue.giving_way(waiting("c"))) == 1


def test_a_client_that_has_one_less_would_only_swap_places() -> None:
    queue = full_queue(*[waiting(client) for client in "aab"], max_queued=3)

    assert queue.giving_way(waiting("b")) == ()


def test_bytes_are_shared_like_places() -> None:
    mine = [waiting("a", num_bytes=40) for _ in range(2)]
    queue = full_queue(*mine, max_queued_bytes=100)

    assert queue.giving_way(waiting("b", num_bytes=30)) == (mine[1],)
    assert queue.giving_way(waiting("b", num_bytes=90)) == ()
    assert queue.giving_way(waiting("a", num_bytes=30)) == ()


def test_what_leaves_is_not_counted_any_more() -> None:
    queue = full_queue(*[waiting("a", num_bytes=10) for _ in range(3)])
    serve(queue)
    queue.remove(next(iter(queue)))

    assert (len(queue), queue.num_bytes) == (1, 10)
    assert clients([serve(queue)]) == "a"
    assert (len(queue), queue.num_bytes) == (0, 0)
