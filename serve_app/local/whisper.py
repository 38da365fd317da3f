"""A model name in, something that transcribes files out; called by Python users and `serve-app`."""

import asyncio
import sys
import threading
import time
import uuid
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from typing import Literal, Self, TypeVar

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
from serve_app.local.loading import load_engine, make_settings, n_cores
from serve_app.local.progress import Progress, Tally
from serve_app.local.speakers import SpeakerFinder
from serve_app.settings import AppSettings, DiarizationSettings
from serve_app.speakers import SpeakerSearch
from serve_app.stages import audio as files
from serve_app.stages.vad import SpeechDetector

N_FILES = 4  # that are transcribed at the same time fill the batches of short ones

Answer = TypeVar("Answer")

_DEFAULT_REQUEST = TranscriptionRequest()


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
    settings = make_settings(model, device=device, compute_type=compute_type, cpu_threads=n_threads)
    return Whisper(settings, batch_size=batch_size)


class Whisper:
    """A loaded model. `transcribe` may be called from several threads: they share batches."""

    def __init__(
        self,
        settings: AppSettings,
        *,
        batch_size: int | None = None,
        revision: str | None = None,
    ) -> None:
        """Load the settings' first model, and what tells speakers apart where they name it.

        Args:
            settings: of an app.
            batch_size: as for `load`.
            revision: of weights on Hugging Face: a branch, tag or commit; None: the main branch.
        """
        self._settings = settings
        self._model = settings.models[0]
        engine = load_engine(self._model, revision)
        self.placement = engine.placement  # the device, compute type and threads in use
        self._known = models.describe(self._model, engine.languages)
        self._detector = SpeechDetector()
        self._speakers = SpeakerFinder()
        if settings.diarization:
            self._speakers.load(settings.diarization, n_cores=n_cores())
        self._decoders = ThreadPoolExecutor(2, "serve_app decoder")
        self._batches = Batches(
            engine,
            n_workers=self._model.n_workers,
            max_batch_size=engine.largest_batch(batch_size, engine.free_bytes()),
        )
        self._loop = asyncio.new_event_loop()
        thread = threading.Thread(target=self._loop.run_forever, name="serve_app", daemon=True)
        thread.start()
        pools = (self._batches, self._decoders, self._speakers)
        # Called once: by `close`, where nobody holds this any more, or at the interpreter's end.
        self._stop = weakref.finalize(self, _stop, self._loop, thread, pools)

    @property
    def batch_size(self) -> int:
        """Return how many chunks are taken into a batch; a device may hold fewer at once."""
        return self._batches.max_batch_size

    def load_diarization(self, diarization: str | DiarizationSettings) -> None:
        """Load what tells speakers apart, for requests that ask for it.

        Args:
            diarization: the source of a pyannote.audio pipeline (a Hugging Face id, a directory,
                `embedded`), or all its settings.

        Raises:
            ModelLoadError: it cannot be found, downloaded or loaded.
        """
        if isinstance(diarization, str):
            # A server refuses long files for the sake of others; here there are none.
            longest_s = self._settings.audio.max_audio_s
            device = self._model.device
            diarization = DiarizationSettings(
                source=diarization, device=device, max_audio_s=longest_s
            )
        self._speakers.load(diarization, n_cores=n_cores())

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


def _stop(
    loop: asyncio.AbstractEventLoop,
    thread: threading.Thread,
    pools: tuple[Batches, ThreadPoolExecutor, SpeakerFinder],
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
