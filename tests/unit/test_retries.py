import asyncio
from collections.abc import Awaitable, Callable

import pytest

from serve_app.errors import InvalidAudioError, ReplicaLostError, UnprocessableAudioError
from serve_app.retries import Retries
from serve_app.settings import RetrySettings

QUICK = RetrySettings(max_tries=4, first_pause_s=0.0, try_timeout_s=0.05)
DIED = ReplicaLostError("It died.", died=True)
UNREACHABLE = ReplicaLostError("It cannot be reached.")


def failing(*errors: Exception) -> Callable[[], Awaitable[str]]:
    """Work that fails with one error after the other and then answers."""
    left = list(errors)

    async def work() -> str:
        await asyncio.sleep(0)
        if left:
            raise left.pop(0)
        return "done"

    return work


async def test_lost_work_is_done_again_and_counted() -> None:
    n = 0

    def count() -> None:
        nonlocal n
        n += 1

    assert await Retries(QUICK, count).run(failing(DIED, UNREACHABLE, DIED)) == "done"
    assert n == 3


async def test_work_that_is_lost_every_time_ends_with_that_error() -> None:
    with pytest.raises(ReplicaLostError):
        await Retries(QUICK).run(failing(*[DIED] * 4))


async def test_an_ordinary_error_is_not_tried_again() -> None:
    n = 0

    def count() -> None:
        nonlocal n
        n += 1

    with pytest.raises(InvalidAudioError):
        await Retries(QUICK, count).run(failing(InvalidAudioError(), InvalidAudioError()))
    assert n == 0


async def test_a_replica_that_hangs_is_left_behind() -> None:
    calls = 0

    async def work() -> str:
        nonlocal calls
        calls += 1
        if calls == 1:
            await asyncio.sleep(60)
        return "done"

    assert await Retries(QUICK).run(work) == "done"


async def test_a_time_limit_inside_the_work_is_not_taken_for_a_hung_replica() -> None:
    with pytest.raises(TimeoutError):
        await Retries(QUICK).run(failing(TimeoutError()))


def on_upload(*errors: Exception) -> Callable[[bool], Awaitable[str]]:
    """The same for an upload, whoever is told that it is a suspect."""
    work = failing(*errors)
    return lambda is_suspect: work()


async def test_an_upload_that_kills_two_replicas_is_refused() -> None:
    with pytest.raises(UnprocessableAudioError):
        await Retries(QUICK).run_on_upload(on_upload(DIED, DIED))


async def test_an_upload_is_not_accused_of_replicas_that_did_not_die() -> None:
    work = on_upload(UNREACHABLE, DIED, UNREACHABLE)
    assert await Retries(QUICK).run_on_upload(work) == "done"


async def test_an_upload_has_as_many_tries_as_other_work_with_the_same_pauses() -> None:
    retries = Retries(RetrySettings(max_tries=3, first_pause_s=0.05, try_timeout_s=5.0))
    loop = asyncio.get_running_loop()
    tried_s: list[float] = []

    async def work(_: bool = False) -> str:
        tried_s.append(loop.time())
        raise UNREACHABLE

    for run in (retries.run(work), retries.run_on_upload(work)):
        tried_s.clear()
        with pytest.raises(ReplicaLostError):
            await run
        first_s, second_s, third_s = tried_s
        assert second_s - first_s >= 0.05
        assert third_s - second_s >= 0.1


async def test_uploads_are_tried_one_at_a_time_once_a_replica_died() -> None:
    retries = Retries(QUICK)
    seen: list[str] = []

    def upload(name: str) -> Callable[[bool], Awaitable[str]]:
        async def work(is_suspect: bool) -> str:
            if not is_suspect:
                raise DIED
            seen.append(f"{name} begins")
            await asyncio.sleep(0.005)
            seen.append(f"{name} ends")
            return name

        return work

    names = ["a", "b", "c"]
    assert await asyncio.gather(*(retries.run_on_upload(upload(n)) for n in names)) == names
    assert seen == [f"{name} {what}" for name in names for what in ("begins", "ends")]


async def test_uploads_whose_replicas_cannot_be_reached_do_not_wait_for_each_other() -> None:
    retries = Retries(RetrySettings(max_tries=4, first_pause_s=0.0, try_timeout_s=5.0))
    together = asyncio.Barrier(3)

    def upload() -> Callable[[bool], Awaitable[str]]:
        lost = [UNREACHABLE]

        async def work(_: bool) -> str:
            if lost:
                raise lost.pop()
            async with asyncio.timeout(5):
                await together.wait()
            return "done"

        return work

    assert (
        await asyncio.gather(*(retries.run_on_upload(upload()) for _ in range(3))) == ["done"] * 3
    )
