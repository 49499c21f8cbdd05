"""Fill in the middle in the engine, on a random model whose tokenizer has the tokens for it."""

from __future__ import annotations

from pathlib import Path

import pytest
from engine_host import Job, Run
from tiny_llama import write_tiny_llama

from transports.messages import CompletionRequest, Sampling

pytestmark = [pytest.mark.models, pytest.mark.timeout(300)]

FIM = {"<jupyter_start>": "<fim_prefix>", "<jupyter_text>": "<fim_suffix>", "<jupyter_code>": "<fim_middle>"}
# Of the default model's tokenizer.
FILE_SEP = 5
CONTEXT = 512
SETTINGS = {"max_context_tokens": CONTEXT}


@pytest.fixture(scope="module")
def fim_model(tmp_path_factory: pytest.TempPathFactory, smollm2: Path) -> str:
    folder = tmp_path_factory.mktemp("models") / "tiny"
    write_tiny_llama(folder, smollm2, FIM)
    return str(folder)


def test_a_middle_ends_where_the_next_file_would_begin(run: Run, fim_model: str) -> None:
    """A model goes on with the next file of its training; asked to go on from a prompt it may."""
    sampling = Sampling(temperature=0, logit_bias={FILE_SEP: 100.0})
    middle = CompletionRequest(prompt="a = ", suffix="\n", max_tokens=4, sampling=sampling)
    going_on = CompletionRequest(prompt="a = ", max_tokens=4, sampling=sampling)

    report = run(
        Job(id="middle", completion=middle),
        Job(id="on", completion=going_on),
        path=fim_model,
        settings=SETTINGS,
    )

    assert report.done("middle").finish_reason == "stop"
    assert report.done("middle").usage.completion_tokens == 1
    assert report.done("on").finish_reason == "length"


def test_a_file_longer_than_the_context_is_cut(run: Run, fim_model: str) -> None:
    body = CompletionRequest(
        prompt="word " * CONTEXT, suffix="word " * CONTEXT, max_tokens=2, ignore_eos=True
    )

    report = run(Job(id="only", completion=body), path=fim_model, settings=SETTINGS)

    assert report.done("only").usage.prompt_tokens == CONTEXT - 2
