import asyncio
import random
from collections.abc import Awaitable, Callable

import pytest
from ray import serve
from ray.serve import batching

from serve_app import pipeline
from serve_app.domain import ChunkJob, DecodeOptions
from serve_app.errors import ReplicaLostError
from serve_app.scheduler import Gate, HandedOver
from tests.fakes import EchoEngine, job

Run = Callable[[list[ChunkJob]], Awaitable[list[pipeline.Outcome]]]


class SerialBatcher:
    """Does what `@serve.batch(wait=0)` does: all jobs of one loop turn become one batch."""

    largest: int | None = None  # cuts what is larger, as a limit does that fell meanwhile

    def __init__(self, run: Run) -> None:
        self._run = run
        self._items: list[tuple[ChunkJob, asyncio.Future[pipeline.Outcome]]] = []

    async def __call__(self, item: ChunkJob) -> pipeline.Outcome:
        future: asyncio.Future[pipeline.Outcome] = asyncio.get_running_loop().create_future()
        self._items.append((item, future))
        if len(self._items) == 1:
            asyncio.get_running_loop().call_soon(self._start)
        return await future

    def _start(self) -> None:
        items, self._items = self._items, []
        size = self.largest or len(items)
        parts = [items[i : i + size] for i in range(0, len(items), size)]
        self._tasks = [asyncio.create_task(self._finish(part)) for part in parts]

    async def _finish(
        self, items: list[tuple[ChunkJob, "asyncio.Future[pipeline.Outcome]"]]
    ) -> None:
        items = [(item, future) for item, future in items if not future.cancelled()]
        if not items:
            return
        outcomes = await self._run([item for item, _ in items])
        for (_, future), outcome in zip(items, outcomes, strict=True):
            if not future.done():
                future.set_result(outcome)


def make_gate(
    engine: EchoEngine,
    *,
    n_workers: int = 1,
    max_batch_size: int = 8,
    wait_s: float = 0.0,
    on_batch: Callable[[HandedOver], None] = lambda batch: None,
) -> Gate[ChunkJob, pipeline.Outcome]:
    async def run(jobs: list[ChunkJob]) -> list[pipeline.Outcome]:
        with gate.running(jobs):
            return await asyncio.to_thread(pipeline.transcribe_batch, engine, jobs)

    gate: Gate[ChunkJob, pipeline.Outcome] = Gate(
        SerialBatcher(run),
        owner_of=lambda j: j.request_id,
        bucket_of=lambda j: engine.n_prompt_tokens(j.options),
        n_workers=n_workers,
        on_batch=on_batch,
    )
    gate.configure(max_batch_size=max_batch_size, batch_wait_s=wait_s)
    return gate


async def answers(gate: Gate[ChunkJob, pipeline.Outcome], jobs: list[ChunkJob]) -> list[str]:
    outcomes = await asyncio.gather(*(pipeline.transcribe_chunk(gate.submit, j) for j in jobs))
    return [made.text for made in outcomes]


async def test_everybody_gets_the_answer_to_its_own_job() -> None:
    gate = make_gate(EchoEngine(batch_s=0.001), n_workers=2)
    jobs = [
        job(i, owner=f"r{i % 7}", options=DecodeOptions(prompt="x" * (i % 3))) for i in range(200)
    ]
    assert await answers(gate, jobs) == [str(i) for i in range(200)]


async def test_what_arrives_while_the_worker_is_busy_becomes_one_batch() -> None:
    engine = EchoEngine(batch_s=0.05)
    gate = make_gate(engine)
    first = asyncio.create_task(answers(gate, [job(0)]))
    await asyncio.sleep(0.02)
    await answers(gate, [job(i, owner=f"r{i}") for i in range(1, 7)])
    await first
    assert engine.batches == [[0], [1, 2, 3, 4, 5, 6]]
    assert gate.stats.max_owners == 6


async def test_buckets_never_mix() -> None:
    engine = EchoEngine(batch_s=0.002)
    gate = make_gate(engine, n_workers=2)
    prompts = ["", "a", "bb"]
    await answers(gate, [job(i, options=DecodeOptions(prompt=prompts[i % 3])) for i in range(60)])
    assert all(len({value % 3 for value in batch}) == 1 for batch in engine.batches)


async def test_a_newcomer_goes_before_a_request_that_has_just_been_served() -> None:
    engine = EchoEngine(batch_s=0.05)
    gate = make_gate(engine, max_batch_size=2)
    hot = DecodeOptions(prompt="another bucket")
    long = [
        *(job(i, owner="long") for i in (1, 2)),
        *(job(i, owner="long", options=hot) for i in (3, 4)),
    ]
    first = asyncio.create_task(answers(gate, long))
    await asyncio.sleep(0.02)
    await answers(gate, [job(9, owner="short")])
    await first
    assert engine.batches == [[1, 2], [9], [3, 4]]


async def test_no_more_batches_run_at_once_than_there_are_workers() -> None:
    engine = EchoEngine(batch_s=0.01)
    await answers(make_gate(engine, n_workers=3, max_batch_size=2), [job(i) for i in range(40)])
    assert engine.busiest == 3


async def test_a_lone_job_goes_at_once_where_no_wait_is_set() -> None:
    gate = make_gate(EchoEngine())
    await asyncio.wait_for(answers(gate, [job(1)]), 0.5)


async def test_a_lone_job_waits_for_company_and_then_goes_with_it() -> None:
    engine = EchoEngine()
    gate = make_gate(engine, wait_s=0.1)
    one = asyncio.create_task(answers(gate, [job(1)]))
    await asyncio.sleep(0.02)
    other = asyncio.create_task(answers(gate, [job(2, owner="b")]))
    await asyncio.gather(one, other)
    assert engine.batches == [[1, 2]]


async def test_a_full_batch_does_not_wait() -> None:
    engine = EchoEngine()
    gate = make_gate(engine, max_batch_size=2, wait_s=5.0)
    await asyncio.wait_for(answers(gate, [job(1), job(2)]), 1.0)


async def test_a_full_bucket_overtakes_one_that_waits_for_company() -> None:
    engine = EchoEngine()
    gate = make_gate(engine, max_batch_size=2, wait_s=5.0)
    lone = asyncio.create_task(answers(gate, [job(9, owner="lone")]))
    await asyncio.sleep(0.01)
    full = [job(i, options=DecodeOptions(prompt="p")) for i in (1, 2)]
    await asyncio.wait_for(answers(gate, full), 1.0)
    lone.cancel()
    assert engine.batches == [[1, 2]]


async def test_a_job_given_up_while_it_waits_never_runs() -> None:
    engine = EchoEngine(batch_s=0.05)
    gate = make_gate(engine, max_batch_size=1)
    running = asyncio.create_task(answers(gate, [job(0)]))
    await asyncio.sleep(0.01)
    given_up = asyncio.create_task(answers(gate, [job(1), job(2)]))
    await asyncio.sleep(0.01)
    given_up.cancel()
    await running
    assert await answers(gate, [job(3)]) == ["3"]
    assert engine.batches == [[0], [3]]
    assert gate.stats.n_waiting == 0


async def test_giving_up_a_batch_before_it_begins_frees_its_worker() -> None:
    gate = make_gate(EchoEngine())
    task = asyncio.create_task(gate.submit(job(1)))
    await asyncio.sleep(0)  # submitted
    await asyncio.sleep(0)  # handed over, not begun
    task.cancel()
    assert await asyncio.wait_for(answers(gate, [job(2)]), 1.0) == ["2"]


async def test_a_worker_is_not_free_while_a_batch_nobody_waits_for_still_runs() -> None:
    engine = EchoEngine(batch_s=0.1)
    gate = make_gate(engine)
    given_up = asyncio.create_task(answers(gate, [job(0)]))
    await asyncio.sleep(0.03)
    given_up.cancel()
    await answers(gate, [job(1)])
    assert engine.busiest == 1


async def test_new_settings_reach_jobs_that_wait() -> None:
    gate = make_gate(EchoEngine(), wait_s=60.0)
    task = asyncio.create_task(answers(gate, [job(1)]))
    await asyncio.sleep(0.01)
    gate.configure(max_batch_size=8, batch_wait_s=0.0)
    assert await asyncio.wait_for(task, 1.0) == ["1"]


async def test_a_merged_batch_is_refused_rather_than_decoded() -> None:
    gate = make_gate(EchoEngine())
    with (
        pytest.raises(ReplicaLostError),
        gate.running([job(1), job(2, options=DecodeOptions(prompt="p"))]),
    ):
        pass


async def test_a_batch_that_is_cut_on_the_way_takes_a_worker_for_each_part(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine = EchoEngine(batch_s=0.1)
    gate = make_gate(engine)
    monkeypatch.setattr(SerialBatcher, "largest", 2)
    await answers(gate, [job(i) for i in range(8)])
    monkeypatch.setattr(SerialBatcher, "largest", None)
    late = []
    for i in (10, 11, 12):
        late.append(asyncio.create_task(answers(gate, [job(i)])))
        await asyncio.sleep(0.02)
    await asyncio.gather(*late)
    assert engine.batches[4:] == [[10], [11, 12]]


async def test_counters_return_to_zero() -> None:
    gate = make_gate(EchoEngine())
    await answers(gate, [job(i) for i in range(10)])
    assert (gate.stats.n_waiting, gate.stats.n_running, gate.stats.n_jobs) == (0, 0, 10)


async def test_each_batch_is_told_with_its_owners_and_how_long_each_job_waited() -> None:
    told: list[HandedOver] = []
    engine = EchoEngine(batch_s=0.05)
    gate = make_gate(engine, on_batch=told.append)
    first = asyncio.create_task(answers(gate, [job(0)]))
    await asyncio.sleep(0.02)
    await answers(gate, [job(i, owner=f"r{i % 2}") for i in range(1, 5)])
    await first
    assert [(batch.n_owners, len(batch.waited_s)) for batch in told] == [(1, 1), (2, 4)]
    assert min(told[1].waited_s) > 0.01  # the first batch's rest


async def test_a_job_that_no_batch_can_take_is_its_callers_error_and_nobody_elses() -> None:
    gate = make_gate(EchoEngine())
    unhashable = job(1, owner=["a list"])  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="unhashable"):
        await gate.submit(unhashable)
    assert await answers(gate, [job(2)]) == ["2"]
    gate.check()


class Incomparable:
    """A bucket that cannot be told from another one."""

    def __hash__(self) -> int:
        return 0

    def __eq__(self, other: object) -> bool:
        raise ZeroDivisionError


async def test_a_gate_that_hands_nothing_over_any_more_says_so_instead_of_waiting() -> None:
    async def execute(item: int) -> int:
        return item

    gate: Gate[int, int] = Gate(
        execute, owner_of=lambda item: 0, bucket_of=lambda item: Incomparable(), n_workers=1
    )
    first = asyncio.create_task(gate.submit(1))
    await asyncio.sleep(0.01)
    with pytest.raises(ReplicaLostError) as caught:
        gate.check()
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    with pytest.raises(ReplicaLostError):
        await gate.submit(2)
    first.cancel()


class _NoMetric:
    """Ray's metrics, which need a running Ray."""

    def __init__(self, *args: object, **kwargs: object) -> None: ...

    def set(self, *args: object, **kwargs: object) -> None: ...

    observe = inc = set_default_tags = set


async def test_serves_own_batches_stay_apart_while_their_size_changes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("Counter", "Gauge", "Histogram"):
        monkeypatch.setattr(batching, name, _NoMetric)
    monkeypatch.setattr(
        *(batching._BatchQueue, "_warn_if_max_batch_size_exceeds_max_ongoing_requests"),
        lambda _: None,
    )
    chance = random.Random(0)

    @serve.batch(batch_wait_timeout_s=0, max_concurrent_batches=3)
    async def execute(items: list[tuple[int, str]]) -> list[tuple[int, str]]:
        with gate.running(items):
            await asyncio.sleep(chance.uniform(0, 0.003))
        return items

    gate: Gate[tuple[int, str], tuple[int, str]] = Gate(
        execute, owner_of=lambda item: item[0], bucket_of=lambda item: item[1], n_workers=3
    )
    for _ in range(100):
        gate.configure(max_batch_size=8, batch_wait_s=0.0)
        items = [(i, chance.choice("ab")) for i in range(20)]
        made = [asyncio.create_task(gate.submit(item)) for item in items]
        for _ in range(20):
            await asyncio.sleep(chance.choice([0, 0, 0.001]))
            gate.configure(max_batch_size=chance.choice([1, 2, 4, 8]), batch_wait_s=0.0)
            execute.set_max_batch_size(gate.largest_batch_size)  # type: ignore[attr-defined]
        assert await asyncio.gather(*made) == items
