"""A file in, who speaks when out; and the search for that beside a transcription.

The SpeakerDiarizer runs `diarize_file` on each file, the Ingress a `SpeakerSearch` per request.
Knows no Ray.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractContextManager, aclosing, nullcontext
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from serve_app import models
from serve_app.contexts import make_aside
from serve_app.domain import (
    DecodeLimits,
    Diarization,
    KnownSpeaker,
    ResponseFormat,
    SpeakerOptions,
    Transcript,
    TranscriptionRequest,
)
from serve_app.errors import (
    InvalidAudioError,
    InvalidRequestError,
    ModelLoadError,
    TooLongToDiarizeError,
    TranscriptionError,
    UnprocessableAudioError,
)
from serve_app.settings import EMBEDDED, DiarizationSettings
from serve_app.stages import audio, naming, turns
from serve_app.stages.diarization import SpeakerModel

NO_SPEAKERS = "no_speakers: the speakers could not be told apart now, so nobody is named"
# Of a known speaker's clip. OpenAI takes 2 to 10 s; less than a second is no voice to know again.
MIN_REFERENCE_S, MAX_REFERENCE_S = 1.0, 30.0

T = TypeVar("T")


def load_model(
    settings: DiarizationSettings, *, token: str | None = None, n_cores: int
) -> SpeakerModel:
    """Load the pipeline that the settings name, downloading it where it is not here.

    Args:
        settings: of the profile.
        token: of a Hugging Face account; None: without.
        n_cores: threads it may use.

    Raises:
        ModelLoadError: it cannot be found, downloaded or loaded.
    """
    source = settings.source
    if source == EMBEDDED:
        checkpoint = str(models.asset("diarization-demo"))
    elif models.is_path(source) or Path(source).is_dir():
        path = Path(source).expanduser()
        if not (path / "config.yaml").is_file():
            raise ModelLoadError(source, f"{path} is not a directory with a config.yaml.")
        checkpoint = str(path)
    else:
        checkpoint = source
    return SpeakerModel(checkpoint, settings, token=token, n_cores=n_cores)


def diarize_file(
    data: bytes | memoryview | NDArray[np.uint8],
    options: SpeakerOptions,
    model: SpeakerModel,
    settings: DiarizationSettings,
    decoding: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> Diarization:
    """Find out who speaks when in a file.

    Args:
        data: the whole file as uploaded.
        options: what is known about the speakers.
        model: the process's pipeline.
        settings: its limits.
        decoding: entered while FFmpeg works on a file of the caller's.

    Raises:
        TooLongToDiarizeError: the audio is longer than the settings allow.
        InvalidAudioError: the bytes are not audio that can be decoded (or one of its kinds).
        InvalidRequestError: a known speaker's clip cannot be used.
    """
    limits = DecodeLimits(timeout_s=settings.decode_timeout_s)
    # The model must see all speakers to tell them apart, so the file is decoded whole.
    with decoding():
        clips = {one.name: _decode_reference(one, limits) for one in options.known}
        piece = audio.decode_audio(data, max_s=settings.max_audio_s, limits=limits)
    if not piece.is_last:
        raise TooLongToDiarizeError(settings.max_audio_s)
    known = {name: _describe(name, clip, model) for name, clip in clips.items()}
    found = model.find_speakers(audio.to_float32(piece.samples), options)
    names = naming.match_voices(found.voices, known, min_similarity=settings.min_similarity)
    return naming.name_speakers(found.diarization, names)


def _decode_reference(speaker: KnownSpeaker, limits: DecodeLimits) -> NDArray[np.float32]:
    """Return the samples of a known speaker's clip."""
    try:
        clip = audio.decode_audio(speaker.audio, max_s=MAX_REFERENCE_S, limits=limits)
    except InvalidAudioError as error:
        raise _unusable(f"The clip of '{speaker.name}': {error}") from error
    if not clip.is_last or clip.end_s < MIN_REFERENCE_S:
        raise _unusable(
            f"The clip of '{speaker.name}' must last {MIN_REFERENCE_S:g} to {MAX_REFERENCE_S:g} s."
        )
    return audio.to_float32(clip.samples)


def _describe(name: str, clip: NDArray[np.float32], model: SpeakerModel) -> naming.Vector:
    """Return how a known speaker sounds: the one voice that the model hears in the clip."""
    voices = list(model.find_speakers(clip, SpeakerOptions(num_speakers=1)).voices.values())
    if not voices:
        raise _unusable(f"No speech was found in the clip of '{name}'.")
    return voices[0]


def _unusable(reason: str) -> InvalidRequestError:
    return InvalidRequestError("known_speaker_references", reason)


class SpeakerSearch:
    """The search for one file's turns while it is transcribed. Enter it once.

    A request that asks for no turns has none. Where the turns are the answer's very form
    (diarized_json), the search must succeed; else the transcript arrives without speakers and
    says so. A request that is at fault itself fails either way.
    """

    def __init__(
        self,
        find_turns: Callable[[SpeakerOptions], Awaitable[Diarization]],
        request: TranscriptionRequest,
    ) -> None:
        self._find_turns = find_turns
        self._request = request
        self._task: asyncio.Future[Diarization] | None = None

    async def __aenter__(self) -> Self:
        """Begin the search, where one is asked for."""
        if self._request.needs_turns:
            self._task = asyncio.ensure_future(self._find_turns(self._request.speakers))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Cancel the search, if it still runs."""
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def beside(self, items: AsyncGenerator[T]) -> AsyncGenerator[T]:
        """Yield the items; stop with the search's error as soon as it has failed the request."""
        async with aclosing(_until_failed(items, self._task, self._is_fatal)) as watched:
            async for item in watched:
                yield item

    async def add_speakers(self, transcript: Transcript) -> Transcript:
        """Return the transcript with its speakers.

        Raises:
            TranscriptionError: the search failed, and the request does without it in no form.
        """
        if self._task is None:
            return transcript
        try:
            found = await self._task
        except TranscriptionError as error:
            if self._is_fatal(error):
                raise
            return replace(transcript, warnings=(*transcript.warnings, NO_SPEAKERS))
        segments = await make_aside(turns.assign_speakers, transcript.segments, found.exclusive)
        return replace(transcript, segments=segments, turns=found.turns)

    def _is_fatal(self, error: BaseException) -> bool:
        is_needed = self._request.response_format is ResponseFormat.DIARIZED_JSON
        may_pass = isinstance(error, TranscriptionError) and not is_needed
        # A file over which diarizers die may be transcribed all the same.
        at_fault = isinstance(error, InvalidRequestError)
        return not may_pass or (at_fault and not isinstance(error, UnprocessableAudioError))


async def _until_failed(
    items: AsyncGenerator[T],
    task: "asyncio.Future[Diarization] | None",
    is_fatal: Callable[[BaseException], bool],
) -> AsyncGenerator[T]:
    """Yield the items; raise the task's error once it has one that is fatal."""
    upcoming: asyncio.Future[T] | None = None
    try:
        while True:
            upcoming = asyncio.ensure_future(anext(items))
            while not upcoming.done():
                awaited: list[asyncio.Future[Any]] = [upcoming]
                if task and not task.done():
                    awaited.append(task)
                await asyncio.wait(awaited, return_when=asyncio.FIRST_COMPLETED)
                if task and task.done() and (error := task.exception()) and is_fatal(error):
                    raise error
            try:
                item = upcoming.result()
            except StopAsyncIteration:
                return
            yield item
    finally:
        if upcoming:
            upcoming.cancel()
            await asyncio.gather(upcoming, return_exceptions=True)
        await items.aclose()
