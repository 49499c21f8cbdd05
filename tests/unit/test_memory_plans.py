"""How much memory a model will take, what it gets, and what is said where it does not fit."""

from __future__ import annotations

import pytest

from kernel.memory import LEAST_CONTEXT_TOKENS, KindFacts, MemoryPlans, Plan, budget_of
from kernel.model_sizes import ModelSizes
from transports.settings import MIB, ModelOptions

GIB = 1024**3
KIB = 1024
# Llama 3.1 8B in 4 bits: 128 KiB a token.
LLAMA_8B = ModelSizes(
    weights_bytes=4_500 * MIB,
    dense_weights_bytes=30 * GIB,
    kv_values=64 * KIB,
    context_tokens=131_072,
)
SMALL = ModelSizes(
    weights_bytes=100 * MIB, dense_weights_bytes=500 * MIB, kv_values=1024, context_tokens=8192
)
# What an engine takes besides.
OVERHEAD_BYTES = 256 * MIB
SECTION = {"num_slots": 32, "prompt_cache_bytes": GIB, "max_context_tokens": 0, "kv_cache_bytes": 0}


def plans(budget_bytes: int, has_gpu: bool = True, **of_model: object) -> MemoryPlans:
    text = KindFacts(settings=SECTION, overhead_bytes=OVERHEAD_BYTES, is_on_gpu=has_gpu)
    vision = KindFacts(
        is_on_gpu=has_gpu,
        settings=SECTION | {"image_cache_bytes": 256 * MIB},
        overhead_bytes=OVERHEAD_BYTES,
        takes_images=True,
    )
    options = {"m": ModelOptions(**of_model)}  # type: ignore[arg-type]
    return MemoryPlans(budget_bytes, {"text": text, "vision": vision}, options)


def plan(sizes: ModelSizes, budget_bytes: int = 1000 * GIB, kind: str = "text", **of_model: object) -> Plan:
    return plans(budget_bytes, **of_model).plan("m", kind, sizes)


# --- the budget ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("memory_gib", "budget_gib"),
    [(128, 108), (64, 44), (48, 40), (36, 28), (24, 16), (18, 14), (16, 12), (8, 4), (4, 1), (2, 0.5)],
)
def test_the_budget_leaves_the_machine_its_own(memory_gib: float, budget_gib: float) -> None:
    memory_bytes = int(memory_gib * GIB)

    assert budget_gib * GIB == budget_of(memory_bytes, memory_bytes)


def test_models_have_no_more_than_the_gpu_may_have() -> None:
    assert budget_of(32 * GIB, 21 * GIB) == 21 * GIB
    assert budget_of(64 * GIB, 48 * GIB) == 44 * GIB


@pytest.mark.parametrize(("built_in_gib", "left_gib"), [(64, 20), (24, 8), (16, 4)])
def test_a_system_that_reports_a_little_less_is_of_the_same_tier(built_in_gib: int, left_gib: int) -> None:
    reported = built_in_gib * GIB * 97 // 100

    assert reported - left_gib * GIB == budget_of(reported, reported)


# --- the plan -----------------------------------------------------------------------------------


def test_a_cpu_has_dense_weights_and_keys() -> None:
    on_gpu = plans(1000 * GIB).plan("m", "text", SMALL)
    on_cpu = plans(1000 * GIB, has_gpu=False).plan("m", "text", SMALL)

    assert (on_gpu.weights_bytes, on_gpu.least_kv_bytes) == (100 * MIB, 8192 * 1024 * 2)
    assert (on_cpu.weights_bytes, on_cpu.least_kv_bytes) == (500 * MIB, 8192 * 1024 * 4)


def test_a_model_wants_one_longest_sequence_and_a_prompt_cache() -> None:
    found = plan(SMALL)

    assert found.least_bytes == 100 * MIB + OVERHEAD_BYTES + 16 * MIB
    # 32 sequences of 16 MiB are less than a prompt cache of 1 GiB.
    assert found.wanted_kv_bytes == 512 * MIB
    assert plan(LLAMA_8B).wanted_kv_bytes == 16 * GIB + GIB


def test_a_grant_is_what_is_free_between_the_least_and_the_wanted() -> None:
    found = plan(SMALL)

    assert found.grant(found.least_bytes) == found.least_kv_bytes
    assert found.grant(found.least_bytes + MIB) == found.least_kv_bytes + MIB
    assert found.grant(1000 * GIB) == found.wanted_kv_bytes


def test_a_long_context_gets_a_quarter_of_the_budget() -> None:
    """Llama's 131,072 tokens would take 16 GiB, more than a machine of 16 GB has."""
    found = plan(LLAMA_8B, 12 * GIB)

    assert found.context_tokens == 3 * GIB // (128 * KIB)
    assert found.least_kv_bytes == 3 * GIB


def test_a_context_is_cut_to_what_the_weights_leave() -> None:
    budget_bytes = LLAMA_8B.weights_bytes + OVERHEAD_BYTES + GIB

    assert plan(LLAMA_8B, budget_bytes).context_tokens == GIB // (128 * KIB)
    assert plans(budget_bytes).refusal("m", "text", LLAMA_8B, {}) is None


def test_a_context_is_not_cut_below_some_pages() -> None:
    assert plan(LLAMA_8B, 1 * GIB).context_tokens == LEAST_CONTEXT_TOKENS


def test_a_context_that_somebody_asked_for_is_not_cut() -> None:
    assert plan(LLAMA_8B, 12 * GIB, max_context_tokens=100_000).context_tokens == 100_000
    assert plan(SMALL, max_context_tokens=100_000).context_tokens == 8192
    assert plan(SMALL, max_context_tokens=1000).least_kv_bytes == 1024 * 1024 * 2


def test_keys_and_values_that_somebody_asked_for_are_given() -> None:
    section = {"text": KindFacts(settings=SECTION | {"kv_cache_bytes": 7 * MIB})}

    found = MemoryPlans(1000 * GIB, section, {}).plan("m", "text", SMALL)

    assert (found.least_kv_bytes, found.wanted_kv_bytes) == (7 * MIB, 7 * MIB)


def test_pictures_count_for_models_that_look_at_them() -> None:
    sizes = ModelSizes(image_values=MIB)

    assert plan(sizes, kind="vision").images_bytes == 2 * MIB + 256 * MIB
    assert plan(sizes, kind="text").images_bytes == 0


def test_fewer_slots_want_less() -> None:
    assert plan(SMALL, num_slots=2).wanted_kv_bytes == 2 * 16 * MIB


def test_what_the_files_do_not_tell_counts_as_nothing() -> None:
    found = plan(ModelSizes(weights_bytes=MIB))

    assert (found.least_kv_bytes, found.context_tokens) == (0, 0)


# --- what the worker is told --------------------------------------------------------------------


def test_the_worker_is_told_its_share() -> None:
    of_16_gb = plans(12 * GIB)
    found = of_16_gb.plan("m", "text", LLAMA_8B)

    told = of_16_gb.load_settings("m", "text", found, 3 * GIB)

    assert told == SECTION | {"kv_cache_bytes": 3 * GIB, "max_context_tokens": 24_576}


def test_a_kind_without_such_settings_is_not_told() -> None:
    assert plans(GIB).load_settings("m", "echo", Plan(context_tokens=5), 7) == {}


# --- what does not fit --------------------------------------------------------------------------


def test_what_fits_is_not_refused() -> None:
    least = plan(SMALL, max_context_tokens=8192).least_bytes

    assert plans(least, max_context_tokens=8192).refusal("m", "text", SMALL, {}) is None
    assert plans(least - 1, max_context_tokens=8192).refusal("m", "text", SMALL, {}) is not None


def test_a_refusal_has_the_numbers_and_a_context_that_would_fit() -> None:
    error = plans(8 * GIB, max_context_tokens=131_072).refusal("m", "text", LLAMA_8B, {})

    assert error is not None
    assert error.message == (
        "m: needs 22.2 GB of memory (weights 4.7 GB, keys and values 17.2 GB for 131072 tokens, "
        "engine 268 MB); models may have 8.6 GB; max_context_tokens = 27392 would fit"
    )
    assert plans(8 * GIB, max_context_tokens=27_392).refusal("m", "text", LLAMA_8B, {}) is None
    assert plans(8 * GIB, max_context_tokens=27_648).refusal("m", "text", LLAMA_8B, {}) is not None


def test_a_refusal_names_who_holds_the_memory() -> None:
    error = plans(12 * GIB).refusal("m", "text", LLAMA_8B, {"a": 6 * GIB, "b": 2 * GIB})

    assert error is not None
    assert "models may have 12.9 GB, of which pinned ones hold 8.6 GB (a 6.4 GB, b 2.1 GB)" in error.message
    assert error.message.endswith(
        "(a 6.4 GB, b 2.1 GB); `mlxd unpin` makes room, and "
        "a quantisation whose weights take at most 805 MB would fit"
    )


def test_what_does_not_fit_even_alone_needs_more_than_an_unpin() -> None:
    error = plans(8 * GIB, max_context_tokens=131_072).refusal("m", "text", LLAMA_8B, {"a": 4 * GIB})

    assert error is not None
    assert error.message.endswith("; once `mlxd unpin` has made room, max_context_tokens = 27392 would fit")


def test_on_a_cpu_no_quantisation_makes_weights_smaller() -> None:
    """They are dense there, whatever the disk has."""
    error = plans(28 * GIB, has_gpu=False).refusal("m", "text", LLAMA_8B, {})

    assert error is not None
    assert error.message.endswith("a model whose weights take at most 28.7 GB as float32 would fit")


def test_keys_and_values_that_the_settings_ask_for_are_what_is_too_much() -> None:
    """A shorter context would change nothing."""
    settings = SECTION | {"kv_cache_bytes": 6 * GIB}
    made = MemoryPlans(8 * GIB, {"text": KindFacts(settings=settings, is_on_gpu=True)}, {})

    error = made.refusal("m", "text", LLAMA_8B, {})

    assert error is not None
    assert error.message.endswith("text.kv_cache_bytes = 3871342592 would fit")


def test_fewer_pictures_remembered_may_be_enough() -> None:
    least = plan(SMALL, kind="vision", max_context_tokens=4096).least_bytes
    made = plans(least - 100 * MIB, max_context_tokens=4096)

    error = made.refusal("m", "vision", SMALL, {})

    assert error is not None
    assert error.message.endswith("vision.image_cache_bytes = 163577856 would fit")


def test_a_refusal_may_have_nothing_to_advise() -> None:
    error = plans(GIB // 2).refusal("m", "text", LLAMA_8B, {})

    assert error is not None
    assert error.message.endswith(
        "it needs a larger kernel.memory_budget_bytes, or a machine with more memory"
    )
