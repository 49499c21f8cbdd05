"""Chat templates that a model brings: they reach nothing, and get little time and little memory."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from engine_host import Job, Run
from engine_host import say as ask
from tiny_llama import write_tiny_llama

pytestmark = pytest.mark.models

ROOT = Path(__file__).resolve().parents[2]


def again(times: int, body: str) -> str:
    """A loop with a number `ns.x`, 2 at first, and a text `ns.s`."""
    start = "{% set ns = namespace(x=2, s='a') %}"
    return f"{start}{{% for i in range({times}) %}}{body}{{% endfor %}}"


# What each makes of a conversation with one message; all of them real ideas from real templates.
HARMLESS = {
    "{% for m in messages %}<{{ m.role }}>{{ m['content'] | trim }}{% endfor %}": "<user>Hello",
    "{{ 'a' ~ 1 ~ none ~ 'b' }}{{ ['x', 'y'] | join('-') }}": "a1Noneb" + "x-y",
    again(3, "{% set ns.x = ns.x + 1 %}") + "{{ ns.x }}": "5",
    "{{ '%05d|%s' % (42, 'x') }}{{ '{:>4}'.format(7) }}": "00042|x   7",
    "{{ messages | tojson(indent=1) | length }}": "48",
    "{{ messages[0].content.replace('l', 'LL').split('L') | length }}{{ '-' * 5 }}": "5-----",
    "{{ (1700000000 * 2) | string }}{{ missing | default(1700000000) }}": "3400000000" + "1700000000",
    "{% set a %}{{ messages[0].content }}!{% endset %}{{ a + a }}": "Hello!Hello!",
    "{% macro twice(x) %}{{ x }}{{ x }}{% endmacro %}{{ twice('ab') | upper }}": "ABAB",
}
# Ways out of the sandbox.
ESCAPES = [
    "{{ lipsum.__globals__['os'].popen('touch CANARY').read() }}",
    "{{ cycler.__init__.__globals__.os.system('touch CANARY') }}",
    "{{ joiner.__init__.__globals__.os.system('touch CANARY') }}",
    "{{ namespace.__init__.__globals__.os.system('touch CANARY') }}",
    "{{ (messages | attr('__class__')).__mro__[1].__subclasses__() }}",
    "{{ ''['__class__']['__mro__'][1]['__subclasses__']() }}",
    "{{ '{0.__class__.__mro__}'.format(messages) }}",
    "{{ 'x'.format_map | attr('__globals__') }}",
    "{{ self._TemplateReference__context.environment.loader.x.y }}",
    "{% set x = messages.append('more') %}{{ messages | length }}",
    "{{ raise_exception.__globals__ }}",
]
# Much out of little: loops, joins, powers, widths.
GREEDY = {
    # Its code has no line of the template where it is stopped.
    "nested loops": "{% for i in range(99999) %}{% for j in range(99999) %}{% if i == j %}{% endif %}"
    "{% endfor %}{% endfor %}",
    "loops that print": "{% for i in range(99999) %}{% for j in range(99999) %}ab{% endfor %}{% endfor %}",
    "product": "{{ 'a' * 10**6 * 1000 }}",
    "constant filter": "{{ 'a' | center(1000000000) }}",
    "product of a list": "{{ ([0] * 10**7 * 100) | length }}",
    "power": "{{ 9 ** (9 ** 9) }}",
    "power in turns": again(40, "{% set ns.x = ns.x * ns.x %}"),
    "sum": again(40, "{% set ns.s = ns.s + ns.s %}"),
    "tilde": again(40, "{% set ns.s = ns.s ~ ns.s %}"),
    "set block": again(40, "{% set x %}{{ ns.s }}{{ ns.s }}{% endset %}{% set ns.s = x %}"),
    "join": "{% set s = 'a' * 1000000 %}{{ s.join(range(99999) | map('string')) }}",
    "join filter": "{{ range(99999) | map('string') | list | join('a' * 1000000) }}",
    "replace": "{% set s = 'a' * 1000000 %}{{ s.replace('a', s) }}",
    "replace filter": "{% set s = 'a' * 1000000 %}{{ s | replace('a', s) }}",
    "width": "{{ '%1000000000d' % 1 }}",
    "width given": "{{ '%*d' % (1000000000, 1) }}",
    "width in braces": "{{ '{:>1000000000}'.format(1) }}",
    "width given in braces": "{{ '{:>{}}'.format(1, 1000000000) }}",
    "method": "{{ 'a'.ljust(1000000000) }}",
    "tabs": "{{ '\t'.expandtabs(1000000000) }}",
    "indent": "{{ messages | tojson(indent=1000000000) }}",
    "translate": "{% set s = 'a' * 1000000 %}{{ s.translate({97: s}) }}",
    "recursion": "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    "depth": "{{ " + "(" * 100_000 + "1" + ")" * 100_000 + " }}",
    "sentences": "{{ lipsum(n=1000000) }}",
}

Render = Callable[..., list[dict[str, Any]]]


@pytest.fixture(scope="module")
def render(text_python: str, smollm2: Path, tmp_path_factory: pytest.TempPathFactory) -> Render:
    """Render templates with a message, in one process in an empty folder."""

    def render(*templates: str, content: str = "Hello") -> list[dict[str, Any]]:
        folder = tmp_path_factory.mktemp("templates")
        result = subprocess.run(
            [text_python, "-P", str(Path(__file__).with_name("template_probe.py")), str(smollm2)],
            input="".join(json.dumps({"template": one, "content": content}) + "\n" for one in templates),
            env={"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"], "HF_HUB_OFFLINE": "1"},
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=110,
            check=True,
        )
        assert not list(folder.iterdir())
        return [json.loads(line) for line in result.stdout.splitlines()]

    return render


def test_templates_that_want_nothing_unusual_are_not_disturbed(render: Render) -> None:
    said = render(*HARMLESS)

    assert list(HARMLESS.values()) == [one["text"] for one in said], [one["error"] for one in said]


def test_no_template_gets_out_of_the_sandbox(render: Render) -> None:
    said = render(*ESCAPES)

    for template, one in zip(ESCAPES, said, strict=True):
        assert one["error"] or one["text"] in ("", "[]"), (template, one)


def test_a_greedy_template_is_stopped_in_time(render: Render) -> None:
    said = dict(zip(GREEDY, render(*GREEDY.values()), strict=True))

    assert [name for name, one in said.items() if not one["error"]] == []
    assert "was stopped: it takes more than 2 s" in said["nested loops"]["error"]
    assert {name: one["seconds"] for name, one in said.items() if one["seconds"] > 3.5} == {}
    assert {name: one["grown_mb"] for name, one in said.items() if one["grown_mb"] > 300} == {}


def test_a_long_conversation_may_be_long(render: Render) -> None:
    (said,) = render("{{ messages[0].content | trim | length }}", content="word " * 1_500_000)

    assert said["text"] == "7499999"


@pytest.fixture
def with_template(tmp_path: Path, smollm2: Path) -> Callable[[str], str]:
    """The path of a model with this template."""

    def make(template: str) -> str:
        folder = tmp_path / "model"
        write_tiny_llama(folder, smollm2)
        settings = json.loads((folder / "tokenizer_config.json").read_bytes())
        (folder / "tokenizer_config.json").write_text(json.dumps(settings | {"chat_template": template}))
        return str(folder)

    return make


@pytest.mark.parametrize(
    ("name", "said"),
    [("nested loops", "more than 2 s"), ("product", "characters"), ("depth", "RecursionError")],
)
def test_a_model_with_such_a_template_fails_to_load(
    run: Run, with_template: Callable[[str], str], name: str, said: str
) -> None:
    report = run(path=with_template(GREEDY[name]))

    assert report.load_error is not None
    assert report.load_error.code == "model_unavailable"
    assert said in report.load_error.message


def test_one_that_only_some_messages_set_off_costs_those_requests(
    run: Run, with_template: Callable[[str], str]
) -> None:
    loops = GREEDY["nested loops"]
    template = f"{{% if messages[0].content == 'boom' %}}{loops}{{% endif %}}{{{{ messages[0].content }}}}"
    jobs = [Job(id=word, chat=ask(word, max_tokens=3, ignore_eos=True)) for word in ("boom", "fine")]

    report = run(*jobs, path=with_template(template))

    assert report.error("boom").code == "invalid_request"
    assert "it takes more than 2 s" in report.error("boom").message
    assert report.done("fine").usage.completion_tokens == 3
