"""The tokenizer files made from a GGUF file's metadata; what they do is tested with the real library."""

from __future__ import annotations

import pytest

from transports.errors import RequestError
from workers.gguf.metadata import Metadata
from workers.gguf.reader import Value
from workers.gguf.tokenizer import convert_tokenizer


def metadata(**changed: Value | None) -> Metadata:
    tokenizer: dict[str, Value | None] = {
        "model": "gpt2",
        "pre": "smollm",
        "tokens": ["<|end|>", "a", "b", "ab", "<tool>", "[unused]"],
        "token_type": [3, 1, 1, 1, 4, 5],
        "merges": ["a b"],
        "eos_token_id": 0,
        "bos_token_id": 0,
        **changed,
    }
    full = {f"tokenizer.ggml.{key}": value for key, value in tokenizer.items() if value is not None}
    return Metadata({"general.architecture": "llama", "llama.context_length": 64, **full})


def test_control_and_user_tokens_are_added_tokens() -> None:
    added = convert_tokenizer(metadata()).tokenizer["added_tokens"]

    assert isinstance(added, list)
    assert [(one["content"], one["id"], one["special"]) for one in added] == [
        ("<|end|>", 0, True),
        ("<tool>", 4, False),
    ]


def test_all_end_tokens_end_an_answer() -> None:
    files = convert_tokenizer(metadata(tokens=["<|im_end|>", "a", "b", "ab", "<|endoftext|>", "[unused]"]))

    assert files.eos_token_ids == [0, 4]


def test_bos_is_put_before_a_text_only_where_the_file_says_so() -> None:
    without, with_bos = metadata(), metadata(add_bos_token=True)

    assert "TemplateProcessing" not in str(convert_tokenizer(without).tokenizer["post_processor"])
    assert "TemplateProcessing" in str(convert_tokenizer(with_bos).tokenizer["post_processor"])


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"model": "bert"}, "tokenizer 'bert' is not supported; supported are gpt2 and llama"),
        ({"pre": "tekken"}, "pre-tokenizer 'tekken' is not supported; supported are gpt-2"),
        ({"tokens": None}, "tokenizer.ggml.tokens is missing"),
        ({"tokens": ["a", "a", "b", "ab", "c", "d"]}, "a token occurs twice"),
        ({"token_type": [1]}, "6 tokens but 1 token types"),
        ({"merges": ["a b c"]}, "a merge that is not two tokens"),
        ({"eos_token_id": None}, "eos_token_id is missing"),
        ({"eos_token_id": 6}, "eos_token_id: expected below 6, got 6"),
        ({"model": "llama", "scores": [0.5]}, "6 tokens but 1 scores"),
    ],
)
def test_a_wrong_tokenizer_is_told_what_is_wrong(changed: dict[str, Value | None], said: str) -> None:
    with pytest.raises(RequestError) as caught:
        convert_tokenizer(metadata(**changed))

    assert said in caught.value.message
