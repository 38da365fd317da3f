from collections import OrderedDict, deque
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.domain import DecodeOptions, Task
from serve_app.stages.batching import Bucket, bucket_of, next_batch
from tests.fakes import job

# An item is (owner, position in its queue, bucket).
Queues = st.dictionaries(
    st.sampled_from("abcdef"), st.lists(st.sampled_from("XYZ"), min_size=1, max_size=12), max_size=6
)


def drain(buckets: dict[str, list[str]], size: int) -> list[list[tuple[str, int, str]]]:
    """Take batches as the gate does, until nothing waits."""
    queues = OrderedDict(
        (owner, deque((owner, i, b) for i, b in enumerate(bs))) for owner, bs in buckets.items()
    )
    batches = []
    while queues:
        batch = next_batch(queues, lambda item: item[2], size)
        batches.append(batch)
        for item in batch:
            queues[item[0]].remove(item)
        for owner in [o for o in queues if o in {item[0] for item in batch}]:
            queues.move_to_end(owner)
            if not queues[owner]:
                del queues[owner]
    return batches


@given(Queues, st.integers(1, 8))
def test_every_item_leaves_exactly_once_whatever_the_mix(
    buckets: dict[str, list[str]], size: int
) -> None:
    left = [item for batch in drain(buckets, size) for item in batch]
    assert sorted(left) == sorted((o, i, b) for o, bs in buckets.items() for i, b in enumerate(bs))


@given(Queues, st.integers(1, 8))
def test_a_batch_holds_one_bucket_and_no_more_than_its_size(
    buckets: dict[str, list[str]], size: int
) -> None:
    for batch in drain(buckets, size):
        assert 1 <= len(batch) <= size
        assert len({bucket for _, _, bucket in batch}) == 1


@given(Queues, st.integers(1, 8))
def test_items_of_one_owner_and_bucket_leave_in_their_order(
    buckets: dict[str, list[str]], size: int
) -> None:
    left = [item for batch in drain(buckets, size) for item in batch]
    for key in {(o, b) for o, _, b in left}:
        positions = [i for o, i, b in left if (o, b) == key]
        assert positions == sorted(positions)


@given(Queues, st.integers(1, 8))
def test_nobody_waits_longer_than_one_turn_of_everybody(
    buckets: dict[str, list[str]], size: int
) -> None:
    batches = drain(buckets, size)
    for owner in buckets:
        first = next(i for i, b in enumerate(batches) if any(item[0] == owner for item in b))
        assert first < len(buckets)


def test_a_short_request_shares_the_next_batch_with_a_long_one() -> None:
    queues = {"long": [("long", i) for i in range(100)], "short": [("short", 0)]}
    assert ("short", 0) in next_batch(queues, lambda _: "same", 8)


def test_an_unripe_bucket_lets_the_next_owner_lead() -> None:
    queues = {"a": [("a", "X")], "b": [("b", "Y")]}
    batch = next_batch(queues, lambda i: i[1], 8, is_ripe=lambda items: items[0][1] == "Y")
    assert batch == [("b", "Y")]


def test_nothing_ripe_gives_no_batch() -> None:
    assert next_batch({"a": [1]}, lambda _: 0, 8, is_ripe=lambda _: False) == []


def bucket(options: DecodeOptions, *, n_prompt_tokens: int = 0, n_frames: int = 3000) -> Bucket:
    return bucket_of(job(options=options), n_prompt_tokens=n_prompt_tokens, n_frames=n_frames)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"best_of": 5}, {"best_of": 2}),
        ({"language": "en"}, {"language": "tr"}),
        ({"prompt": "one"}, {"prompt": "two"}),
        ({"hotwords": "one"}, {"hotwords": "two"}),
        ({"task": Task.TRANSCRIBE}, {"task": Task.TRANSLATE}),
        (
            {"temperatures": (0.4,), "beam_size": 5, "patience": 2.0},
            *({"temperatures": (0.4,), "beam_size": 1, "patience": 1.0},),
        ),
    ],
    ids=lambda options: next(iter(options)),
)
def test_what_may_differ_from_row_to_row_does_not_part_a_batch(
    one: dict[str, Any], other: dict[str, Any]
) -> None:
    assert bucket(DecodeOptions(**one)) == bucket(DecodeOptions(**other))


@pytest.mark.parametrize(
    "other",
    [
        {"beam_size": 5},
        {"patience": 2.0},
        {"timestamps": True},
        {"words": True},
        {"temperatures": (0.4,)},
        {"repetition_penalty": 1.1},
        {"max_new_tokens": 5},
        {"suppress_tokens": (-1, 7)},
    ],
    ids=lambda options: next(iter(options)),
)
def test_what_one_call_has_one_value_of_parts_batches(other: dict[str, Any]) -> None:
    assert bucket(DecodeOptions()) != bucket(DecodeOptions(**other))


def test_prompt_length_and_window_part_batches() -> None:
    plain = bucket(DecodeOptions())
    assert plain != bucket(DecodeOptions(), n_prompt_tokens=3)
    assert plain != bucket(DecodeOptions(), n_frames=500)


def test_words_of_two_languages_are_aligned_apart() -> None:
    one, other = (DecodeOptions(words=True, language=code) for code in ("en", "tr"))
    assert bucket(one) != bucket(other)
