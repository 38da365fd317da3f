import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing

import pytest

from serve_app.domain import (
    Diarization,
    ResponseFormat,
    SpeakerOptions,
    Transcript,
    TranscriptionRequest,
    Turn,
)
from serve_app.errors import (
    ModelLoadError,
    ServiceUnavailableError,
    TooLongToDiarizeError,
    TranscriptionError,
    UnprocessableAudioError,
)
from serve_app.settings import DiarizationSettings
from serve_app.speakers import NO_SPEAKERS, SpeakerSearch, load_model
from tests.unit.test_turns import segment, word

TURNS = (Turn(speaker="A", start_s=0.0, end_s=1.0), Turn(speaker="B", start_s=1.0, end_s=2.0))
FOUND = Diarization(turns=TURNS, exclusive=TURNS, duration_s=2.0)
SPOKEN = Transcript(
    text="who me",
    language="en",
    duration_s=2.0,
    model="m",
    segments=(segment(word(" who", 0.2, 0.6), word(" me", 1.2, 1.5)),),
    warnings=("before",),
)

Find = Callable[[SpeakerOptions], Awaitable[Diarization]]


def asks(response_format: str = "verbose_json", *, diarize: bool = True) -> TranscriptionRequest:
    return TranscriptionRequest(response_format=ResponseFormat(response_format), diarize=diarize)


def finds(outcome: Diarization | Exception, after_s: float = 0.0) -> Find:
    async def find(_: SpeakerOptions) -> Diarization:
        await asyncio.sleep(after_s)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    return find


async def events(n: int = 2) -> AsyncGenerator[int]:
    for i in range(n):
        await asyncio.sleep(0.001)
        yield i


async def run(find: Find, request: TranscriptionRequest) -> Transcript:
    async with SpeakerSearch(find, request) as search:
        assert [i async for i in search.beside(events())] == [0, 1]
        return await search.add_speakers(SPOKEN)


@pytest.mark.parametrize("after_s", [0.0, 0.05], ids=["sooner", "later"])
async def test_turns_are_added_whichever_is_done_first(after_s: float) -> None:
    made = await run(finds(FOUND, after_s), asks())
    assert [(s.speaker, s.text) for s in made.segments] == [("A", " who"), ("B", " me")]
    assert (made.turns, made.warnings) == (TURNS, ("before",))


async def test_the_search_runs_beside_the_transcription() -> None:
    began = asyncio.Event()

    async def find(_: SpeakerOptions) -> Diarization:
        began.set()
        return FOUND

    async def waiting() -> AsyncGenerator[int]:
        await began.wait()
        yield 1

    async with asyncio.timeout(5), SpeakerSearch(find, asks()) as search:
        assert [i async for i in search.beside(waiting())] == [1]


@pytest.mark.parametrize(
    "request_",
    [asks(diarize=False), TranscriptionRequest(multichannel=True)],
    ids=["plain", "many"],
)
async def test_a_request_that_needs_no_turns_never_asks_for_them(
    request_: TranscriptionRequest,
) -> None:
    async def find(_: SpeakerOptions) -> Diarization:
        raise AssertionError("asked")

    assert await run(find, request_) is SPOKEN


async def test_what_is_known_about_the_speakers_is_passed_on() -> None:
    asked = []

    async def find(options: SpeakerOptions) -> Diarization:
        asked.append(options)
        return FOUND

    options = SpeakerOptions(num_speakers=2)
    await run(find, TranscriptionRequest(diarize=True, speakers=options))
    assert asked == [options]


@pytest.mark.parametrize(
    "error", [ServiceUnavailableError("gone"), TranscriptionError(), UnprocessableAudioError()]
)
async def test_a_transcript_arrives_without_speakers_and_says_so(error: Exception) -> None:
    made = await run(finds(error), asks())
    assert made.segments == SPOKEN.segments
    assert (made.turns, made.warnings) == (None, ("before", NO_SPEAKERS))


async def test_diarized_json_is_not_answered_without_speakers() -> None:
    with pytest.raises(ServiceUnavailableError):
        await run(
            finds(ServiceUnavailableError("gone"), 0.05), asks("diarized_json", diarize=False)
        )


async def test_a_request_at_fault_itself_fails_at_once() -> None:
    async def endless() -> AsyncGenerator[int]:
        while True:
            await asyncio.sleep(0.001)
            yield 1

    async with asyncio.timeout(5):
        async with SpeakerSearch(finds(TooLongToDiarizeError(60.0), 0.01), asks()) as search:
            with pytest.raises(TooLongToDiarizeError):
                async for _ in search.beside(endless()):
                    pass


async def test_leaving_early_ends_the_search() -> None:
    ended = asyncio.Event()

    async def find(_: SpeakerOptions) -> Diarization:
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()
        return FOUND

    async with SpeakerSearch(find, asks()):
        await asyncio.sleep(0.01)
    assert ended.is_set()


async def test_the_transcriptions_own_error_passes_through() -> None:
    async def failing() -> AsyncGenerator[int]:
        yield 1
        raise ServiceUnavailableError("the transcriber")

    async with SpeakerSearch(finds(FOUND, 60), asks()) as search:
        with pytest.raises(ServiceUnavailableError, match="the transcriber"):
            async for _ in search.beside(failing()):
                pass


def test_a_directory_without_a_pipeline_is_named() -> None:
    settings = DiarizationSettings(source="./nowhere")
    with pytest.raises(ModelLoadError, match=r"nowhere is not a directory with a config\.yaml"):
        load_model(settings, n_cores=1)


async def test_what_runs_beside_the_search_has_ended_once_its_caller_has_left() -> None:
    ended = asyncio.Event()

    async def items() -> AsyncGenerator[int]:
        try:
            while True:
                yield 1
        finally:
            await asyncio.sleep(0.05)
            ended.set()

    async with (
        SpeakerSearch(finds(FOUND), asks()) as search,
        aclosing(search.beside(items())) as watched,
    ):
        await anext(watched)
    assert ended.is_set()
