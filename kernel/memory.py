"""What a model will take of the memory, and what it may have. Pure arithmetic, in bytes.

A model's memory is its weights, what its engine takes whatever it does, what looking at pictures takes, and
keys and values. Those are a grant: the worker keeps its running requests and its prompt cache within it.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from kernel.declaration import Setting
from kernel.memory_advice import Misfit, in_words, would_fit
from kernel.model_sizes import ModelSizes
from transports.errors import InsufficientMemory
from transports.reports import MemoryEstimate
from transports.settings import ModelOptions

GIB = 1024**3
# Memory of the machine -> what is left to everything else. Systems report a little less than is built in.
TIERS = ((60 * GIB, 20 * GIB), (22 * GIB, 8 * GIB), (0, 4 * GIB))
# Of a GPU's memory, what is left to the screen, other programs and the driver: a part, and at least so much.
GPU_LEFT_PART = 20
GPU_LEFT_BYTES = GIB
# Of the budget: at most keys and values of one sequence, where nobody says how long it may be ...
CONTEXT_PART = 4
# ... and no less than this, a conversation of some pages.
LEAST_CONTEXT_TOKENS = 4096


class KindFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker kind means for the memory of its models."""

    # Its settings, with the defaults of those that were not given.
    settings: Mapping[str, Setting] = {}
    overhead_bytes: int = 0
    takes_images: bool = False
    # Where weights stay as they are; a CPU has them as dense float32.
    is_on_gpu: bool = False


NOTHING_KNOWN = KindFacts()


def budget_of(memory_bytes: int, gpu_bytes: int) -> int:
    """What models may have of a machine with that much memory, of which a GPU may have *gpu_bytes*."""
    left_bytes = next(left for least, left in TIERS if memory_bytes >= least)
    return min(gpu_bytes, max(memory_bytes // 4, memory_bytes - left_bytes))


def gpu_budget_of(memory_bytes: int) -> int:
    """What models may have of a GPU with that much memory of its own."""
    left_bytes = max(GPU_LEFT_BYTES, memory_bytes // GPU_LEFT_PART)
    return max(memory_bytes // 2, memory_bytes - left_bytes)


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """How a model would be loaded."""

    weights_bytes: int = 0
    overhead_bytes: int = 0
    images_bytes: int = 0
    # The longest sequence; 0 leaves it to the worker.
    context_tokens: int = 0
    # Keys and values: no less than one such sequence, and no more than it has use for.
    least_kv_bytes: int = 0
    wanted_kv_bytes: int = 0

    @property
    def fixed_bytes(self) -> int:
        """All but keys and values."""
        return self.weights_bytes + self.overhead_bytes + self.images_bytes

    @property
    def least_bytes(self) -> int:
        """It is not loaded with less."""
        return self.fixed_bytes + self.least_kv_bytes

    def grant(self, free_bytes: int) -> int:
        """Keys and values that it gets of *free_bytes*, which are enough for the least."""
        return max(self.least_kv_bytes, min(self.wanted_kv_bytes, free_bytes - self.fixed_bytes))

    def estimate(self, kv_bytes: int) -> MemoryEstimate:
        """As administrators see it, with *kv_bytes* granted."""
        return MemoryEstimate(
            weights_bytes=self.weights_bytes,
            overhead_bytes=self.overhead_bytes,
            images_bytes=self.images_bytes,
            kv_bytes=kv_bytes,
            total_bytes=self.fixed_bytes + kv_bytes,
            context_tokens=self.context_tokens,
        )


class MemoryPlans:
    """Plans for the models of this kernel.

    Args:
        budget_bytes: For all models together.
        kinds: What is known of each worker kind.
        options: What the settings say of single models.
    """

    def __init__(
        self, budget_bytes: int, kinds: Mapping[str, KindFacts], options: Mapping[str, ModelOptions]
    ) -> None:
        self.budget_bytes = budget_bytes
        self._kinds = kinds
        self._options = options

    def settings(self, model: str, kind: str) -> dict[str, Setting]:
        """The worker kind's section, with what the settings say of this model in its place."""
        of_model = self._options.get(model, ModelOptions())
        return {**self._kinds.get(kind, NOTHING_KNOWN).settings, **of_model.for_worker()}

    def plan(self, model: str, kind: str, sizes: ModelSizes) -> Plan:
        """How *model* would be loaded."""
        settings = self.settings(model, kind)
        facts = self._kinds.get(kind, NOTHING_KNOWN)
        is_dense = not facts.is_on_gpu
        plan = Plan(
            weights_bytes=sizes.weights(is_dense=is_dense),
            overhead_bytes=facts.overhead_bytes,
            images_bytes=sizes.image_bytes(is_dense=is_dense) + _number(settings, "image_cache_bytes")
            if facts.takes_images
            else 0,
        )
        free_bytes = self.budget_bytes - plan.fixed_bytes
        context_tokens = self._context_tokens(settings, sizes, free_bytes, is_dense)
        least = wanted = sizes.kv_bytes(context_tokens, is_dense=is_dense)
        if given := _number(settings, "kv_cache_bytes"):
            least = wanted = given
        elif "kv_cache_bytes" in settings:
            # All slots at their longest have no use for more.
            more = least + _number(settings, "prompt_cache_bytes")
            wanted = min(more, max(1, _number(settings, "num_slots")) * least)
        return msgspec.structs.replace(
            plan, context_tokens=context_tokens, least_kv_bytes=least, wanted_kv_bytes=wanted
        )

    def load_settings(self, model: str, kind: str, plan: Plan, grant_bytes: int) -> dict[str, Setting]:
        """What the worker is told: the settings, and its share of the memory if its kind knows of such."""
        settings = self.settings(model, kind)
        share = {"kv_cache_bytes": grant_bytes, "max_context_tokens": plan.context_tokens}
        return settings | {key: value for key, value in share.items() if key in settings and value}

    def refusal(
        self, model: str, kind: str, sizes: ModelSizes, held: Mapping[str, int]
    ) -> InsufficientMemory | None:
        """Why *model* cannot be loaded, with the numbers, and what would fit; None when it can.

        Args:
            model: Its name.
            kind: Of its worker.
            sizes: Its own.
            held: What models have that do not leave, by name.
        """
        plan = self.plan(model, kind, sizes)
        free_bytes = self.budget_bytes - sum(held.values())
        if plan.least_bytes <= free_bytes:
            return None
        parts = [f"weights {in_words(plan.weights_bytes)}"]
        if plan.least_kv_bytes:
            parts.append(f"keys and values {in_words(plan.least_kv_bytes)} for {plan.context_tokens} tokens")
        if plan.images_bytes:
            parts.append(f"pictures {in_words(plan.images_bytes)}")
        parts.append(f"engine {in_words(plan.overhead_bytes)}")
        others = ", ".join(f"{name} {in_words(num_bytes)}" for name, num_bytes in held.items())
        budget = f"models may have {in_words(self.budget_bytes)}" + (
            f", of which pinned ones hold {in_words(sum(held.values()))} ({others})" if held else ""
        )
        return InsufficientMemory(
            f"{model}: needs {in_words(plan.least_bytes)} of memory ({', '.join(parts)}); {budget}; "
            f"{self._advice(plan, model, kind, sizes, held)}",
            param="model",
        )

    def _advice(self, plan: Plan, model: str, kind: str, sizes: ModelSizes, held: Mapping[str, int]) -> str:
        settings = self.settings(model, kind)
        is_dense = not self._kinds.get(kind, NOTHING_KNOWN).is_on_gpu
        misfit = Misfit(
            kind=kind,
            fixed_bytes=plan.fixed_bytes,
            weights_bytes=plan.weights_bytes,
            kv_bytes=plan.least_kv_bytes,
            context_tokens=plan.context_tokens,
            given_kv_bytes=_number(settings, "kv_cache_bytes"),
            image_cache_bytes=_number(settings, "image_cache_bytes") if plan.images_bytes else 0,
            is_dense=is_dense,
        )

        def into(free_bytes: int) -> str:
            tokens = sizes.tokens_in(max(0, free_bytes - plan.fixed_bytes), is_dense=is_dense)
            return would_fit(misfit, free_bytes, tokens)

        here = into(self.budget_bytes - sum(held.values()))
        if held and plan.least_bytes <= self.budget_bytes:
            return "`mlxd unpin` makes room" + (f", and {here}" if here else "")
        if held and not here and (alone := into(self.budget_bytes)):
            return f"once `mlxd unpin` has made room, {alone}"
        return here or "it needs a larger kernel.memory_budget_bytes, or a machine with more memory"

    def _context_tokens(
        self, settings: Mapping[str, Setting], sizes: ModelSizes, free_bytes: int, is_dense: bool
    ) -> int:
        """The longest sequence: as the settings say, else the model's own within a part of the budget."""
        own = sizes.context_tokens
        if given := _number(settings, "max_context_tokens"):
            return min(given, own) if own else given
        if not sizes.kv_bytes(1, is_dense=is_dense):
            return own
        affordable_bytes = max(0, min(self.budget_bytes // CONTEXT_PART, free_bytes))
        affordable = sizes.tokens_in(affordable_bytes, is_dense=is_dense)
        return min(own, max(affordable, LEAST_CONTEXT_TOKENS))


def _number(settings: Mapping[str, Setting], key: str) -> int:
    value = settings.get(key, 0)
    return value if isinstance(value, int) and not isinstance(value, bool) else 0
