"""API keys over HTTP: every route is closed without one, and each key may what it may and no more."""

from __future__ import annotations

import socket
import time
from pathlib import Path

import pytest
from http_harness import MODEL, Door, chat_body, fail, lower, open_door

from plugins.http import keyring
from plugins.http.frontend import HttpFrontend
from plugins.http.gate import Gate
from plugins.http.headers import ALWAYS
from plugins.http.metrics import Metrics
from plugins.http.route import Route
from plugins.http.routes import routes
from plugins.keys import Key, change_keys, digest_of
from transports.errors import (
    ConfigError,
    InsufficientMemory,
    MlxdError,
    ModelNotFound,
    ModelUnavailable,
    PluginError,
)
from transports.settings import HttpSettings

TABLE = routes(HttpSettings(), Metrics())
ROUTES = [(route.method, route.path.replace("*", MODEL)) for route in TABLE]
CLOSED = [(method, url) for method, url in ROUTES if url != "/health"]
ALIASES = ["/nope", "/", "//v1/models", "/v1/../health", "/v1/%2e%2e/health", "/health/", "/health/.", "/v1"]
SECRET = "mlxd-secret"
BEARER = {"Authorization": f"Bearer {SECRET}"}


def write(path: Path, *keys: Key) -> None:
    change_keys(path, lambda _: keys)


def key(secret: str = SECRET, name: str = "ann", **fields: object) -> Key:
    return Key(name=name, digest=digest_of(secret), created=1, **fields)  # type: ignore[arg-type]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "keys.json"
    write(path, key())
    return path


async def ask(door: Door, method: str, url: str, **headers: str) -> int:
    body = chat_body() if method == "POST" else b""
    return (await door.request(method, url, body, **headers)).status


async def test_every_route_but_health_wants_a_key(path: Path) -> None:
    async with open_door(keys_path=path) as door:
        statuses = {
            (method, url): await ask(door, method, url)
            for method, url in [*ROUTES, *(("GET", url) for url in ALIASES), ("OPTIONS", "/v1/models")]
        }
        reply = await door.request("GET", "/v1/models")

    assert statuses.pop(("GET", "/health")) == 200
    assert set(statuses.values()) == {401}
    assert (reply.error["code"], reply.error["type"]) == ("invalid_api_key", "invalid_request_error")
    assert reply.headers["www-authenticate"].startswith("Bearer")
    assert lower(ALWAYS).items() <= reply.headers.items()
    assert door.client.submitted == []


@pytest.mark.parametrize("host", ["evil.example", "evil/?", "localhost@evil", "127.0.0.1.nip.io"])
async def test_a_bad_host_opens_no_route(path: Path, host: str) -> None:
    """BadHost, CVE-2026-48710: whether a key is needed was decided by a path made of Host."""
    async with open_door(keys_path=path) as door:
        statuses = {await ask(door, method, url, Host=host) for method, url in ROUTES}

    assert statuses == {403}


async def test_no_host_makes_a_key_unnecessary(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The keys alone, without the gate before them."""
    monkeypatch.setattr(Gate, "check", lambda *_: None)
    hosts = ("evil.example", "evil/?", "localhost@evil", "a b", "localhost/health?")
    async with open_door(keys_path=path) as door:
        statuses = {await ask(door, method, url, Host=host) for host in hosts for method, url in CLOSED}

    assert statuses == {401}


async def test_a_key_is_taken_from_both_headers(path: Path) -> None:
    async with open_door(keys_path=path) as door:
        assert await ask(door, "GET", "/v1/models", **BEARER) == 200
        assert await ask(door, "GET", "/v1/models", X_Api_Key=SECRET) == 200
        assert await ask(door, "GET", "/nope", **BEARER) == 404


@pytest.mark.parametrize(
    "given",
    [
        "",
        "Bearer",
        "Bearer ",
        "Bearer mlxd-secreT",
        "Bearer mlxd-secret2",
        f"Basic {SECRET}",
        SECRET,
        f"Bearer {digest_of(SECRET)}",
        "Bearer \u00e9",
        f"Bearer {SECRET},x",
        f"Bearer {'a' * 7000}",
    ],
)
async def test_another_key_is_not(path: Path, given: str) -> None:
    async with open_door(keys_path=path) as door:
        assert await ask(door, "GET", "/v1/models", Authorization=given) == 401


async def test_without_a_key_file_this_machine_needs_none(tmp_path: Path) -> None:
    async with open_door(keys_path=tmp_path / "none") as door:
        assert await ask(door, "GET", "/v1/models", Authorization="Bearer any") == 200


async def test_a_change_of_the_file_counts_at_once(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert keyring.LOOK_S <= 0.1
    monkeypatch.setattr(keyring, "LOOK_S", 0.0)
    async with open_door(keys_path=path) as door:
        assert await ask(door, "GET", "/v1/models", **BEARER) == 200
        write(path, key("other", "bob"))
        assert await ask(door, "GET", "/v1/models", **BEARER) == 401
        assert await ask(door, "GET", "/v1/models", X_Api_Key="other") == 200
        write(path)
        assert await ask(door, "GET", "/v1/models", **BEARER) == 401
        path.unlink()
        assert await ask(door, "GET", "/v1/models") == 200
        write(path, key())
        assert await ask(door, "GET", "/v1/models") == 401


async def test_a_file_that_cannot_be_used_lets_nobody_in(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keyring, "LOOK_S", 0.0)
    async with open_door(keys_path=path) as door:
        path.chmod(0o644)
        assert await ask(door, "GET", "/v1/models", **BEARER) == 401
        path.write_bytes(b"x")
        assert await ask(door, "GET", "/v1/models", **BEARER) == 401
        assert await ask(door, "GET", "/v1/models") == 401
        path.unlink()
        write(path, key())
        assert await ask(door, "GET", "/v1/models", **BEARER) == 200


async def test_a_request_does_not_look_at_the_file_each_time(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[Path] = []
    monkeypatch.setattr(keyring, "stamp_of", looks.append)
    monkeypatch.setattr(keyring, "LOOK_S", 60.0)
    async with open_door(keys_path=path) as door:
        for _ in range(5):
            await ask(door, "GET", "/v1/models", **BEARER)

    assert len(looks) == 1


async def test_an_unusable_file_ends_the_start(path: Path) -> None:
    path.chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        await HttpFrontend({"port": 0}, keys_path=path).open()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", ""])
async def test_the_network_is_not_let_in_without_a_key(path: Path, host: str) -> None:
    write(path)
    for keys_path in (path, path.with_name("none")):
        with pytest.raises(PluginError, match="needs an API key: `mlxd keys new NAME`"):
            await HttpFrontend({"host": host, "port": 0}, keys_path=keys_path).open()


def names(monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> None:
    """Each time that a name is looked up it leads to the next of these addresses."""
    real, coming = socket.getaddrinfo, iter(answers)
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda *args, **kw: [real(one, *args[1:], **kw)[0] for one in next(coming)]
    )


async def test_a_name_that_also_leads_to_the_network_needs_a_key(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(path)
    names(monkeypatch, ["127.0.0.1", "192.0.2.1"])
    with pytest.raises(PluginError, match="needs an API key"):
        await HttpFrontend({"host": "mac.example", "port": 0}, keys_path=path).open()


async def test_what_is_bound_is_what_was_checked(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name may lead elsewhere the next time."""
    write(path)
    names(monkeypatch, ["127.0.0.1"], ["0.0.0.0"])
    frontend = HttpFrontend({"host": "mac.example", "port": 0}, keys_path=path)
    await frontend.open()
    bound = [listening.getsockname()[0] for listening in frontend._sockets]
    await frontend.close()

    assert bound == ["127.0.0.1"]


async def test_the_network_stays_out_when_the_file_goes(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keyring, "LOOK_S", 0.0)
    async with open_door(keys_path=path, host="0.0.0.0") as door:
        assert await ask(door, "GET", "/v1/models", **BEARER) == 200
        path.unlink()
        assert await ask(door, "GET", "/v1/models", **BEARER) == 401


async def test_a_wildcard_is_no_host_but_the_address_that_was_connected_to_is(path: Path) -> None:
    async with open_door(keys_path=path, host="0.0.0.0") as door:
        assert await ask(door, "GET", "/v1/models", Host=f"0.0.0.0:{door.port}", **BEARER) == 403
        assert await ask(door, "GET", "/v1/models", Host="192.0.2.7", **BEARER) == 403
        assert await ask(door, "GET", "/v1/models", Host=f"127.0.0.1:{door.port}", **BEARER) == 200


async def test_a_key_sees_and_asks_its_models_only(path: Path) -> None:
    write(path, key(models=("plain",)))
    async with open_door(keys_path=path) as door:
        listed = (await door.request("GET", "/v1/models", **BEARER)).json["data"]
        one = await door.request("GET", f"/v1/models/{MODEL}", **BEARER)
        chat = await door.post("/v1/chat/completions", chat_body(), **BEARER)
        completion = await door.post("/v1/completions", {"model": MODEL, "prompt": "x"}, **BEARER)
        picture = [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}]
        shown = chat_body(messages=[{"role": "user", "content": picture}])
        image = await door.post("/v1/chat/completions", {**shown, "model": "plain"}, **BEARER)
        good = await door.post("/v1/chat/completions", {**chat_body(), "model": "plain"}, **BEARER)

    assert [model["id"] for model in listed] == ["plain"]
    for reply in (one, chat, completion):
        assert (reply.status, reply.error["code"]) == (404, "model_not_found")
        assert reply.error["message"] == f"model: '{MODEL}' is not known; known: plain"
    assert image.status == 400
    assert MODEL not in image.body.decode()
    assert good.status == 200
    assert [kwargs["model"] for _, kwargs in door.client.submitted] == ["plain"]


@pytest.mark.parametrize("route", [route for route in TABLE if route.body], ids=lambda route: route.path)
async def test_no_route_asks_another_model(path: Path, route: Route) -> None:
    write(path, key(models=("plain",)))
    assert route.body
    body = {**route.body.example, "model": MODEL}
    async with open_door(keys_path=path) as door:
        refused = await door.post(route.path, body, **BEARER)

    assert (refused.status, "known: plain" in refused.body.decode()) == (404, True)
    assert door.client.submitted == []


@pytest.mark.parametrize(
    "error",
    [
        ModelNotFound(f"model: 'plain' is not here; known: an-alias, {MODEL}, plain", param="model"),
        InsufficientMemory(f"plain: needs 2 GB of memory; of which pinned ones hold 1 GB ({MODEL} 1 GB)"),
        ModelUnavailable(f"plain: kernel.max_models is 1, and as many are pinned: {MODEL}"),
    ],
)
async def test_no_error_names_a_model_that_a_key_may_not_use(path: Path, error: MlxdError) -> None:
    write(path, key(models=("plain",)), key("root", "root"))
    async with open_door(keys_path=path) as door:
        door.client.script = fail(error)
        for body in ({**chat_body(), "model": "plain"}, {**chat_body(stream=True), "model": "plain"}):
            reply = await door.post("/v1/chat/completions", body, **BEARER)
            assert (reply.status, reply.error["code"]) == (error.http_status, error.code)
            assert reply.error["message"].startswith("model: 'plain' cannot be had")
        whole = await door.post("/v1/chat/completions", body, X_Api_Key="root")
        door.client.script = fail(InsufficientMemory("plain: needs 2 GB"))
        own = await door.post("/v1/chat/completions", body, **BEARER)

    assert (whole.error["message"], own.error["message"]) == (error.message, "plain: needs 2 GB")


async def test_a_key_is_not_told_which_other_models_are_waited_for(path: Path) -> None:
    write(path, key(models=("plain",)), key("root", "root"))
    async with open_door(keys_path=path) as door:
        door.client.is_ready = False
        told = [
            (await door.request("GET", "/ready", X_Api_Key=secret)).json["waiting_for"]
            for secret in (SECRET, "root")
        ]

    assert told == [["another model"], [f"model {MODEL}: load 40%"]]


@pytest.mark.parametrize(
    ("most", "asked", "given"), [(1, "high", 1), (0, "high", 0), (-1, "", -1), (0, "low", -1)]
)
async def test_a_priority_is_never_higher_than_the_key_has(
    path: Path, most: int, asked: str, given: int
) -> None:
    write(path, key(max_priority=most))
    headers = {**BEARER, "X-Priority": asked} if asked else BEARER
    async with open_door(keys_path=path) as door:
        await door.post("/v1/chat/completions", chat_body(), **headers)

    assert door.client.submitted[0][1]["priority"] == given
    assert door.client.submitted[0][1]["client"] == "key ann"


async def test_more_than_its_rate_is_a_429_with_a_time(path: Path) -> None:
    write(path, key(max_requests_per_minute=2), key("other", "bob"))
    async with open_door(keys_path=path) as door:
        statuses = [await ask(door, "GET", "/v1/models", **BEARER) for _ in range(2)]
        refused = await door.request("GET", "/v1/models", **BEARER)
        other = await ask(door, "GET", "/v1/models", X_Api_Key="other")

    assert (statuses, refused.status, other) == ([200, 200], 429, 200)
    assert (refused.error["code"], refused.headers["retry-after"]) == ("rate_limited", "30")


async def test_each_prompt_of_a_list_counts(path: Path) -> None:
    write(path, key(max_requests_per_minute=3))
    async with open_door(keys_path=path) as door:
        body = {"model": MODEL, "prompt": ["a", "b", "c", "d"]}
        refused = await door.post("/v1/completions", body, **BEARER)

    assert refused.status == 429
    assert door.client.submitted == []


async def test_metrics_are_for_administrators(path: Path) -> None:
    write(path, key(), key("root", "root", scope="admin"))
    async with open_door(keys_path=path) as door:
        refused = await door.request("GET", "/metrics", **BEARER)
        assert await ask(door, "GET", "/metrics", X_Api_Key="root") == 200
        assert await ask(door, "GET", "/v1/models", X_Api_Key="root") == 200

    assert (refused.status, refused.error["code"]) == (403, "forbidden")


async def test_keys_share_no_prompt_cache(path: Path) -> None:
    write(path, key(), key("other", "bob"))
    async with open_door(keys_path=path) as door:
        for secret in (SECRET, "other", SECRET):
            await door.post("/v1/chat/completions", chat_body(), X_Api_Key=secret)
        salts = [kwargs["body"].cache_salt for _, kwargs in door.client.submitted]

    assert salts[0] == salts[2] != salts[1]
    assert 0 not in salts


async def test_the_log_names_the_key_and_never_holds_it(
    path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    async with open_door(keys_path=path) as door:
        await ask(door, "GET", "/v1/models", **BEARER)
        await ask(door, "GET", "/v1/models", X_Api_Key="wrong-secret")
    output = capsys.readouterr().out

    ended = [line for line in output.splitlines() if "request_ended" in line]
    assert ["key=ann" in line for line in ended] == [True, False]
    assert SECRET not in output
    assert "wrong-secret" not in output


async def test_a_key_costs_next_to_nothing(path: Path) -> None:
    """Of a full file, in the time of one request: 256 comparisons."""
    write(path, *(key(f"s{n}", f"n{n}") for n in range(256)))
    ring = keyring.Keyring(path, is_required=False)
    headers = {"X-Api-Key": "s255"}
    await ring.admit(headers)
    began = time.process_time()
    for _ in range(100):
        await ring.admit(headers)

    assert time.process_time() - began < 100 * 0.002
