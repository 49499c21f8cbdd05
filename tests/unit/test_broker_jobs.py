"""Jobs of administrators: who hears of their end, and which end with their asker."""

from __future__ import annotations

import pytest
from kernel_world import World

from kernel.actions import CancelJob, RunJob, ScanCatalog
from kernel.events import JobEnded
from transports.reports import ModelsReply

M = "echo/m"


def job_of(world: World) -> RunJob:
    return next(action for action in reversed(world.actions) if isinstance(action, RunJob))


@pytest.mark.parametrize(
    ("operation", "ends"),
    [("models.pull", True), ("models.import", True), ("envs.sync", False), ("envs.rm", False)],
)
def test_what_only_its_asker_wants_ends_with_it(operation: str, ends: bool) -> None:
    world = World(M)
    peer = world.frontend()
    world.admin(peer, operation, model="a/b")

    world.bye(peer)

    cancelled = [action for action in world.actions if isinstance(action, CancelJob)]
    assert cancelled == ([CancelJob(job_of(world).job)] if ends else [])


def test_the_end_of_a_pull_is_told_and_the_disk_looked_at() -> None:
    world = World(M)
    peer = world.frontend()
    question = world.admin(peer, "models.pull", model="a/b", name="v2")
    num_scans = sum(isinstance(action, ScanCatalog) for action in world.actions)
    job = job_of(world)
    assert (job.model, job.name) == ("a/b", "v2")

    world.feed(JobEnded(job.job, ModelsReply(models=())))

    assert world.reply(peer, question, ModelsReply) == ModelsReply(models=())
    assert sum(isinstance(action, ScanCatalog) for action in world.actions) == num_scans + 1


def test_a_model_in_memory_is_not_removed_unless_forced() -> None:
    world = World(M, preload=(M,))
    peer = world.frontend()

    refused = world.admin(peer, "models.rm", model=M)

    assert "in memory" in world.failure(peer, refused).message
    assert not [action for action in world.actions if isinstance(action, RunJob)]


def test_a_forced_removal_begins_when_the_model_is_unloaded() -> None:
    world = World(M, preload=(M,))
    peer = world.frontend()
    world.is_automatic = False

    question = world.admin(peer, "models.rm", model=M, force=True)
    assert not [action for action in world.actions if isinstance(action, RunJob)]
    world.die(f"echo:{M}", 0)

    assert job_of(world) == RunJob(question, "models.rm", M, "")


def test_what_is_not_there_is_not_removed() -> None:
    world = World(M)
    peer = world.frontend()

    question = world.admin(peer, "models.rm", model="../../etc")

    assert world.failure(peer, question).code == "model_not_found"
