"""Python clients, each in an environment of its own, against a running mlxd: see README.md beside this."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from pathlib import Path

import pictures
import pytest
import pytest_asyncio
from aiohttp import ClientSession
from pdf_files import EMPTY_PAGE, pdf_of
from python_clients import program
from running import DEFAULT_MODEL, VISION_MODEL, add_echo_models, run_kernel
from scripted_models import FILE, SCRIPTED_MODEL, add_scripted_model

from transports.settings import HttpSettings, KernelSettings, Settings

pytestmark = [
    pytest.mark.models,
    pytest.mark.asyncio(loop_scope="module"),
    # Importing some of them takes a minute.
    pytest.mark.timeout(900),
]

HERE = Path(__file__).parent
PICTURE, DOCUMENT = "red.png", "page.pdf"
LLM_MODELS = f"""
- {{model_id: text, model_name: {DEFAULT_MODEL}, api_base: URL/v1, supports_schema: true}}
- {{model_id: vision, model_name: {VISION_MODEL}, api_base: URL/v1, vision: true}}
- {{model_id: scripted, model_name: {SCRIPTED_MODEL}, api_base: URL/v1, supports_tools: true}}
"""
# Of lm-eval, beside what both have: which of some cities is likeliest; which one the model names.
TASKS: dict[str, dict[str, object]] = {
    "scored": {
        "output_type": "multiple_choice",
        "doc_to_text": "The capital of {{country}} is",
        "doc_to_choice": ["Paris", "Rome", "Madrid"],
        "doc_to_target": "{{city}}",
        "metric_list": [{"metric": "acc"}],
    },
    "written": {
        "output_type": "generate_until",
        # The only capital that the small model names.
        "doc_to_text": "What is the capital of France?",
        "doc_to_target": "Paris",
        "generation_kwargs": {"until": ["\n"], "max_gen_toks": 12},
        "filter_list": [
            {
                "name": "city",
                "filter": [
                    {"function": "regex", "regex_pattern": "(Paris|Rome|Madrid)"},
                    {"function": "take_first"},
                ],
            }
        ],
        "metric_list": [{"metric": "exact_match"}],
    },
}
# lm-evaluation-harness's own tolerance for equal scores.
CLOSE = 1e-3
PROBE = HERE.parent / "models" / "loglikelihood_probe.py"
QUESTION = "What is the capital of France?"


def needs(client: str) -> pytest.MarkDecorator:
    """Skip where *client* is not installed."""
    missing = not program(client, "python").exists()
    return pytest.mark.skipif(missing, reason=f"{client} is not installed: tests/clients/README.md says how")


@dataclass(frozen=True)
class Served:
    """A running mlxd, and the folder in which the programs of clients run."""

    url: str
    folder: Path
    model: Path

    async def run(self, client: str, name: str, *arguments: str | Path, **variables: str) -> str:
        """Run the program *name* of *client*, which must end well; what it wrote."""
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "OPENAI_API_KEY": "none",
            # They would ask the web.
            "HF_HUB_OFFLINE": "1",
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            **variables,
        }
        process = await asyncio.create_subprocess_exec(
            program(client, name),
            *arguments,
            cwd=self.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        written = (await process.communicate())[0].decode()
        assert process.returncode == 0, written
        return written


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def served(
    vision_prepared: Path, embedding_prepared: Path, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Served]:
    """One for all clients: loading takes seconds."""
    home = tmp_path_factory.mktemp("home")
    add_echo_models(home)
    add_scripted_model(home)
    (home / "envs").symlink_to(vision_prepared / "envs")
    (home / "models" / "demo").symlink_to(vision_prepared / "models" / "demo")
    settings = Settings(kernel=KernelSettings(frontends=("http",)), http=HttpSettings(port=0))
    kernel = await run_kernel(settings, home, (DEFAULT_MODEL,))
    folder = tmp_path_factory.mktemp("clients")
    (folder / PICTURE).write_bytes(pictures.png(pictures.shapes(("red", "circle"))))
    (folder / DOCUMENT).write_bytes(pdf_of([EMPTY_PAGE]))
    yield Served(kernel.url, folder, vision_prepared / "models" / DEFAULT_MODEL)
    await kernel.end()


@pytest.mark.parametrize(
    "client",
    [pytest.param(name, marks=needs(name)) for name in ("openai", "anthropic", "litellm", "instructor")],
)
async def test_a_library_gets_what_it_asks_for(served: Served, client: str) -> None:
    await served.run(client, "python", HERE / f"{client}_probe.py", served.url, PICTURE)


@needs("langchain")
async def test_langchains_own_tests_of_chat_models_pass(served: Served) -> None:
    options = ["--noconftest", "-c", os.devnull, "-p", "no:cacheprovider", "-q", "-ra"]
    # It keeps connections for all its models: they are of one loop.
    loop = ["-o", "asyncio_mode=auto", "-o", "asyncio_default_test_loop_scope=session"]

    written = await served.run(
        "langchain",
        "python",
        *("-m", "pytest", HERE / "langchain_suite.py", *options, *loop),
        MLXD_URL=served.url,
        MLXD_PICTURE=str(served.folder / PICTURE),
        MLXD_DOCUMENT=str(served.folder / DOCUMENT),
    )

    assert re.search(r"^\d+ passed", written.splitlines()[-1]), written


@needs("llm")
async def test_the_llm_command_answers_sees_calls_and_keeps_to_a_schema(served: Served) -> None:
    (served.folder / "extra-openai-models.yaml").write_text(LLM_MODELS.replace("URL", served.url))

    async def llm(*arguments: str) -> str:
        return await served.run("llm", "llm", *arguments, LLM_USER_PATH=str(served.folder))

    assert "Paris" in await llm("-m", "text", QUESTION)
    assert "Paris" in await llm("-m", "text", QUESTION, "--no-stream")
    assert "red" in await llm("-m", "vision", "What color is the circle?", "-a", PICTURE)
    schema = ("--schema", "name, country", "-o", "max_tokens", "80")
    city = json.loads(
        await llm("-m", "text", "Paris is the capital of France. Give name and country.", *schema)
    )
    assert {"name", "country"} == set(city)
    called = await llm("-m", "scripted", "What is the version of llm?", "-T", "llm_version", "--td")
    assert "Tool call: llm_version" in called


@needs("aider")
async def test_aider_edits_a_file_and_commits_it(served: Served) -> None:
    repository = served.folder / "repository"
    repository.mkdir()
    file = repository / "calc.py"
    file.write_text(FILE.replace("+", "-"))

    def git(*arguments: str) -> str:
        who = ("-c", "user.name=a", "-c", "user.email=a@example.org")
        return subprocess.check_output(["git", *who, *arguments], cwd=repository, text=True)

    git("init", "--quiet")
    git("add", ".")
    git("commit", "--quiet", "--message", "first")
    # A small model goes on to the end of its context.
    bounded = served.folder / "aider.yml"
    bounded.write_text(json.dumps([{"name": "aider/extra_params", "extra_params": {"max_tokens": 60}}]))
    settings = ("--model-settings-file", bounded)
    flags = ("--yes-always", "--no-check-update", "--no-show-model-warnings", "--analytics-disable")

    for model in (DEFAULT_MODEL, SCRIPTED_MODEL):
        # The small model answers; whether it edits is its own affair.
        told = ("--model", f"openai/{model}", "--message", "Mend add", "--no-gitignore")
        await served.run("aider", "aider", *flags, *settings, *told, file, OPENAI_API_BASE=f"{served.url}/v1")

    assert FILE == file.read_text()
    assert 1 < len(git("log", "--oneline").splitlines())


@needs("lm-eval")
async def test_lm_eval_scores_as_plain_mlx_lm_does_and_generates(served: Served, text_python: str) -> None:
    for name, fields in TASKS.items():
        task = {"task": name, "dataset_path": "json", "test_split": "test", **fields}
        task["dataset_kwargs"] = {"data_files": {"test": str(HERE / "capitals.jsonl")}}
        (served.folder / f"{name}.yaml").write_text(json.dumps(task))
    common = f"model={DEFAULT_MODEL},num_concurrent=2,max_retries=1,base_url={served.url}/v1"

    async def evaluate(model: str, task: str, where: str, *more: str) -> str:
        told = ("--model", model, "--tasks", task, "--include_path", served.folder)
        return await served.run("lm-eval", "lm_eval", *told, "--model_args", common + where, *more)

    where = f"/completions,tokenizer={served.model}"
    samples = ("--log_samples", "--output_path", "scores")
    scored = await evaluate("local-completions", "scored", where, *samples)
    (file,) = (served.folder / "scores").rglob("samples_scored_*.jsonl")
    asked = [json.loads(line) for line in file.read_text().splitlines()]
    plain = [await plain_scores(served, text_python, one["arguments"].values()) for one in asked]
    written = await evaluate(
        "local-chat-completions", "written", "/chat/completions", "--apply_chat_template"
    )

    assert re.search(r"\|acc +\|↑ +\| +1\|", scored), scored
    # Of each choice: its log-likelihood, and whether it is what the model would say.
    assert [[pytest.approx(score, abs=CLOSE) for score in scores] for scores in plain] == [
        [float(choice[0][0]) for choice in one["resps"]] for one in asked
    ]
    assert re.search(r"\|exact_match\|↑ +\| +1\|", written), written


async def plain_scores(served: Served, python: str, asked: Iterable[dict[str, str]]) -> list[float]:
    """What plain mlx-lm says of texts and what follows them: a log-likelihood each."""
    firsts, wholes = [], []
    async with ClientSession() as session:

        async def tokens(text: str) -> list[int]:
            body = {"model": DEFAULT_MODEL, "prompt": text, "add_special_tokens": False}
            async with session.post(f"{served.url}/tokenize", json=body) as reply:
                found: list[int] = (await reply.json())["tokens"]
                return found

        for one in asked:
            firsts.append(len(await tokens(one["arg_0"])))
            wholes.append(await tokens(one["arg_0"] + one["arg_1"]))
    process = await asyncio.create_subprocess_exec(
        *(python, "-P", str(PROBE)),
        env={**os.environ, "PYTHONPATH": str(HERE.parents[1])},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    order = json.dumps({"path": str(served.model), "prompts": wholes}) + "\n"
    said = (await process.communicate(order.encode()))[0]
    # The first token of a text has none.
    return [
        sum(answer["logprobs"][first - 1 :])
        for first, answer in zip(firsts, json.loads(said.splitlines()[-1]), strict=True)
    ]
