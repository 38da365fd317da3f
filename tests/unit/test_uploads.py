import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

from serve_app.deployments.uploads import UploadWork
from serve_app.errors import InvalidAudioError

LIMIT_S = 30.0


async def test_a_suspect_says_that_it_begins_once_nothing_else_runs() -> None:
    uploads = UploadWork("a slice")
    began, may_end = threading.Event(), threading.Event()

    def work() -> str:
        began.set()
        assert may_end.wait(LIMIT_S)
        return "innocent"

    beside = asyncio.ensure_future(uploads.run(ThreadPoolExecutor(1), work))
    await asyncio.to_thread(began.wait, LIMIT_S)
    steps = uploads.run_alone(lambda: "guilty?")
    begins = asyncio.ensure_future(anext(steps))
    await asyncio.sleep(0.05)
    assert not begins.done()
    may_end.set()
    assert await beside == "innocent"
    assert [await begins, *[step async for step in steps]] == [None, "guilty?"]


async def test_the_typed_error_of_a_suspect_is_its_answer() -> None:
    def refuse() -> None:
        raise InvalidAudioError

    begins, answer = [step async for step in UploadWork("a slice").run_alone(refuse)]
    assert begins is None
    assert isinstance(answer, InvalidAudioError)


async def test_a_suspect_that_is_given_up_keeps_nobody_out() -> None:
    uploads = UploadWork("a slice")
    steps = uploads.run_alone(lambda: None)
    await anext(steps)
    await steps.aclose()
    assert await uploads.run(ThreadPoolExecutor(1), lambda: "next") == "next"
