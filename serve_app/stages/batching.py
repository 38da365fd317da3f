"""Which waiting chunks form the next batch. Pure; called by the gate (`scheduler.Gate`).

CTranslate2 takes one set of decode options per call and wants `<|startoftranscript|>` at the same
position in every row, so only chunks of one *bucket* may share a batch.
"""

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import TypeVar

from serve_app.domain import ChunkJob, DecodeOptions, Task

Item = TypeVar("Item")


@dataclass(frozen=True, kw_only=True)
class Bucket:
    """What must agree in one batch: two chunks share one exactly when their buckets are equal."""

    n_prompt_tokens: int  # before <|startoftranscript|>
    n_frames: int  # of the encoder's window
    temperature: float
    options: DecodeOptions  # less what may differ from row to row


def bucket_of(job: ChunkJob, *, n_prompt_tokens: int, n_frames: int) -> Bucket:
    """Return the bucket of a job.

    Every option parts batches unless it is known not to matter: a row has its own prompt text,
    language and task (but the alignment of words takes one language and task per call), and a
    search option matters only at the temperatures that use it.
    """
    options = replace(job.options, prompt=None, hotwords=None, temperatures=())
    if not options.words:
        options = replace(options, language=None, languages=(), task=Task.TRANSCRIBE)
    if job.temperature == 0:
        options = replace(options, best_of=1)
    else:
        options = replace(options, beam_size=1, patience=1.0)
    return Bucket(
        n_prompt_tokens=n_prompt_tokens,
        n_frames=n_frames,
        temperature=job.temperature,
        options=options,
    )


def next_batch(
    queues: Mapping[Hashable, Sequence[Item]],
    key: Callable[[Item], Hashable],
    max_batch_size: int,
    is_ripe: Callable[[Sequence[Item]], bool] = bool,
) -> list[Item]:
    """Choose the next batch: round-robin over owners, oldest first inside each, one bucket only.

    The owner whose turn it is (the first in `queues`) leads: its oldest item's bucket is the
    batch's. An owner passes its turn where that batch is not ripe yet.

    Args:
        queues: each owner's waiting items, oldest first; owners in the order of their turns.
        key: the bucket of an item.
        max_batch_size: the most items in a batch.
        is_ripe: whether these items should go now rather than wait for company.

    Returns:
        The items of the batch, the leader's oldest first; empty where nothing is ripe.
    """
    seen: set[Hashable] = set()
    for queue in queues.values():
        bucket = key(queue[0])
        if bucket in seen:
            continue
        seen.add(bucket)
        lanes = [(i for i in q if key(i) == bucket) for q in queues.values()]
        batch = list(islice(_round_robin(lanes), max_batch_size))
        if is_ripe(batch):
            return batch
    return []


def _round_robin(lanes: Iterable[Iterator[Item]]) -> Iterator[Item]:
    """Yield one item of each lane in turn until all are empty."""
    active = list(lanes)
    while active:
        still_active = []
        for lane in active:
            for item in lane:
                yield item
                still_active.append(lane)
                break
        active = still_active
