"""What a chat says besides its messages: tools, thinking, forced calls. Knows no mlx."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from transports.errors import TaskNotSupported
from transports.messages import ChatRequest, Grammar
from workers.generation.answers import AnswerFormat, AnswerReader
from workers.generation.call_grammars import CallsOrAnswer, calls_or_answer, forced_calls
from workers.generation.prompts import Prompts
from workers.generation.template_turns import Fields
from workers.generation.thoughts import NO_THINKING, ThinkingTokens, ThoughtLimit, Thoughts
from workers.generation.tool_calls import Tools, tools_of

# People see it who use a program that sends tools with every turn, as agents do.
_LEAVE_OUT = "leave them out, or set http.ignore_unusable_fields = true"


@dataclass(frozen=True, slots=True)
class ChatTerms:
    """Of one request."""

    # What the chat template is told.
    fields: Fields
    # What the answer may call.
    tools: Tools | None
    # What the answer keeps to.
    grammar: Grammar | CallsOrAnswer | None
    max_thought_tokens: int | None
    form: AnswerFormat
    thinking: ThinkingTokens

    def reader(self, request_id: str, prompt: Sequence[int]) -> AnswerReader | None:
        """Tells the answer to *prompt* apart; None where it is text and nothing else."""
        if not self.form.think_start and self.tools is None:
            return None
        is_thinking = Thoughts(self.thinking, prompt).is_thinking
        return AnswerReader(
            request_id,
            self.form,
            self.tools,
            is_thinking=is_thinking,
            calls_first=isinstance(self.grammar, CallsOrAnswer),
        )

    def limit(self, reader: AnswerReader) -> ThoughtLimit | None:
        """Of the thoughts in that answer."""
        if self.max_thought_tokens is None or not self.thinking.end:
            return None
        return ThoughtLimit(self.max_thought_tokens, self.thinking.end, is_thinking=reader.is_thinking)


def terms_of(body: ChatRequest, prompts: Prompts, form: AnswerFormat, thinking: ThinkingTokens) -> ChatTerms:
    """Read *body*.

    Raises:
        RequestError: The model cannot do that.
    """
    tools = tools_of(body)
    if tools is not None and not prompts.shows_tools:
        raise TaskNotSupported(f"tools: this model's chat template shows none; {_LEAVE_OUT}", param="tools")
    if tools is not None and form.calls is None:
        raise TaskNotSupported(
            f"tools: this model's way of calling them is not known here; {_LEAVE_OUT}", param="tools"
        )
    grammar = _grammar(body, prompts, form, tools)
    max_thought_tokens = body.reasoning.max_tokens
    if body.reasoning.enabled is False:
        # A template that cannot be told not to think leaves it to the grammar, or to the limit.
        max_thought_tokens = 0
        thinking = thinking if grammar is None else NO_THINKING
    return ChatTerms(
        fields=prompts.told(tools, body.reasoning),
        tools=tools,
        grammar=grammar,
        max_thought_tokens=max_thought_tokens,
        form=form,
        thinking=thinking,
    )


def _grammar(
    body: ChatRequest, prompts: Prompts, form: AnswerFormat, tools: Tools | None
) -> Grammar | CallsOrAnswer | None:
    if tools is None or form.calls is None:
        return body.grammar
    if body.tool_choice.mode == "required":
        # What the text of the answer keeps to does not matter: there is none.
        return forced_calls(form.calls, tools, body.tool_choice, prompts.find)
    if body.grammar is not None:
        return calls_or_answer(form.calls, tools, body.grammar, prompts.find)
    return None
