import asyncio

import pytest

from serve_app.errors import ServiceUnavailableError
from serve_app.removals import Removals

LIMIT_S = 5.0


class Config:
    """What an app has; a look fails where nothing is known."""

    def __init__(self, *models: str) -> None:
        self.models: set[str] | None = set(models)

    async def look(self) -> set[str]:
        if self.models is None:
            raise ServiceUnavailableError("not known")
        return self.models


async def wait_guarded(removals: Removals, model: str, done: asyncio.Event) -> str:
    async with removals.guard(model):
        await done.wait()
    return model


async def test_work_for_a_model_that_is_taken_away_ends_and_other_work_goes_on() -> None:
    config, done = Config("old", "kept"), asyncio.Event()
    removals = Removals(config.look, look_every_s=0.01)
    old = [asyncio.ensure_future(wait_guarded(removals, "old", done)) for _ in range(3)]
    kept = asyncio.ensure_future(wait_guarded(removals, "kept", done))
    await asyncio.sleep(0.05)
    assert not any(task.done() for task in (*old, kept))
    config.models = {"kept", "new"}
    for task in old:
        with pytest.raises(ServiceUnavailableError, match="'old' is no longer served"):
            await asyncio.wait_for(task, LIMIT_S)
    done.set()
    assert await kept == "kept"


async def test_not_knowing_what_the_app_has_ends_nothing() -> None:
    config, done = Config(), asyncio.Event()
    config.models = None
    removals = Removals(config.look, look_every_s=0.01)
    work = asyncio.ensure_future(wait_guarded(removals, "a", done))
    await asyncio.sleep(0.05)
    assert not work.done()
    config.models = set()
    with pytest.raises(ServiceUnavailableError):
        await asyncio.wait_for(work, LIMIT_S)


async def test_nothing_is_asked_where_all_work_ends_soon() -> None:
    n_looks = 0

    async def look() -> set[str]:
        nonlocal n_looks
        n_looks += 1
        return {"a"}

    removals = Removals(look, look_every_s=0.5)
    for _ in range(60):
        async with removals.guard("a"):
            await asyncio.sleep(0.01)
    assert n_looks == 0
    async with removals.guard("a"):
        await asyncio.sleep(1.5)
    assert n_looks > 0


async def test_errors_and_cancellation_of_the_work_pass_through() -> None:
    removals = Removals(Config("a").look, look_every_s=0.01)
    with pytest.raises(TimeoutError):
        async with removals.guard("a"):
            raise TimeoutError
    task = asyncio.ensure_future(wait_guarded(removals, "a", asyncio.Event()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_look_that_fails_is_not_the_last_one(caplog: pytest.LogCaptureFixture) -> None:
    looks = iter([ValueError("planted"), {"kept"}])

    async def look() -> set[str]:
        found = next(looks, {"kept"})
        if isinstance(found, Exception):
            raise found
        return found

    removals = Removals(look, look_every_s=0.01)
    work = asyncio.ensure_future(wait_guarded(removals, "old", asyncio.Event()))
    with pytest.raises(ServiceUnavailableError):
        await asyncio.wait_for(work, LIMIT_S)
    assert "planted" in caplog.text
