"""The tokenizer of a GGUF file as the files that transformers reads: tokenizer.json, tokenizer_config.json.

Two kinds: byte-level BPE ("gpt2") with the pre-tokenizers listed here, and SentencePiece BPE ("llama").
"""

from __future__ import annotations

from msgspec import Struct

from transports.errors import RequestError
from workers.gguf.metadata import Metadata

# gguf.md, tokenizer.ggml.token_type. 1 is a normal one and 5 never used.
UNKNOWN, CONTROL, USER_DEFINED, BYTE = 2, 3, 4, 6

# Tokens that end an answer although the file names only one of them.
END_TOKENS = ("<|im_end|>", "<|eot_id|>", "<|end_of_text|>", "<|endoftext|>")

# From the models' own tokenizer.json files. 's 't 're … and letters, digits, the rest, white space.
_CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_LLAMA3_PATTERN = _CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}" + _REST
_QWEN2_PATTERN = _CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}" + _REST


class TokenizerFiles(Struct, frozen=True, kw_only=True):
    """The contents of the files, and the ids that config.json needs."""

    tokenizer: dict[str, object]
    config: dict[str, object]
    bos_token_id: int | None
    eos_token_ids: list[int]


def convert_tokenizer(metadata: Metadata) -> TokenizerFiles:
    """Build the tokenizer files from the metadata.

    Raises:
        RequestError: A kind of tokenizer or pre-tokenizer that we do not know, or a damaged vocabulary.
    """
    tokens = metadata.texts("tokenizer.ggml.tokens")
    vocabulary = {token: index for index, token in enumerate(tokens)}
    if len(vocabulary) != len(tokens):
        raise RequestError("GGUF tokenizer: a token occurs twice")
    types = metadata.array("tokenizer.ggml.token_type")
    if len(types) != len(tokens):
        raise RequestError(f"GGUF tokenizer: {len(tokens)} tokens but {len(types)} token types")
    kind = metadata.text("tokenizer.ggml.model")
    if kind == "gpt2":
        parts = _byte_level(metadata, vocabulary)
    elif kind == "llama":
        parts = _sentencepiece(metadata, vocabulary, [*map(_as_int, types)])
    else:
        raise RequestError(f"GGUF tokenizer {kind!r} is not supported; supported are gpt2 and llama")
    special = _special_tokens(metadata, tokens)
    bos = special.get("bos_token")
    if (
        metadata.flag("tokenizer.ggml.add_bos_token", kind == "llama" or _pre(metadata) == "llama-bpe")
        and bos
    ):
        parts["post_processor"] = _start_with(bos, vocabulary[bos], parts["post_processor"])
    tokenizer = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": _added_tokens(tokens, [*map(_as_int, types)]),
        **parts,
    }
    return TokenizerFiles(
        tokenizer=tokenizer,
        config=_config(metadata, special),
        bos_token_id=vocabulary[bos] if bos else None,
        eos_token_ids=_end_ids(metadata, vocabulary, special),
    )


def _config(metadata: Metadata, special: dict[str, str]) -> dict[str, object]:
    config: dict[str, object] = {
        # Takes tokenizer.json as it is; the model types' own classes build parts of it anew.
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": metadata.positive(".context_length"),
        "clean_up_tokenization_spaces": False,
        **special,
    }
    if metadata.has("tokenizer.chat_template"):
        config["chat_template"] = metadata.text("tokenizer.chat_template")
    return config


def _special_tokens(metadata: Metadata, tokens: list[str]) -> dict[str, str]:
    names = {"bos": "bos_token", "eos": "eos_token", "unknown": "unk_token", "padding": "pad_token"}
    found = {}
    for name, hf_name in names.items():
        key = f"tokenizer.ggml.{name}_token_id"
        if metadata.has(key):
            index = metadata.integer(key)
            if index >= len(tokens):
                raise RequestError(f"GGUF metadata: {key}: expected below {len(tokens)}, got {index}")
            found[hf_name] = tokens[index]
    if "eos_token" not in found:
        raise RequestError("GGUF metadata: tokenizer.ggml.eos_token_id is missing")
    return found


def _end_ids(metadata: Metadata, vocabulary: dict[str, int], special: dict[str, str]) -> list[int]:
    ids = [vocabulary[special["eos_token"]]]
    if metadata.has("tokenizer.ggml.eot_token_id"):
        ids.append(metadata.integer("tokenizer.ggml.eot_token_id"))
    ids += [vocabulary[token] for token in END_TOKENS if token in vocabulary]
    return [*dict.fromkeys(ids)]


def _added_tokens(tokens: list[str], types: list[int]) -> list[dict[str, object]]:
    return [
        {
            "id": index,
            "content": token,
            "special": kind != USER_DEFINED,
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
        }
        for index, (token, kind) in enumerate(zip(tokens, types, strict=True))
        if kind in (UNKNOWN, CONTROL, USER_DEFINED)
    ]


def _byte_level(metadata: Metadata, vocabulary: dict[str, int]) -> dict[str, object]:
    normalizer: object = None
    match _pre(metadata):
        case "gpt-2":
            pre_tokenizer: object = _bytes(use_regex=True)
        case "smollm":
            digits = {"type": "Digits", "individual_digits": True}
            pre_tokenizer = {"type": "Sequence", "pretokenizers": [digits, _bytes(use_regex=True)]}
        case "llama-bpe":
            pre_tokenizer = _split(_LLAMA3_PATTERN)
        case "qwen2":
            pre_tokenizer = _split(_QWEN2_PATTERN)
            normalizer = {"type": "NFC"}
        case other:
            raise RequestError(
                f"GGUF pre-tokenizer {other!r} is not supported; "
                "supported are gpt-2, default, smollm, llama-bpe and qwen2"
            )
    merges = [merge.split(" ") for merge in metadata.texts("tokenizer.ggml.merges")]
    if any(len(merge) != 2 for merge in merges):
        raise RequestError("GGUF tokenizer: a merge that is not two tokens")
    return {
        "normalizer": normalizer,
        "pre_tokenizer": pre_tokenizer,
        "post_processor": _bytes(use_regex=True, trim_offsets=False),
        "decoder": _bytes(use_regex=True),
        # Llama 3 takes a word that is a token whole, whatever the merges say.
        "model": _bpe(vocabulary, merges, ignore_merges=_pre(metadata) == "llama-bpe"),
    }


def _pre(metadata: Metadata) -> str:
    pre = metadata.text("tokenizer.ggml.pre", "default")
    same = {
        "default": "gpt-2",
        "gpt2": "gpt-2",
        "llama3": "llama-bpe",
        "llama-v3": "llama-bpe",
        "deepseek-r1-qwen": "qwen2",
    }
    return same.get(pre, pre)


def _bytes(*, use_regex: bool, trim_offsets: bool = True) -> dict[str, object]:
    return {
        "type": "ByteLevel",
        "add_prefix_space": False,
        "trim_offsets": trim_offsets,
        "use_regex": use_regex,
    }


def _split(pattern: str) -> dict[str, object]:
    split = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
    return {"type": "Sequence", "pretokenizers": [split, _bytes(use_regex=False)]}


def _sentencepiece(metadata: Metadata, vocabulary: dict[str, int], types: list[int]) -> dict[str, object]:
    scores = [float(score) for score in metadata.array("tokenizer.ggml.scores")]
    if len(scores) != len(types):
        raise RequestError(f"GGUF tokenizer: {len(types)} tokens but {len(scores)} scores")
    mergeable = {
        token: index for token, index in vocabulary.items() if types[index] not in (UNKNOWN, CONTROL, BYTE)
    }
    unknown = next((token for token, index in vocabulary.items() if types[index] == UNKNOWN), None)
    spaces: list[object] = [{"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]
    if metadata.flag("tokenizer.ggml.add_space_prefix", default=True):
        spaces.insert(0, {"type": "Prepend", "prepend": "▁"})
        strip: list[object] = [{"type": "Strip", "content": " ", "start": 1, "stop": 0}]
    else:
        strip = []
    words = {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}
    return {
        "normalizer": {"type": "Sequence", "normalizers": spaces},
        "pre_tokenizer": None,
        "post_processor": None,
        "decoder": {
            "type": "Sequence",
            "decoders": [words, {"type": "ByteFallback"}, {"type": "Fuse"}, *strip],
        },
        "model": _bpe(
            vocabulary,
            _merges_from_scores(mergeable, scores),
            unk_token=unknown,
            fuse_unk=True,
            byte_fallback=True,
        ),
    }


def _merges_from_scores(vocabulary: dict[str, int], scores: list[float]) -> list[list[str]]:
    """SentencePiece merges the pair whose union scores best; as a list of merges, best first."""
    ranked = []
    for token, index in vocabulary.items():
        for cut in range(1, len(token)):
            left, right = token[:cut], token[cut:]
            if left in vocabulary and right in vocabulary:
                ranked.append((-scores[index], vocabulary[left], vocabulary[right], left, right))
    ranked.sort()
    return [[left, right] for *_, left, right in ranked]


def _bpe(
    vocabulary: dict[str, int],
    merges: list[list[str]],
    *,
    unk_token: str | None = None,
    fuse_unk: bool = False,
    byte_fallback: bool = False,
    ignore_merges: bool = False,
) -> dict[str, object]:
    return {
        "type": "BPE",
        "dropout": None,
        "unk_token": unk_token,
        "continuing_subword_prefix": None,
        "end_of_word_suffix": None,
        "fuse_unk": fuse_unk,
        "byte_fallback": byte_fallback,
        "ignore_merges": ignore_merges,
        "vocab": vocabulary,
        "merges": merges,
    }


def _start_with(token: str, index: int, then: object) -> dict[str, object]:
    """A post-processor that puts *token* before each text."""
    first, text = {"SpecialToken": {"id": token, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}
    second = {"Sequence": {"id": "B", "type_id": 1}}
    template: dict[str, object] = {
        "type": "TemplateProcessing",
        "single": [first, text],
        "pair": [first, text, {"SpecialToken": {"id": token, "type_id": 1}}, second],
        "special_tokens": {token: {"id": token, "ids": [index], "tokens": [token]}},
    }
    return template if then is None else {"type": "Sequence", "processors": [then, template]}


def _as_int(value: object) -> int:
    return value if isinstance(value, int) else 0
