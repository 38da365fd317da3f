"""A model name in, something that transcribes files out; called by Python users and `serve-app`."""

import asyncio
import os
import sys
import threading
import time
import uuid
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import dataclass, fields
from typing import Any, Literal, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from serve_app import models, pipeline
from serve_app.domain import (
    Audio,
    Chunk,
    ChunkJob,
    ChunkTranscript,
    DecodeCursor,
    DecodeOptions,
    Transcript,
    TranscriptionRequest,
)
from serve_app.errors import InvalidRequestError, ModelLoadError
from serve_app.fan_out import FileTranscription, RunLimits
from serve_app.local.batches import Batches
from serve_app.settings import EMBEDDED, AppSettings, ModelSettings, model_name
from serve_app.stages import audio as files
from serve_app.stages.vad import SpeechDetector
from serve_app.stages.whisper import WhisperEngine

N_FILES = 4  # that are transcribed at the same time fill the batches of short ones

Answer = TypeVar("Answer")

_DEFAULT_REQUEST = TranscriptionRequest()


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a file is."""

    done_s: float  # of its audio
    total_s: float | None  # by the file's header until its end is reached; None: it does not tell


@dataclass(frozen=True, kw_only=True)
class LocalTranscript(Transcript):
    """A transcript, and what it took."""

    took_s: float

    @property
    def real_time_factor(self) -> float:
        """Return the time it took over the audio's; below 1 is faster than speech."""
        return self.took_s / self.duration_s if self.duration_s else 0.0


def load(
    model: str,
    *,
    device: Literal["auto", "cpu", "cuda"] = "auto",
    compute_type: str = "auto",
    batch_size: int | None = None,
    n_threads: int = 0,
) -> "Whisper":
    """Load a model into this process.

    Args:
        model: a faster-whisper size such as `turbo`, a Hugging Face id, a directory, `embedded`.
        device: auto: a GPU where there is one.
        compute_type: auto: float16 on a GPU, int8 on the CPU.
        batch_size: chunks at a time, at most; None: what suits the device and its free memory.
        n_threads: on the CPU; 0: as many as this process has cores.

    Raises:
        ModelLoadError: it cannot be found, downloaded or loaded.
    """
    settings = _settings(model, device=device, compute_type=compute_type, cpu_threads=n_threads)
    return Whisper(settings, batch_size=batch_size)


class Whisper:
    """A loaded model. `transcribe` may be called from several threads: they share batches."""

    def __init__(self, settings: AppSettings, *, batch_size: int | None = None) -> None:
        """Load the settings' first model."""
        self._settings = settings
        self._model = settings.models[0]
        engine = _load_engine(self._model)
        self.placement = engine.placement  # the device, compute type and threads in use
        self._known = models.describe(self._model, engine.languages)
        self._detector = SpeechDetector()
        self._decoders = ThreadPoolExecutor(2, "serve_app decoder")
        self._batches = Batches(
            engine,
            n_workers=self._model.n_workers,
            max_batch_size=engine.largest_batch(batch_size),
        )
        self._loop = asyncio.new_event_loop()
        thread = threading.Thread(target=self._loop.run_forever, name="serve_app", daemon=True)
        thread.start()
        pools = (self._batches, self._decoders)
        # Called once: by `close`, where nobody holds this any more, or at the interpreter's end.
        self._stop = weakref.finalize(self, _stop, self._loop, thread, pools)

    @property
    def batch_size(self) -> int:
        """Return how many chunks a batch has at most."""
        return self._batches.max_batch_size

    def transcribe(
        self,
        audio: Audio,
        request: TranscriptionRequest = _DEFAULT_REQUEST,
        *,
        on_progress: Callable[[Progress], None] = lambda progress: None,
    ) -> LocalTranscript:
        """Transcribe one file.

        Args:
            audio: a file's bytes, its path, or samples.
            request: what to do with it.
            on_progress: told how far it is after every chunk, in another thread.

        Raises:
            TranscriptionError: one of its kinds (`serve_app.errors`), as over HTTP.
        """
        run = asyncio.run_coroutine_threadsafe(
            self._transcribe(audio, request, on_progress), self._loop
        )
        try:
            return run.result()
        except BaseException:  # Ctrl-C too: what is under way ends with its caller
            run.cancel()
            raise

    def close(self) -> None:
        """End the threads. What is under way ends without an answer."""
        self._stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def _transcribe(
        self,
        audio: Audio,
        request: TranscriptionRequest,
        on_progress: Callable[[Progress], None],
    ) -> LocalTranscript:
        began_s = time.perf_counter()
        models.find_model(request.model, self._settings.models)
        _check_speakers(request)
        options = pipeline.decode_options(request, self._model, self._known)
        data, total_s = await self._in_thread(lambda: self._open(audio))
        made: list[tuple[Chunk, ChunkTranscript]] = []
        run = self._run(data, request, options)
        async with aclosing(run.chunks()) as chunks:
            async for chunk, transcript in chunks:
                made.append((chunk, transcript))
                on_progress(Progress(done_s=chunk.spans[-1].end_s, total_s=total_s))
        on_progress(Progress(done_s=run.duration_s, total_s=run.duration_s))
        whole = pipeline.finish(made, request, duration_s=run.duration_s, model=self._model.name)
        took_s = time.perf_counter() - began_s
        values = {field.name: getattr(whole, field.name) for field in fields(whole)}
        return LocalTranscript(**values, took_s=took_s)

    def _run(
        self, data: NDArray[np.uint8], request: TranscriptionRequest, options: DecodeOptions
    ) -> FileTranscription:
        request_id = uuid.uuid4().hex

        async def prepare(cursor: DecodeCursor | None) -> pipeline.Prepared:
            cut = pipeline.prepare_options(
                self._settings, self._model, request, is_first=cursor is None
            )
            return await self._in_thread(
                lambda: pipeline.prepare(data, cursor, cut, self._detector)
            )

        async def transcribe(chunk: Chunk, options: DecodeOptions) -> ChunkTranscript:
            job = ChunkJob(chunk=chunk, options=options, request_id=request_id)
            return await pipeline.transcribe_chunk(self._batches.submit, job)

        in_flight = 2 * self.batch_size * self._model.n_workers  # one batch runs, one waits
        return FileTranscription(
            prepare,
            transcribe,
            options,
            limits=RunLimits(max_in_flight=lambda: in_flight),
            one_language=not request.multilingual,
        )

    def _open(self, audio: Audio) -> tuple[NDArray[np.uint8], float | None]:
        """Return a file's bytes, and how long its header says that it is, in seconds."""
        data = files.read_file(audio, max_bytes=sys.maxsize)
        return data, files.header_duration_s(data, self._settings.audio.limits)

    async def _in_thread(self, work: Callable[[], Answer]) -> Answer:
        return await asyncio.get_running_loop().run_in_executor(self._decoders, work)


def _settings(source: str, **model: Any) -> AppSettings:
    """Return the app's settings with that model alone."""
    if source == EMBEDDED:  # with the chunks that it was trained on
        model = {**AppSettings().models[0].model_dump(), **model}
    return AppSettings(
        models=(ModelSettings(**{"name": model_name(source), "source": source, **model}),)
    )


def _check_speakers(request: TranscriptionRequest) -> None:
    """Refuse what needs more than this process has. Raises InvalidRequestError."""
    if request.has_speakers:
        asked = [name for name in ("diarize", "multichannel") if getattr(request, name)]
        raise InvalidRequestError(
            asked[0] if asked else "response_format",
            "Speakers are not told apart in this process. Ask a server for it: with diarize=true "
            "one whose profile has 'diarization:', with multichannel=true any.",
        )


def _load_engine(model: ModelSettings) -> WhisperEngine:
    """Load a model and decode once. Raises ModelLoadError."""
    directory = models.locate_model(model.source)
    try:
        engine = WhisperEngine(directory, model, n_cores=len(os.sched_getaffinity(0)))
    except (RuntimeError, ValueError) as error:  # CTranslate2's, for files and compute types
        raise ModelLoadError(model.source, str(error)) from error
    pipeline.warm_up(engine)
    return engine


def _stop(
    loop: asyncio.AbstractEventLoop,
    thread: threading.Thread,
    pools: tuple[Batches, ThreadPoolExecutor],
) -> None:
    """End everything on a loop, the loop, and the threads that worked for it."""
    asyncio.run_coroutine_threadsafe(_cancel_all(), loop).result()
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    for pool in pools:
        pool.shutdown()
    loop.close()


async def _cancel_all() -> None:
    """Cancel everything on this loop but this."""
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
