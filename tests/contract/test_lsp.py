"""What an editor may rely on that speaks LSP."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

import pytest
from http_harness import fail, say, say_nothing
from lsp_harness import COMPLETION, INLINE, MODEL, URI, Editor, at, editing

from plugins.client import Submission
from transports.envelope import Message
from transports.errors import ContextLengthExceeded, ModelNotFound, QueueFull, TaskNotSupported
from transports.messages import CompletionRequest, Progress
from transports.reports import DoneReply

INVALID_REQUEST, INVALID_PARAMS, NOT_INITIALIZED = -32600, -32602, -32002
CANCELLED, FAILED = -32800, -32803
HAS_INLINE = {"textDocument": {"inlineCompletion": {}}}
SHOWS_PROGRESS = {"window": {"workDoneProgress": True}}
NO_FIM = TaskNotSupported("suffix: cannot", param="suffix")


# --- the life of a server ---------------------------------------------------------------------


async def test_before_initialize_there_is_nothing_else() -> None:
    editor = Editor()
    editor.open("x = ")

    assert (await editor.ask(INLINE, at(0, 0)))["error"]["code"] == NOT_INITIALIZED
    assert (await editor.ask("shutdown"))["error"]["code"] == NOT_INITIALIZED
    await editor.initialize()
    assert (await editor.ask(INLINE, at(0, 0)))["result"] == {"items": []}


async def test_initialize_says_what_is_offered() -> None:
    reply = await Editor().initialize()

    capabilities = reply["result"]["capabilities"]
    assert capabilities["positionEncoding"] == "utf-16"
    assert capabilities["textDocumentSync"] == {"openClose": True, "change": 2}
    assert capabilities["inlineCompletionProvider"] is True
    assert "." in capabilities["completionProvider"]["triggerCharacters"]
    assert reply["result"]["serverInfo"]["name"] == "mlxd"


async def test_an_editor_with_inline_completion_is_not_offered_the_same_twice() -> None:
    reply = await Editor().initialize(HAS_INLINE)

    assert "completionProvider" not in reply["result"]["capabilities"]


async def test_the_kernel_is_sought_before_the_first_keystroke() -> None:
    async with editing() as editor:
        assert editor.link.num_starts == 1


async def test_initialize_comes_once() -> None:
    async with editing() as editor:
        assert (await editor.initialize())["error"]["code"] == INVALID_REQUEST


async def test_wrong_options_are_told_by_name() -> None:
    reply = await Editor().initialize(options={"maxTokens": 0})

    assert reply["error"]["code"] == INVALID_PARAMS
    assert "$.maxTokens" in reply["error"]["message"]


async def test_after_shutdown_there_is_only_exit() -> None:
    async with editing("x") as editor:
        reply = await editor.ask("shutdown")

        assert (reply["result"], "error" in reply) == (None, False)
        assert (await editor.ask(INLINE, at(0, 1)))["error"]["code"] == INVALID_REQUEST
        assert (await editor.ask("initialize", {"capabilities": {}}))["error"]["code"] == INVALID_REQUEST
        assert not editor.connection.ended.done()
        editor.notify("exit")
        assert editor.connection.ended.result() == 0


async def test_exit_without_shutdown_is_a_failure() -> None:
    async with editing() as editor:
        editor.notify("exit")

        assert editor.connection.ended.result() == 1


async def test_exit_is_obeyed_before_initialize() -> None:
    editor = Editor()
    editor.notify("exit")

    assert editor.connection.ended.result() == 1


async def test_unknown_methods_are_told_and_unknown_notifications_are_not() -> None:
    async with editing() as editor:
        editor.notify("workspace/didChangeWatchedFiles", {"changes": []})
        editor.notify("textDocument/didOpen", {"wrong": 1})

        assert (await editor.ask("textDocument/hover", at(0, 0)))["error"]["code"] == -32601
        assert [one.get("id") for one in editor.received] == [1, 2]


# --- what is asked and offered ----------------------------------------------------------------


async def test_a_model_is_asked_for_what_belongs_at_the_cursor() -> None:
    async with editing("def f():\r\n    x = \r\n", options={"model": "m/n", "maxTokens": 7}) as editor:
        reply = await editor.ask(INLINE, at(1, 8))

        assert editor.client.body == CompletionRequest(
            prompt="def f():\n    x = ",
            suffix="\n",
            stop=("\n\n",),
            max_tokens=7,
            sampling=editor.client.body.sampling,
        )
        assert editor.client.body.sampling.temperature == 0
        assert editor.client.submitted[0][1]["model"] == "m/n"
        cursor = {"line": 1, "character": 8}
        assert reply["result"] == {
            "items": [{"insertText": "x = 1", "range": {"start": cursor, "end": cursor}}]
        }


async def test_without_options_the_default_model_is_asked() -> None:
    async with editing("x") as editor:
        await editor.ask(INLINE, at(0, 1))

        assert editor.client.submitted[0][1]["model"] == MODEL


async def test_a_completion_goes_on_from_the_word_before_it() -> None:
    async with editing("\U0001f600 fo") as editor:
        editor.client.script = say("o()")
        reply = await editor.ask(COMPLETION, at(0, 5))

        (item,) = reply["result"]["items"]
        assert item["filterText"] == item["textEdit"]["newText"] == "foo()"
        # In UTF-16: the face is two units.
        expected = {"start": {"line": 0, "character": 3}, "end": {"line": 0, "character": 5}}
        assert item["textEdit"]["range"] == expected


async def test_positions_are_in_the_encoding_that_the_editor_prefers() -> None:
    async with editing("\U0001f600 fo", {"general": {"positionEncodings": ["utf-8", "utf-16"]}}) as editor:
        await editor.ask(INLINE, at(0, 4))

        assert editor.client.body.prompt == "\U0001f600"


async def test_the_offer_goes_on_from_what_is_selected() -> None:
    """As if it were typed: VS Code shows an offer beside its list only then."""
    where = {"start": {"line": 0, "character": 2}, "end": {"line": 0, "character": 4}}
    info = {"range": where, "text": "append"}
    async with editing("a.ap\n") as editor:
        editor.client.script = say("(1)")
        reply = await editor.ask(INLINE, at(0, 4, context={"triggerKind": 2, "selectedCompletionInfo": info}))

        assert editor.client.body.prompt == "a.append"
        assert reply["result"]["items"] == [{"insertText": "append(1)", "range": where}]


async def test_edits_are_followed() -> None:
    async with editing("a\n") as editor:
        where = {"start": {"line": 0, "character": 1}, "end": {"line": 0, "character": 1}}
        changes = [{"range": where, "text": "b"}, {"range": where, "text": "-"}]
        editor.notify(
            "textDocument/didChange", {"textDocument": {"uri": URI, "version": 2}, "contentChanges": changes}
        )
        await editor.ask(INLINE, at(0, 3))
        assert editor.client.body.prompt == "a-b"

        editor.notify(
            "textDocument/didChange",
            {"textDocument": {"uri": URI, "version": 3}, "contentChanges": [{"text": "new"}]},
        )
        await editor.ask(INLINE, at(0, 3))
        assert editor.client.body.prompt == "new"


async def test_a_document_that_is_not_open_has_no_offers() -> None:
    async with editing() as editor:
        assert (await editor.ask(INLINE, at(0, 0, "file:///b")))["result"] == {"items": []}
        empty = {"isIncomplete": True, "items": []}
        assert (await editor.ask(COMPLETION, at(0, 0, "file:///b")))["result"] == empty
        assert editor.client.submitted == []


# --- models that cannot fill in ---------------------------------------------------------------


def unless_plain(script: Callable[[Submission, Message], None]) -> Callable[[Submission, Message], None]:
    """Fails requests for a middle; others go to *script*."""

    def both(submission: Submission, body: Message) -> None:
        assert isinstance(body, CompletionRequest)
        (script if body.suffix is None else fail(NO_FIM))(submission, body)

    return both


async def test_a_model_that_cannot_fill_in_goes_on_from_what_is_before() -> None:
    async with editing("f()\n") as editor:
        editor.client.script = unless_plain(say("x)"))
        first = await editor.ask(INLINE, at(0, 2))
        await editor.ask(INLINE, at(0, 2))

        # It could not know what follows.
        assert first["result"]["items"][0]["insertText"] == "x"
        suffixes = [one["body"].suffix for _, one in editor.client.submitted]
        assert suffixes == [")\n", None, None]
        assert editor.told("window/showMessage") == []


async def test_such_a_model_is_not_asked_at_the_beginning() -> None:
    async with editing("\nx") as editor:
        editor.client.script = unless_plain(say("y"))
        reply = await editor.ask(INLINE, at(0, 0))

        assert reply["result"] == {"items": []}
        assert len(editor.client.submitted) == 1


async def test_such_a_model_gets_less_text_if_its_context_is_small() -> None:
    async with editing("x" * 1600) as editor:

        def script(submission: Submission, body: Message) -> None:
            assert isinstance(body, CompletionRequest)
            long = ContextLengthExceeded("prompt: too long", param="prompt")
            (say("y") if len(body.prompt) <= 500 else fail(long))(submission, body)

        editor.client.script = unless_plain(script)
        reply = await editor.ask(INLINE, at(0, 1600))

        assert reply["result"]["items"][0]["insertText"] == "y"
        assert [len(one["body"].prompt) for _, one in editor.client.submitted] == [1600, 1600, 800, 400]


# --- cancelled --------------------------------------------------------------------------------


async def test_the_newer_request_cancels_the_older() -> None:
    async with editing("abc") as editor:
        editor.client.script = say_nothing
        older = editor.request(INLINE, at(0, 1))
        await editor.client.wait_for(lambda: editor.client.submitted)
        editor.client.script = say("d")
        newer = await editor.ask(INLINE, at(0, 2))

        assert newer["result"]["items"][0]["insertText"] == "d"
        assert [one["error"]["code"] for one in editor.answers(older)] == [CANCELLED]
        assert editor.client.cancelled[0] == "request-0"


async def test_the_end_of_a_cancelled_request_leaves_its_successor_alone() -> None:
    async with editing("abc") as editor:
        editor.client.script = say_nothing
        ids = []
        for number in range(3):
            ids.append(editor.request(INLINE, at(0, number)))
            await editor.client.wait_for(lambda: len(editor.client.submitted) == len(ids))
        for id_ in ids[:-1]:
            assert (await editor.answer_to(id_))["error"]["code"] == CANCELLED

        assert editor.answers(ids[-1]) == []


async def test_a_request_that_came_with_its_successor_never_reaches_the_kernel() -> None:
    async with editing("abc") as editor:
        ids = [editor.request(INLINE, at(0, 1)) for _ in range(200)]
        await editor.answer_to(ids[-1])

        assert len(editor.client.submitted) == 1
        codes = [[one["error"]["code"] for one in editor.answers(id_)] for id_ in ids[:-1]]
        assert codes == [[CANCELLED]] * 199


async def test_a_cancelled_request_ends_once() -> None:
    async with editing("abc") as editor:
        editor.client.script = say_nothing
        id_ = editor.request(INLINE, at(0, 1))
        await editor.client.wait_for(lambda: editor.client.submitted)
        editor.notify("$/cancelRequest", {"id": id_})
        editor.notify("$/cancelRequest", {"id": id_})
        reply = await editor.answer_to(id_)
        editor.client.script = say("d")
        await editor.ask(INLINE, at(0, 2))

        assert reply["error"]["code"] == CANCELLED
        assert len(editor.answers(id_)) == 1


async def test_other_documents_and_the_other_method_are_left_alone() -> None:
    async with editing("abc") as editor:
        editor.open("def", "file:///b")
        editor.client.script = say_nothing
        for method, uri in ((INLINE, URI), (COMPLETION, URI), (INLINE, "file:///b")):
            editor.request(method, at(0, 1, uri))
        await editor.client.wait_for(lambda: len(editor.client.submitted) == 3)

        assert editor.client.cancelled == []


async def test_closing_a_document_cancels_its_request() -> None:
    async with editing("abc") as editor:
        editor.client.script = say_nothing
        id_ = editor.request(INLINE, at(0, 1))
        await editor.client.wait_for(lambda: editor.client.submitted)
        editor.notify("textDocument/didClose", {"textDocument": {"uri": URI}})

        assert (await editor.answer_to(id_))["error"]["code"] == CANCELLED


# --- errors -----------------------------------------------------------------------------------


async def test_an_error_is_the_answer_and_is_shown_once() -> None:
    async with editing("abc") as editor:
        editor.client.script = fail(ModelNotFound("model: no such model", param="model"))
        replies = [await editor.ask(INLINE, at(0, 1)) for _ in range(3)]

        assert [reply["error"]["data"]["code"] for reply in replies] == ["model_not_found"] * 3
        (shown,) = editor.told("window/showMessage")
        assert shown["params"] == {"type": 1, "message": "mlxd: model: no such model"}


async def test_an_error_that_comes_back_is_shown_again() -> None:
    async with editing("abc") as editor:
        for script in (fail(ModelNotFound("gone")), say("x"), fail(ModelNotFound("gone"))):
            editor.client.script = script
            await editor.ask(INLINE, at(0, 1))

        assert len(editor.told("window/showMessage")) == 2


async def test_a_full_queue_is_not_shown() -> None:
    async with editing("abc") as editor:
        editor.client.script = fail(QueueFull("queue: full"))
        reply = await editor.ask(INLINE, at(0, 1))

        assert reply["error"]["code"] == FAILED
        assert editor.told("window/showMessage") == []


# --- a model that is being loaded -------------------------------------------------------------


def waits_in(phase: str) -> Callable[[Submission, Message], None]:
    def script(submission: Submission, _: Message) -> None:
        submission.put(Progress(phase=phase))  # type: ignore[arg-type]

    return script


async def test_loading_is_shown_until_its_end_whatever_becomes_of_requests() -> None:
    async with editing("abc", SHOWS_PROGRESS) as editor:
        editor.client.script = waits_in("load")
        for _ in range(3):
            id_ = editor.request(INLINE, at(0, 1))
            await asyncio.sleep(0)
        await editor.wait_for(lambda: editor.told("window/workDoneProgress/create"))
        (create,) = editor.told("window/workDoneProgress/create")
        editor.answer(create["id"], None)
        await editor.client.wait_for(lambda: editor.client.loads)
        editor.notify("$/cancelRequest", {"id": id_})
        ((model, report, future),) = editor.client.loads
        for fraction in (0.5, 0.501, None):
            report(Progress(phase="load", fraction=fraction))
        report(Progress(phase="queued"))
        future.set_result(DoneReply(detail="loaded"))
        await editor.wait_for(lambda: editor.told("$/progress")[-1]["params"]["value"]["kind"] == "end")

        token = create["params"]["token"]
        assert [one["params"]["token"] for one in editor.told("$/progress")] == [token] * 4
        assert [one["params"]["value"] for one in editor.told("$/progress")] == [
            {"kind": "begin", "title": f"mlxd: {model}", "cancellable": False},
            {"kind": "report", "message": "loading 50%"},
            {"kind": "report", "message": "loading"},
            {"kind": "end", "message": "loaded"},
        ]


async def test_a_load_that_fails_ends_too() -> None:
    async with editing("abc", SHOWS_PROGRESS) as editor:
        editor.client.script = waits_in("download")
        editor.request(INLINE, at(0, 1))
        await editor.wait_for(lambda: editor.told("window/workDoneProgress/create"))
        editor.answer(editor.told("window/workDoneProgress/create")[0]["id"], None)
        await editor.client.wait_for(lambda: editor.client.loads)
        editor.client.loads[0][2].set_exception(ModelNotFound("model: gone"))
        await editor.wait_for(lambda: len(editor.told("$/progress")) == 2)

        assert editor.told("$/progress")[1]["params"]["value"] == {"kind": "end", "message": "model: gone"}


@pytest.mark.parametrize(("capabilities", "phase"), [({}, "load"), (SHOWS_PROGRESS, "queued")])
async def test_it_is_not_shown(capabilities: object, phase: str) -> None:
    """To an editor that cannot; nor that a request waits for its turn."""
    async with editing("abc", capabilities) as editor:
        editor.client.script = waits_in(phase)
        editor.request(INLINE, at(0, 1))
        await editor.client.wait_for(lambda: editor.client.submitted)
        editor.client.script = say("x")
        await editor.ask(INLINE, at(0, 1))

        assert editor.told("window/workDoneProgress/create") == []


# --- configuration ----------------------------------------------------------------------------


async def test_settings_replace_options() -> None:
    async with editing("abc", options={"model": "one"}) as editor:
        editor.notify("workspace/didChangeConfiguration", {"settings": {"mlxd": {"model": "two"}}})
        await editor.ask(INLINE, at(0, 1))

        assert editor.client.submitted[0][1]["model"] == "two"


async def test_wrong_settings_change_nothing_and_are_shown() -> None:
    async with editing("abc", options={"model": "one"}) as editor:
        editor.notify("workspace/didChangeConfiguration", {"settings": {"mlxd": {"model": 2}}})
        await editor.ask(INLINE, at(0, 1))

        assert editor.client.submitted[0][1]["model"] == "one"
        (shown,) = editor.told("window/showMessage")
        assert shown["params"]["type"] == 2
        assert "$.model" in shown["params"]["message"]


@pytest.mark.parametrize(("answer", "model"), [([{"model": "two"}], "two"), ([None], "one"), ([], "one")])
async def test_an_editor_that_keeps_settings_is_asked_for_them(answer: object, model: str) -> None:
    """VS Code's answer to didChangeConfiguration without settings is to be asked."""
    async with editing("abc", {"workspace": {"configuration": True}}, {"model": "one"}) as editor:
        await editor.wait_for(lambda: editor.told("workspace/configuration"))
        editor.notify("workspace/didChangeConfiguration", {"settings": None})
        await editor.wait_for(lambda: len(editor.told("workspace/configuration")) == 2)
        (first, second) = editor.told("workspace/configuration")
        assert second["params"] == {"items": [{"section": "mlxd"}]}
        editor.answer(first["id"], [{"model": "too late"}])
        editor.answer(second["id"], answer)
        await editor.ask(INLINE, at(0, 1))

        assert editor.client.submitted[-1][1]["model"] == model


# --- at random --------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(30))
async def test_whatever_happens_each_request_ends_once_and_the_last_one_well(seed: int) -> None:
    """Keys, cancels, closed documents, answers of the model and failures, in any order."""
    chance = random.Random(seed)
    uris = ("file:///a", "file:///b")
    editor = Editor()
    await editor.initialize()
    editor.client.script = say_nothing
    asked: list[int] = []
    for uri in uris:
        editor.open("x", uri)
    for _ in range(200):
        uri = chance.choice(uris)
        match chance.randrange(8):
            case 0 | 1 | 2:
                asked.append(editor.request(chance.choice((INLINE, COMPLETION)), at(0, 1, uri)))
            case 3:
                where = {"start": {"line": 0, "character": 0}, "end": {"line": 0, "character": 0}}
                changes = {"textDocument": {"uri": uri}, "contentChanges": [{"range": where, "text": "y"}]}
                editor.notify("textDocument/didChange", changes)
            case 4 if asked:
                editor.notify("$/cancelRequest", {"id": chance.choice(asked)})
            case 5 if editor.client.submitted:
                submission, fields = chance.choice(editor.client.submitted)
                ends = [say("z"), fail(QueueFull("full"))]
                if fields["body"].suffix is not None:
                    ends.append(fail(NO_FIM))
                chance.choice(ends)(submission, fields["body"])
            case 6 if chance.random() < 0.2:
                editor.notify("textDocument/didClose", {"textDocument": {"uri": uri}})
                editor.open("x", uri)
            case 7:
                await asyncio.sleep(0)
    editor.client.script = say("end")
    for submission, fields in editor.client.submitted:
        say("late")(submission, fields["body"])
    last = await editor.ask(INLINE, at(0, 1, uris[0]))
    await editor.connection.close()

    assert last["result"]["items"][0]["insertText"] == "end", f"seed {seed}"
    for id_ in asked:
        (answer,) = editor.answers(id_)
        assert "result" in answer or answer["error"]["code"] in (CANCELLED, FAILED), f"seed {seed}: {answer}"
