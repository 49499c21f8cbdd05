"""Other names for models: one model, whatever it is called."""

from __future__ import annotations

from kernel_world import World

from kernel.actions import Log
from transports.reports import DoneReply, ModelReport, ModelsReply
from transports.settings import ModelOptions

M = "echo/m"
W = f"echo:{M}"
ALIASES = {"gpt-4o-mini": M, "lost": "echo/gone"}


def listed(world: World) -> dict[str, tuple[str, str]]:
    peer = world.frontend()
    reply = world.reply(peer, world.admin(peer, "models.list"), ModelsReply)
    assert isinstance(reply, ModelsReply)
    return {model.name: (model.alias_of, model.state) for model in reply.models}


def test_a_request_by_an_alias_goes_to_the_model() -> None:
    world = World(M, aliases=ALIASES)
    peer = world.frontend()

    request = world.submit(peer, "gpt-4o-mini")
    other = world.submit(peer, M)

    assert list(world.running[W]) == [request, other]
    assert list(world.workers) == [W]


def test_aliases_are_listed_beside_models_with_their_state() -> None:
    world = World(M, aliases=ALIASES, preload=("gpt-4o-mini",))

    assert listed(world) == {M: ("", "ready"), "gpt-4o-mini": (M, "ready")}


def test_an_alias_of_nothing_is_not_found_with_both_names() -> None:
    world = World(M, aliases=ALIASES)
    peer = world.frontend()

    failure = world.failure(peer, world.submit(peer, "lost"))

    assert failure.code == "model_not_found"
    assert failure.message == (
        "model: 'lost' stands for 'echo/gone', which is not here; known: echo/m, gpt-4o-mini"
    )


def test_an_alias_goes_before_a_model_of_that_name() -> None:
    world = World(M, "echo/other", aliases={"echo/other": M})
    peer = world.frontend()

    request = world.submit(peer, "echo/other")

    assert list(world.running[W]) == [request]
    assert listed(world) == {M: ("", "ready"), "echo/other": (M, "ready")}


def test_administrators_may_use_aliases_too() -> None:
    world = World(M, aliases=ALIASES)
    peer = world.frontend()

    for operation in ("load", "pin", "unpin"):
        assert world.reply(peer, world.admin(peer, operation, model="gpt-4o-mini"), DoneReply)
    shown = world.reply(peer, world.admin(peer, "models.show", model="gpt-4o-mini"), ModelReport)
    assert isinstance(shown, ModelReport)
    assert (shown.model.name, shown.model.state) == (M, "ready")
    assert world.reply(peer, world.admin(peer, "unload", model="gpt-4o-mini"), DoneReply)
    assert W not in world.workers


def test_an_alias_cannot_be_removed_from_the_disk() -> None:
    world = World(M, aliases=ALIASES)
    peer = world.frontend()

    failure = world.failure(peer, world.admin(peer, "models.rm", model="gpt-4o-mini"))

    assert failure.message == "gpt-4o-mini: an alias in the settings; the model is echo/m"


def test_an_alias_of_nothing_is_told_once() -> None:
    world = World(M, aliases=ALIASES)
    world.scan()

    warned = [action for action in world.actions if isinstance(action, Log) and action.level == "warning"]
    assert warned == [Log("warning", "alias_unmatched", {"alias": "lost", "model": "echo/gone"})]


def test_options_of_a_model_that_is_not_here_are_warned_of() -> None:
    """A slip in the name of a model would else be silence."""
    world = World("echo/a", options={"echo/a": ModelOptions(), "echo/b": ModelOptions(pinned=True)})

    world.scan("echo/a")

    warned = [action for action in world.actions if isinstance(action, Log) and action.level == "warning"]
    assert warned == [Log("warning", "options_unmatched", {"model": "echo/b"})]
