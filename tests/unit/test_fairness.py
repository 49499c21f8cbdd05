"""Fair turns among clients: service is shared by the time in slots, not by the number of requests."""

from __future__ import annotations

from collections import defaultdict
from random import Random

from waiting import clients, waiting

from kernel import fairness
from kernel.fairness import FairQueue
from kernel.request import Request


def start(queue: FairQueue, expected_s: float = 1.0) -> tuple[Request, float]:
    """The next request leaves for a slot."""
    request = queue.next()
    assert request is not None
    return request, queue.start(request, expected_s)


def serve(queue: FairQueue, service_s: dict[str, float]) -> Request:
    """One request runs from its start to its end in the only slot."""
    request, charged_s = start(queue)
    queue.end(request.client, charged_s, service_s.get(request.message.envelope.client, 1.0))
    return request


def test_one_client_is_served_in_order_of_arrival() -> None:
    queue = FairQueue()
    requests = [waiting("a") for _ in range(4)]
    for request in requests:
        queue.add(request)

    assert [serve(queue, {}) for _ in range(4)] == requests
    assert queue.next() is None


def test_a_newcomer_does_not_wait_for_the_whole_queue_of_another() -> None:
    queue = FairQueue()
    for client in "aaaaaab":
        queue.add(waiting(client))

    assert clients([serve(queue, {}) for _ in range(7)]) == "abaaaaa"


def test_clients_take_turns() -> None:
    queue = FairQueue()
    for client in "aaabbbccc":
        queue.add(waiting(client))

    assert clients([serve(queue, {}) for _ in range(9)]) == "abcabcabc"


def test_one_long_request_counts_like_many_short_ones() -> None:
    queue = FairQueue()
    for client in "ab" * 20:
        queue.add(waiting(client))

    served = clients([serve(queue, {"a": 9.0, "b": 1.0}) for _ in range(11)])

    assert served.count("b") >= 9 * served.count("a") - 9


def test_who_was_away_does_not_save_up_turns() -> None:
    queue = FairQueue()
    queue.add(waiting("b"))
    for _ in range(20):
        queue.add(waiting("a"))
    for _ in range(11):
        serve(queue, {})
    for _ in range(5):
        queue.add(waiting("b"))

    assert clients([serve(queue, {}) for _ in range(6)]) in ("bababa", "ababab")


def test_who_left_while_ahead_comes_back_where_it_was() -> None:
    """Or a client would be always new by waiting for each answer before it asks again."""
    queue = FairQueue()
    for _ in range(10):
        queue.add(waiting("a"))
    queue.add(waiting("b"))
    assert clients([serve(queue, {"b": 5.0}) for _ in range(2)]) == "ab"
    queue.add(waiting("b"))

    assert clients([serve(queue, {}) for _ in range(6)]) == "aaaaab"


def test_a_running_request_counts_before_its_end_is_known() -> None:
    queue = FairQueue()
    for client in "aabb":
        queue.add(waiting(client))

    assert clients([start(queue)[0] for _ in range(4)]) == "abab"


def test_requests_that_leave_the_queue_cost_nothing() -> None:
    queue = FairQueue()
    left, kept = [waiting("a") for _ in range(3)], [waiting("b"), waiting("b")]
    for request in (*left, *kept):
        queue.add(request)
    for request in left:
        queue.remove(request)

    assert len(queue) == 2
    assert list(queue) == kept
    assert [serve(queue, {}) for _ in range(2)] == kept
    queue.add(waiting("a"))
    assert queue.next() is not None


def test_the_order_that_is_told_is_the_order_in_which_they_go() -> None:
    random = Random(7)
    queue = FairQueue()
    for _ in range(60):
        queue.add(waiting(random.choice("abcd")))
    for _ in range(10):
        serve(queue, {})

    told = list(queue.order(1.0))

    assert told == [start(queue, 1.0)[0] for _ in range(50)]


def test_everybody_gets_an_equal_part_of_the_time_whatever_the_requests_take() -> None:
    """Jain's index of slot-seconds over random schedules of clients that always have something to ask."""
    for seed in range(20):
        random = Random(seed)
        queue, used_s = FairQueue(), defaultdict[str, float](float)
        for client in "abcde":
            for _ in range(random.choice((2, 50))):
                queue.add(waiting(client))
        running: list[tuple[float, Request, float, float]] = []
        now = 0.0
        while now < 2000:
            while len(running) < 3 and queue.next():
                request, charged_s = start(queue, random.choice((0.5, 1.0, 2.0)))
                scale = {"a": 0.1, "b": 1.0, "c": 5.0}.get(request.message.envelope.client, 2.0)
                service_s = random.uniform(0.5, 1.5) * scale
                running.append((now + service_s, request, charged_s, service_s))
            running.sort(key=lambda one: one[0])
            now, request, charged_s, service_s = running.pop(0)
            client = request.message.envelope.client
            used_s[client] += service_s
            queue.add(waiting(client))
            queue.end(request.client, charged_s, service_s)

        total, squares = sum(used_s.values()), sum(value**2 for value in used_s.values())
        assert total**2 / (len(used_s) * squares) > 0.98, f"seed {seed}: {dict(used_s)}"


def test_a_storm_of_clients_that_come_and_go_leaves_nothing_behind() -> None:
    queue = FairQueue()
    for _ in range(3):
        queue.add(waiting("busy"))
    running = start(queue)
    for number in range(5000):
        request = waiting(f"client {number}")
        queue.add(request)
        if number % 2:
            queue.remove(request)
        else:
            request, charged_s = start(queue, 5.0)
            queue.end(request.client, charged_s, 5.0)
    assert len(queue._remembered) <= fairness.MAX_REMEMBERED
    assert len(queue._turns) <= 2 * len(queue._clients) + fairness.MAX_STALE

    queue.end(running[0].client, running[1], 1.0)
    while queue.next():
        serve(queue, {})
    assert (queue._clients, dict(queue._remembered), queue._turns) == ({}, {}, [])
