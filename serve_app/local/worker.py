"""A loaded model and the threads that work with it.

They know nothing of the `Whisper` that holds them, so that it is found when it is dropped.
"""

import asyncio
import sys
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, fields
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from serve_app import channels, models, pipeline
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
from serve_app.fan_out import FileTranscription, RunLimits
from serve_app.local.batches import Batches
from serve_app.local.loading import load_engine, n_cores
from serve_app.local.progress import Progress, Tally
from serve_app.local.speakers import SpeakerFinder
from serve_app.settings import AppSettings, DiarizationSettings
from serve_app.speakers import SpeakerSearch
from serve_app.stages import audio as files
from serve_app.stages.vad import SpeechDetector

Answer = TypeVar("Answer")


@dataclass(frozen=True, kw_only=True)
class LocalTranscript(Transcript):
    """A transcript, and what it took."""

    took_s: float

    @property
    def real_time_factor(self) -> float:
        """Return the time it took over the audio's; below 1 is faster than speech."""
        return self.took_s / self.duration_s if self.duration_s else 0.0


@dataclass(frozen=True, kw_only=True, eq=False)
class _File:
    """What is to be transcribed, and how."""

    data: NDArray[np.uint8]  # (n,): the file's bytes
    request: TranscriptionRequest
    options: DecodeOptions


class Worker:
    """Transcribes files with the settings' first model, several at a time."""

    def __init__(
        self, settings: AppSettings, *, batch_size: int | None, revision: str | None
    ) -> None:
        """Load what the settings name; see `Whisper`."""
        self._settings = settings
        self._model = settings.models[0]
        engine = load_engine(self._model, revision)
        self.placement = engine.placement  # the device, compute type and threads in use
        self._known = models.describe(self._model, engine.languages)
        self._detector = SpeechDetector()
        self._speakers = SpeakerFinder()
        if settings.diarization:
            self.load_diarization(settings.diarization)
        self._decoders = ThreadPoolExecutor(2, "serve_app decoder")
        self._batches = Batches(
            engine,
            n_workers=self._model.n_workers,
            max_batch_size=engine.largest_batch(batch_size, engine.free_bytes()),
        )
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="serve_app", daemon=True
        )
        self._thread.start()
        self._is_closed = False
        self._closing = threading.Lock()

    @property
    def batch_size(self) -> int:
        """Return how many chunks are taken into a batch."""
        return self._batches.max_batch_size

    def load_diarization(self, settings: DiarizationSettings) -> None:
        """Load what tells speakers apart. Raises ModelLoadError."""
        self._speakers.load(settings, n_cores=n_cores())

    def start(
        self,
        audio: Audio,
        request: TranscriptionRequest,
        on_progress: Callable[[Progress], None],
    ) -> Future[LocalTranscript]:
        """Begin to transcribe a file; see `Whisper.transcribe`. Cancelling ends it."""
        with self._closing:
            if self._is_closed:
                raise RuntimeError("the model is closed: load it again")
            return asyncio.run_coroutine_threadsafe(
                self._transcribe(audio, request, on_progress), self._loop
            )

    def drop(self) -> None:
        """Close what nobody holds any more.

        Whoever held it last may be one of its own threads, by the traceback of an error, or where
        Python collects cycles: a thread cannot await its own end.
        """
        if threading.current_thread() is threading.main_thread():
            self.close()
        else:
            threading.Thread(target=self.close, name="end of a model").start()

    def close(self) -> None:
        """End everything on the loop, the loop, and the threads that worked for it."""
        with self._closing:  # what has begun by now is cancelled, and nothing begins any more
            self._is_closed = True
        asyncio.run_coroutine_threadsafe(_cancel_all(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        for pool in (self._batches, self._decoders, self._speakers):
            pool.shutdown()
        self._loop.close()

    async def _transcribe(
        self,
        audio: Audio,
        request: TranscriptionRequest,
        on_progress: Callable[[Progress], None],
    ) -> LocalTranscript:
        began_s = time.perf_counter()
        models.find_model(request.model, (self._model,))
        self._speakers.check(request)
        options = pipeline.decode_options(request, self._model, self._known)
        data, total_s = await self._in_thread(lambda: self._open(audio))
        file = _File(data=data, request=request, options=options)
        selected: list[int | None] = [None]
        if request.multichannel:
            limits = self._settings.audio.limits
            n_channels = await self._in_thread(lambda: channels.count_channels(data, limits))
            selected = channels.select_channels(n_channels)
        tally = Tally(on_progress, total_s=total_s, n_channels=len(selected))
        async with self._speakers.search(data, request) as search:
            made = await self._collect(file, selected, tally, search)
            whole = await search.add_speakers(made)
        tally.finish(whole.duration_s)
        values = {field.name: getattr(whole, field.name) for field in fields(whole)}
        return LocalTranscript(**values, took_s=time.perf_counter() - began_s)

    async def _collect(
        self, file: _File, selected: Sequence[int | None], tally: Tally, search: SpeakerSearch
    ) -> Transcript:
        """Return the transcript of those channels; one that is None is all of them, mixed."""
        runs = [self._run(file, channel) for channel in selected]
        made = await channels.collect_all(
            [search.beside(tally.watch(i, run.chunks())) for i, run in enumerate(runs)]
        )
        transcripts = [
            pipeline.finish(pairs, file.request, duration_s=run.duration_s, model=self._model.name)
            for run, pairs in zip(runs, made, strict=True)
        ]
        if not file.request.multichannel:
            [transcript] = transcripts
            return transcript
        *_, joined = channels.join_channels(transcripts)
        assert isinstance(joined, Transcript)  # a stream ends with it
        return joined

    def _run(self, file: _File, channel: int | None) -> FileTranscription:
        request_id = uuid.uuid4().hex
        start = None if channel is None else DecodeCursor(channel=channel)

        async def prepare(cursor: DecodeCursor | None) -> pipeline.Prepared:
            cut = pipeline.prepare_options(
                self._settings, self._model, file.request, is_first=cursor is None
            )
            return await self._in_thread(
                lambda: pipeline.prepare(file.data, cursor or start, cut, self._detector)
            )

        async def transcribe(chunk: Chunk, options: DecodeOptions) -> ChunkTranscript:
            job = ChunkJob(chunk=chunk, options=options, request_id=request_id)
            return await pipeline.transcribe_chunk(self._batches.submit, job)

        in_flight = 2 * self.batch_size * self._model.n_workers  # one batch runs, one waits
        return FileTranscription(
            prepare,
            transcribe,
            file.options,
            limits=RunLimits(max_in_flight=lambda: in_flight),
            one_language=not file.request.multilingual,
        )

    def _open(self, audio: Audio) -> tuple[NDArray[np.uint8], float | None]:
        """Return a file's bytes, and how long its header says that it is, in seconds."""
        data = files.read_file(audio, max_bytes=sys.maxsize)
        return data, files.header_duration_s(data, self._settings.audio.limits)

    async def _in_thread(self, work: Callable[[], Answer]) -> Answer:
        return await asyncio.get_running_loop().run_in_executor(self._decoders, work)


async def _cancel_all() -> None:
    """Cancel everything on this loop but this."""
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
