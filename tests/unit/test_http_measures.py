"""What the frontend counts: by model, but never by a name that a client made up."""

from __future__ import annotations

from plugins.http.measures import MAX_MODELS, OTHER, Histogram, Measures, RequestKey, TokenKey
from transports.messages import Done, Timings, Usage

CHAT = "/v1/chat/completions"


def end(num_tokens: int = 11, ttft_s: float = 0.5, total_s: float = 1.5) -> Done:
    usage = Usage(prompt_tokens=7, completion_tokens=num_tokens, cached_tokens=3)
    timings = Timings(ttft_s=ttft_s, total_s=total_s)
    return Done(id="x" * 8, finish_reason="stop", usage=usage, timings=timings)


def test_a_good_answer_is_counted_with_its_tokens_and_times() -> None:
    measures = Measures()
    measures.ended(CHAT, 200, "", "m", 2.0, [end(), end()])

    assert measures.requests == {RequestKey(CHAT, 200, "", "m"): 1}
    tokens = {TokenKey("m", "prompt"): 14, TokenKey("m", "cached"): 6, TokenKey("m", "completion"): 22}
    assert measures.tokens == tokens
    assert (sum(measures.duration_s[CHAT, "m"].counts), measures.duration_s[CHAT, "m"].total) == (1, 2.0)
    assert (sum(measures.first_token_s["m"].counts), measures.first_token_s["m"].total) == (2, 1.0)
    assert measures.output_token_s["m"].total == 0.2


def test_an_answer_of_one_token_has_no_time_between_tokens() -> None:
    measures = Measures()
    measures.ended(CHAT, 200, "", "m", 2.0, [end(1), end(0)])

    assert sum(measures.first_token_s["m"].counts) == 1
    assert not measures.output_token_s


def test_names_that_clients_make_up_are_one_name() -> None:
    measures = Measures()
    for number in range(1000):
        measures.ended(CHAT, 404, "model_not_found", f"invented-{number}", 0.01, [])

    assert measures.requests == {RequestKey(CHAT, 404, "model_not_found", OTHER): 1000}


def test_a_model_that_has_answered_is_known_by_name_when_it_fails() -> None:
    measures = Measures()
    measures.ended(CHAT, 200, "", "m", 0.01, [end()])
    measures.ended(CHAT, 502, "worker_crashed", "m", 0.01, [])
    measures.ended("/health", 200, "", "", 0.01, [])

    assert [key.model for key in measures.requests] == ["m", "m", ""]


def test_the_number_of_names_is_bounded() -> None:
    measures = Measures()
    for number in range(2 * MAX_MODELS):
        measures.ended(CHAT, 200, "", f"model-{number}", 0.01, [end()])

    assert len(measures.requests) == MAX_MODELS + 1


def test_a_histogram_counts_a_bound_with_what_is_below_it() -> None:
    histogram = Histogram((1.0, 2.0))
    for value in (0.5, 1.0, 1.5, 5.0):
        histogram.observe(value)

    assert (histogram.counts, histogram.total) == ([2, 1, 1], 8.0)
