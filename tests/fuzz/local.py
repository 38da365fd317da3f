"""The whole way of a file in this process: the API before the real stages and the real model."""

from collections.abc import AsyncGenerator

from serve_app import models, pipeline
from serve_app.domain import (
    Chunk,
    ChunkJob,
    ChunkTranscript,
    DecodeCursor,
    DecodeOptions,
    Transcript,
    TranscriptDelta,
    TranscriptionRequest,
)
from serve_app.fan_out import FileTranscription, Made, RunLimits
from serve_app.models import locate_model
from serve_app.settings import EMBEDDED, AppSettings
from serve_app.stages.assemble import GrowingText
from serve_app.stages.vad import SpeechDetector
from serve_app.stages.whisper import WhisperEngine
from tests.fakes import FakeService

LIMITS = RunLimits(max_in_flight=lambda: 4)


class LocalService(FakeService):
    """Transcribes for real, one chunk at a time; the other routes are the fake's."""

    def __init__(self) -> None:
        super().__init__()
        self._settings = AppSettings()
        [model] = self._settings.models
        self._engine = WhisperEngine(locate_model(EMBEDDED), model, n_cores=1)
        self._detector = SpeechDetector()

    async def transcribe(self, audio: bytes, request: TranscriptionRequest) -> Transcript:
        *_, made = [event async for event in self.transcribe_stream(audio, request)]
        assert isinstance(made, Transcript)
        return made

    async def transcribe_stream(
        self, audio: bytes, request: TranscriptionRequest
    ) -> AsyncGenerator[TranscriptDelta | Transcript]:
        model = models.find_model(request.model, self._settings.models)

        async def prepare(cursor: DecodeCursor | None) -> pipeline.Prepared:
            options = pipeline.prepare_options(
                self._settings, model, request, is_first=cursor is None
            )
            return pipeline.prepare(audio, cursor, options, self._detector)

        async def transcribe(chunk: Chunk, options: DecodeOptions) -> ChunkTranscript:
            job = ChunkJob(chunk=chunk, options=options, request_id="fuzz")
            return await pipeline.transcribe_chunk(self._decode, job)

        known = models.describe(model, self._engine.languages)
        options = pipeline.decode_options(request, model, known)
        run = FileTranscription(prepare, transcribe, options, limits=LIMITS)
        made: list[Made] = []
        text = GrowingText()
        async for pair in run.chunks():
            made.append(pair)
            yield TranscriptDelta(text=text.add(pair[1].text), logprobs=pair[1].logprobs)
        yield pipeline.finish(made, request, duration_s=run.duration_s, model=model.name)

    async def _decode(self, job: ChunkJob) -> pipeline.Outcome:
        [outcome] = pipeline.transcribe_batch(self._engine, [job])
        return outcome
