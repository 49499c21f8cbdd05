"""Questions about imported models, answered in the text environment.

Reads a JSON line for each question on stdin, and writes one with the answer on stdout. Oracles are the gguf
package (blocks, writing files), sentencepiece and mlx-lm; nothing of ours but the importer.
"""

from __future__ import annotations

import itertools
import json
import os
import sys
from pathlib import Path
from typing import Any

import gguf
import mlx.core as mx
import numpy as np
import regex
from gguf.quants import dequantize, quantize


def weights(file: str, folder: str) -> dict[str, Any]:
    """How far each imported tensor is from what the gguf package reads; exact means 0."""
    ours = mx.load(f"{folder}/model.safetensors")
    config = json.loads(Path(folder, "config.json").read_text())
    names = _names(config["num_hidden_layers"])
    worst = {}
    for tensor in gguf.GGUFReader(file).tensors:
        layer = names[tensor.name.rpartition(".")[0]]
        expected = dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
        heads = {"attn_q": "num_attention_heads", "attn_k": "num_key_value_heads"}.get(
            tensor.name.split(".")[-2]
        )
        if heads and config["model_type"] == "llama":
            # The inverse of what llama.cpp's converter does to these rows.
            shape = expected.shape
            expected = expected.reshape(config[heads], shape[0] // config[heads] // 2, 2, *shape[1:])
            expected = expected.swapaxes(1, 2).reshape(shape)
        found = _values(ours, layer, tensor.name.rpartition(".")[2], config)
        worst[tensor.name] = float(np.abs(found - expected).max() / max(1e-9, np.abs(expected).max()))
    return {"worst": worst, "num_ours": len({name.rpartition(".")[0] for name in ours})}


def tokenize(folder: str, texts: list[str]) -> dict[str, Any]:
    """Token ids of each text, and the text back from them."""
    from mlx_lm.utils import load_tokenizer

    tokenizer = load_tokenizer(Path(folder))
    ids = [tokenizer.encode(text, add_special_tokens=False) for text in texts]
    with_special = [tokenizer.encode(text) for text in texts]
    return {"ids": ids, "with_special": with_special, "texts": [tokenizer.decode(one) for one in ids]}


def reference(file: str, texts: list[str]) -> dict[str, Any]:
    """Token ids by the textbook: GPT-2's byte-level BPE, digits split first, from the file's fields."""
    fields = gguf.GGUFReader(file).fields
    tokens = fields["tokenizer.ggml.tokens"].contents()
    vocabulary = {token: index for index, token in enumerate(tokens)}
    merges = fields["tokenizer.ggml.merges"].contents()
    ranks = {tuple(merge.split(" ")): rank for rank, merge in enumerate(merges)}
    types = fields["tokenizer.ggml.token_type"].contents()
    control = [tokens[index] for index, kind in enumerate(types) if kind == 3]
    # GPT-2's table: printable bytes stand for themselves, the others for the characters from 256 on.
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    letters = {byte: chr(byte) for byte in printable} | {byte: chr(256 + n) for n, byte in enumerate(others)}
    specials = regex.compile("(" + "|".join(map(regex.escape, control)) + ")")
    words = regex.compile(r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+")

    def encode(text: str) -> list[int]:
        ids: list[int] = []
        for part in specials.split(text):
            if part in control:
                ids.append(vocabulary[part])
                continue
            for piece in regex.split(r"(\p{N})", part):
                for word in words.findall(piece):
                    ids += [vocabulary[token] for token in merge([letters[byte] for byte in word.encode()])]
        return ids

    def merge(word: list[str]) -> list[str]:
        while len(word) > 1:
            pairs = [ranks.get(pair, len(ranks)) for pair in itertools.pairwise(word)]
            best = min(pairs)
            if best == len(ranks):
                break
            at = pairs.index(best)
            word = [*word[:at], word[at] + word[at + 1], *word[at + 2 :]]
        return word

    return {"ids": [encode(text) for text in texts]}


def answer(folder: str, question: str) -> dict[str, Any]:
    """The model's greedy answer to a chat question, in float32."""
    from mlx_lm import load, stream_generate

    mx.set_default_device(mx.cpu)
    model, tokenizer = load(folder)
    model.set_dtype(mx.float32)
    messages = [{"role": "user", "content": question}]
    prompt = tokenizer.apply_chat_template(messages, add_generation_prompt=True)
    chunks = list(stream_generate(model, tokenizer, prompt, max_tokens=16))
    return {"text": "".join(one.text for one in chunks), "finish_reason": chunks[-1].finish_reason}


def logits(folder: str, ids: list[int]) -> dict[str, Any]:
    """Whether mlx-lm loads the folder strictly and computes numbers."""
    from mlx_lm import load

    mx.set_default_device(mx.cpu)
    model, _ = load(folder)
    values = model(mx.array([ids])).astype(mx.float32)
    return {"shape": list(values.shape), "is_finite": bool(mx.isfinite(values).all().item())}


def write(file: str, architecture: str, types: dict[str, str], tokenizer: dict[str, Any]) -> dict[str, Any]:
    """Write a tiny random model of a family; *types* gives a type by a part of the name, "" for the rest."""
    rng = np.random.default_rng(7)
    hidden, wide, heads, kv_heads, head_dim, tokens = 256, 512, 4, 2, 64, tokenizer["tokens"]
    writer = gguf.GGUFWriter(file, architecture)
    writer.add_context_length(128)
    writer.add_embedding_length(hidden)
    writer.add_block_count(1)
    writer.add_feed_forward_length(wide)
    writer.add_head_count(heads)
    writer.add_head_count_kv(kv_heads)
    writer.add_key_length(head_dim)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_rope_freq_base(10000.0)
    writer.add_tokenizer_model(tokenizer["model"])
    writer.add_token_list(tokens)
    writer.add_token_types(tokenizer["types"])
    if "scores" in tokenizer:
        writer.add_token_scores(tokenizer["scores"])
    else:
        writer.add_tokenizer_pre(tokenizer["pre"])
        writer.add_token_merges(tokenizer["merges"])
    writer.add_eos_token_id(tokenizer["eos"])
    if "bos" in tokenizer:
        writer.add_bos_token_id(tokenizer["bos"])
    shapes: dict[str, tuple[int, ...]] = {
        "token_embd.weight": (len(tokens), hidden),
        "output_norm.weight": (hidden,),
        "output.weight": (len(tokens), hidden),
        "blk.0.attn_norm.weight": (hidden,),
        "blk.0.attn_q.weight": (heads * head_dim, hidden),
        "blk.0.attn_k.weight": (kv_heads * head_dim, hidden),
        "blk.0.attn_v.weight": (kv_heads * head_dim, hidden),
        "blk.0.attn_output.weight": (hidden, heads * head_dim),
        "blk.0.ffn_norm.weight": (hidden,),
        "blk.0.ffn_gate.weight": (wide, hidden),
        "blk.0.ffn_up.weight": (wide, hidden),
        "blk.0.ffn_down.weight": (hidden, wide),
    }
    if architecture == "qwen2":
        for name, rows in (("q", heads), ("k", kv_heads), ("v", kv_heads)):
            shapes[f"blk.0.attn_{name}.bias"] = (rows * head_dim,)
    if architecture == "qwen3":
        shapes |= {"blk.0.attn_q_norm.weight": (head_dim,), "blk.0.attn_k_norm.weight": (head_dim,)}
    for name, shape in shapes.items():
        values = rng.normal(0, 0.05, shape).astype(np.float32)
        kind = (
            "F32"
            if len(shape) == 1
            else next((types[part] for part in types if part and part in name), types[""])
        )
        number = gguf.GGMLQuantizationType[kind]
        if kind in ("Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_NL", "IQ4_XS"):
            # The package cannot write these: random bytes are blocks as well, with sane scales put in.
            data = _random_blocks(rng, shape, number)
        else:
            data = quantize(values, number)
        writer.add_tensor(name, data, raw_dtype=number)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return {}


def sentencepiece_model(folder: str) -> dict[str, Any]:
    """Train a small SentencePiece tokenizer; its GGUF fields, and ids of texts by the library itself."""
    import sentencepiece

    words = [
        "the",
        "capital",
        "of",
        "France",
        "is",
        "Paris",
        "hello",
        "world",
        "tokens",
        "and",
        "more",
        "words",
    ]
    lines = [" ".join(words[(i * k) % len(words)] for k in range(1, 9)) for i in range(200)]
    Path(folder, "corpus.txt").write_text("\n".join(lines))
    sentencepiece.SentencePieceTrainer.train(
        input=f"{folder}/corpus.txt",
        model_prefix=f"{folder}/spm",
        vocab_size=340,
        model_type="bpe",
        byte_fallback=True,
        character_coverage=1.0,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    processor = sentencepiece.SentencePieceProcessor(model_file=f"{folder}/spm.model")
    texts = ["the capital of France", "hello  world", "Paris is", "héllo 🙂", "wordsmore", " led", "x\ny"]
    count = processor.vocab_size()
    kinds = [
        2 if processor.is_unknown(i) else 3 if processor.is_control(i) else 6 if processor.is_byte(i) else 1
        for i in range(count)
    ]
    fields = {
        "model": "llama",
        "tokens": [processor.id_to_piece(i) for i in range(count)],
        "scores": [processor.get_score(i) for i in range(count)],
        "types": kinds,
        "bos": processor.bos_id(),
        "eos": processor.eos_id(),
    }
    return {"fields": fields, "texts": texts, "ids": [processor.encode(text) for text in texts]}


def block_sizes() -> dict[str, Any]:
    """Number, name and sizes of all block types, by the gguf package."""
    return {str(int(kind)): [kind.name, *sizes] for kind, sizes in gguf.GGML_QUANT_SIZES.items()}


def _values(ours: dict[str, mx.array], layer: str, part: str, config: dict[str, Any]) -> np.ndarray:
    tensor = ours[f"{layer}.{part}"]
    if f"{layer}.scales" not in ours or part != "weight":
        return np.array(tensor.astype(mx.float32))
    section = config["quantization"]
    bits = section.get(layer, section)["bits"]
    # In float32, for MLX's own arithmetic in float16 rounds what the blocks hold exactly.
    scales, biases = (ours[f"{layer}.{name}"].astype(mx.float32) for name in ("scales", "biases"))
    return np.array(mx.dequantize(tensor, scales, biases, group_size=section["group_size"], bits=bits))


def _names(num_layers: int) -> dict[str, str]:
    table = {
        "attn_norm": "input_layernorm",
        "ffn_norm": "post_attention_layernorm",
        "attn_output": "self_attn.o_proj",
        "attn_q_norm": "self_attn.q_norm",
        "attn_k_norm": "self_attn.k_norm",
        **{f"attn_{x}": f"self_attn.{x}_proj" for x in "qkv"},
        **{f"ffn_{x}": f"mlp.{x}_proj" for x in ("gate", "up", "down")},
    }
    names = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
    for number in range(num_layers):
        names |= {f"blk.{number}.{theirs}": f"model.layers.{number}.{hf}" for theirs, hf in table.items()}
    return names


def _random_blocks(rng: Any, shape: tuple[int, ...], kind: gguf.GGMLQuantizationType) -> np.ndarray:
    size, num_bytes = gguf.GGML_QUANT_SIZES[kind]
    blocks = rng.integers(0, 256, (*shape[:-1], shape[-1] // size, num_bytes), dtype=np.uint8)
    # Where each type keeps its float16 scales, from ggml-common.h.
    at = {"Q2_K": (80, 82), "Q3_K": (108,), "Q4_K": (0, 2), "Q5_K": (0, 2), "Q6_K": (208,)}
    for offset in at.get(kind.name, (0,)):
        scales = rng.uniform(1e-4, 2e-3, blocks.shape[:-1]).astype(np.float16)
        blocks[..., offset : offset + 2] = scales[..., None].view(np.uint8)
    return blocks.reshape(*shape[:-1], -1)


QUESTIONS = {
    question.__name__: question
    for question in (weights, tokenize, reference, answer, logits, write, sentencepiece_model, block_sizes)
}


def main() -> None:
    """Answer until there are no more questions."""
    answers = os.fdopen(os.dup(1), "w")
    # What the libraries print is no answer.
    os.dup2(2, 1)
    for line in sys.stdin:
        name, arguments = json.loads(line)
        answers.write(json.dumps(QUESTIONS[name](**arguments)) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
