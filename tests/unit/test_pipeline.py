import pickle
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest

from serve_app import pipeline
from serve_app.domain import (
    MAX_PROMPT_CHARS,
    ChunkJob,
    ChunkTranscript,
    DecodeCursor,
    DecodeOptions,
    ModelInfo,
    Task,
    TranscriptionRequest,
    VadOptions,
)
from serve_app.errors import (
    InvalidAudioError,
    InvalidRequestError,
    OutOfDeviceMemoryError,
    ReplicaLostError,
    TranscriptionError,
)
from serve_app.settings import AppSettings, ModelSettings
from serve_app.stages.vad import SpeechDetector
from tests.clips import encode, join, noise, silence, speech
from tests.fakes import EchoEngine, job, transcript

OPTIONS = pipeline.PrepareOptions(max_slice_s=600, max_chunk_s=30, vad=VadOptions())


def prepare_all(
    data: bytes, options: pipeline.PrepareOptions, detector: SpeechDetector
) -> list[pipeline.Prepared]:
    slices = [pipeline.prepare(data, None, options, detector)]
    while (cursor := slices[-1].cursor) is not None:
        slices.append(pipeline.prepare(data, cursor, options, detector))
    return slices


def test_speech_becomes_chunks_that_hold_just_its_samples(detector: SpeechDetector) -> None:
    pcm = np.concatenate([silence(3), join("light"), silence(3)])
    prepared = pipeline.prepare(encode(pcm), None, OPTIONS, detector)
    [chunk] = prepared.chunks
    [span] = chunk.spans
    assert (prepared.cursor, prepared.duration_s) == (None, len(pcm) / 16000)
    assert 2.4 < span.start_s < 3.1
    start = round(span.start_s * 16000)
    assert np.array_equal(chunk.pcm, pcm[start : start + len(chunk.pcm)])


@pytest.mark.parametrize("pcm", [silence(2), noise(2)], ids=["silence", "noise"])
def test_audio_without_speech_gives_no_chunks(pcm: np.ndarray, detector: SpeechDetector) -> None:
    assert pipeline.prepare(encode(pcm), None, OPTIONS, detector).chunks == ()


def test_no_chunk_is_longer_than_the_model_allows(detector: SpeechDetector) -> None:
    options = pipeline.PrepareOptions(max_slice_s=600, max_chunk_s=5, vad=VadOptions())
    prepared = pipeline.prepare(encode(speech(40)), None, options, detector)
    assert len(prepared.chunks) >= 8
    assert all(chunk.duration_s <= 5.001 for chunk in prepared.chunks)


def test_a_file_in_slices_gives_all_the_speech_of_the_file_once(detector: SpeechDetector) -> None:
    data = encode(speech(300))
    [whole] = prepare_all(data, OPTIONS, detector)
    sliced_options = pipeline.PrepareOptions(max_slice_s=61, max_chunk_s=30, vad=VadOptions())
    sliced = prepare_all(data, sliced_options, detector)
    assert len(sliced) > 4
    assert sliced[-1].duration_s == whole.duration_s
    spans = [s for p in sliced for c in p.chunks for s in c.spans]
    assert all(a.end_s <= b.start_s for a, b in pairwise(spans))
    speech_s = sum(s.duration_s for c in whole.chunks for s in c.spans)
    assert sum(s.duration_s for s in spans) == pytest.approx(speech_s, rel=0.01)


def test_bytes_that_are_no_audio_are_refused(detector: SpeechDetector) -> None:
    with pytest.raises(InvalidAudioError):
        pipeline.prepare(b"not audio at all", None, OPTIONS, detector)


def test_the_first_slice_is_short_and_later_ones_long() -> None:
    settings = AppSettings()
    [model] = settings.models
    request = TranscriptionRequest()
    first = pipeline.prepare_options(settings, model, request, is_first=True)
    later = pipeline.prepare_options(settings, model, request, is_first=False)
    assert (first.max_slice_s, later.max_slice_s) == (60, 120)
    assert first.max_chunk_s == model.max_chunk_s


ENGLISH = ModelInfo(name="m", languages=("en",), translates=False)
MANY = ModelInfo(name="m", languages=("en", "tr", "zh"), translates=True)
MODEL = ModelSettings(name="m", source="s", beam_size=5, tokens_per_s=9.0, token_margin=7)


def test_a_requests_fields_reach_the_decode_options() -> None:
    request = TranscriptionRequest(
        task=Task.TRANSLATE,
        language="tr",
        prompt="hi",
        hotwords="Ankara",
        temperature=0.4,
        words=True,
        beam_size=3,
        best_of=2,
        patience=1.5,
        length_penalty=0.9,
        repetition_penalty=1.1,
        no_repeat_ngram_size=3,
        max_new_tokens=50,
        suppress_tokens=(-1, 9),
    )
    assert pipeline.decode_options(request, MODEL, MANY) == DecodeOptions(
        task=Task.TRANSLATE,
        language="tr",
        prompt="hi",
        hotwords="Ankara",
        temperatures=(0.4,),
        timestamps=True,
        words=True,
        beam_size=3,
        best_of=2,
        patience=1.5,
        length_penalty=0.9,
        repetition_penalty=1.1,
        no_repeat_ngram_size=3,
        max_new_tokens=50,
        suppress_tokens=(-1, 9),
        tokens_per_s=9.0,
        token_margin=7,
    )


def test_what_a_request_leaves_open_is_the_profiles() -> None:
    made = pipeline.decode_options(TranscriptionRequest(), MODEL, MANY)
    assert (made.beam_size, made.temperatures) == (5, MODEL.temperatures)


def test_log_probabilities_are_for_greedy_search() -> None:
    greedy = TranscriptionRequest(logprobs=True, beam_size=1)
    assert pipeline.decode_options(greedy, MODEL, MANY).logprobs
    with pytest.raises(InvalidRequestError, match="beam_size=1") as caught:
        pipeline.decode_options(TranscriptionRequest(logprobs=True), MODEL, MANY)
    assert caught.value.param == "include"


def test_of_a_prompt_of_megabytes_its_end_travels_and_of_hotwords_their_start() -> None:
    text = "first " + "word " * 200_000 + "last"
    made = pipeline.decode_options(TranscriptionRequest(prompt=text, hotwords=text), MODEL, MANY)
    assert made.prompt and made.prompt.endswith("last")
    assert made.hotwords and made.hotwords.startswith("first")
    assert len(pickle.dumps(made)) < 100_000


def test_a_profile_can_decode_timestamps_for_every_request() -> None:
    always = MODEL.model_copy(update={"timestamps": "always"})
    plain, none = TranscriptionRequest(), TranscriptionRequest(without_timestamps=True)
    assert not pipeline.decode_options(plain, MODEL, MANY).timestamps
    assert pipeline.decode_options(plain, always, MANY).timestamps
    assert not pipeline.decode_options(none, always, MANY).timestamps


@pytest.mark.parametrize(
    ("asked", "code"),
    [("tr", "tr"), ("Turkish", "tr"), ("tr-TR", "tr"), ("zh_Hans", "zh"), (None, None)],
)
def test_a_language_may_be_a_code_a_name_or_a_tag(asked: str | None, code: str | None) -> None:
    request = TranscriptionRequest(language=asked)
    assert pipeline.decode_options(request, MODEL, MANY).language == code


def test_of_a_huge_prompt_the_end_is_read_and_of_hotwords_the_beginning() -> None:
    text = "a" * 50_000 + "b" * 50_000
    made = pipeline.decode_options(TranscriptionRequest(prompt=text, hotwords=text), MODEL, MANY)
    assert made.prompt == "b" * MAX_PROMPT_CHARS
    assert made.hotwords == "a" * MAX_PROMPT_CHARS


def test_a_language_that_is_not_among_those_to_detect_is_refused() -> None:
    among = TranscriptionRequest(language="tr", languages=("turkish", "en"))
    assert pipeline.decode_options(among, MODEL, MANY).language == "tr"
    with pytest.raises(InvalidRequestError) as caught:
        pipeline.decode_options(TranscriptionRequest(language="tr", languages=("en",)), MODEL, MANY)
    assert caught.value.param == "languages"


def test_auto_means_detect() -> None:
    request = TranscriptionRequest(language="auto")
    assert pipeline.decode_options(request, MODEL, MANY).language is None
    assert pipeline.decode_options(request, MODEL, ENGLISH).language == "en"


@pytest.mark.parametrize("asked", ["de", "klingon", "xx-YY"])
def test_a_language_the_model_does_not_know_is_refused_with_those_it_does(asked: str) -> None:
    with pytest.raises(InvalidRequestError, match="en, tr, zh") as caught:
        pipeline.decode_options(TranscriptionRequest(language=asked), MODEL, MANY)
    assert caught.value.param == "language"


def test_translation_is_refused_by_a_model_that_only_transcribes() -> None:
    with pytest.raises(InvalidRequestError, match="cannot translate"):
        pipeline.decode_options(TranscriptionRequest(task=Task.TRANSLATE), MODEL, ENGLISH)


def test_without_vad_everything_is_kept_and_cut_where_it_is_quiet(
    detector: SpeechDetector,
) -> None:
    pcm = np.concatenate([noise(27), silence(0.5), noise(20)])
    options = pipeline.PrepareOptions(max_slice_s=600, max_chunk_s=30, vad=None)
    prepared = pipeline.prepare(encode(pcm), None, options, detector)
    assert sum(len(chunk.pcm) for chunk in prepared.chunks) == len(pcm)
    assert 27.0 <= prepared.chunks[0].duration_s <= 27.5


def test_clips_of_the_caller_replace_the_vad(detector: SpeechDetector) -> None:
    options = pipeline.PrepareOptions(
        max_slice_s=61, max_chunk_s=30, vad=VadOptions(), clips=(1.0, 2.5, 70.0, 110.0, 118.0)
    )
    slices = prepare_all(encode(noise(120)), options, detector)
    spans = [(s.start_s, s.end_s) for p in slices for c in p.chunks for s in c.spans]
    assert spans == [(1.0, 2.5), (70.0, 100.0), (100.0, 110.0), (118.0, 120.0)]


def test_a_batch_that_does_not_fit_the_device_is_halved_and_everybody_answered() -> None:
    class Small(EchoEngine):
        def transcribe(self, jobs: Sequence[ChunkJob]) -> list[ChunkTranscript | ChunkJob]:
            if len(jobs) > 2:
                raise RuntimeError("CUDA failed with error out of memory")
            return super().transcribe(jobs)

    told: list[int] = []
    outcomes = pipeline.transcribe_batch(Small(), [job(i) for i in range(8)], told.append)
    assert [o.text for o in outcomes if isinstance(o, ChunkTranscript)] == [
        str(i) for i in range(8)
    ]
    assert told == [8, 4, 4]


def test_a_chunk_that_does_not_fit_alone_gets_its_own_error() -> None:
    class Full(EchoEngine):
        def transcribe(self, jobs: Sequence[ChunkJob]) -> list[ChunkTranscript | ChunkJob]:
            raise RuntimeError("CUDA out of memory")

    [outcome] = pipeline.transcribe_batch(Full(), [job(0)])
    assert isinstance(outcome, OutOfDeviceMemoryError)


@pytest.mark.parametrize(
    "text",
    ["CUDA failed with error an illegal memory access was encountered", "cuBLAS failed with 13"],
)
def test_a_failed_device_is_told_from_a_bad_chunk_so_that_another_replica_is_asked(
    text: str,
) -> None:
    class Broken(EchoEngine):
        def transcribe(self, jobs: Sequence[ChunkJob]) -> list[ChunkTranscript | ChunkJob]:
            raise RuntimeError(text)

    outcomes = pipeline.transcribe_batch(Broken(), [job(0), job(1)])
    assert [type(outcome) for outcome in outcomes] == [ReplicaLostError, ReplicaLostError]


def test_a_chunk_that_breaks_the_engine_fails_alone() -> None:
    engine = EchoEngine(fails_on=lambda value: value == 3)
    outcomes = pipeline.transcribe_batch(engine, [job(i) for i in range(8)])
    assert isinstance(outcomes[3], RuntimeError)
    rest = [o.text for o in outcomes if isinstance(o, ChunkTranscript)]
    assert rest == ["0", "1", "2", "4", "5", "6", "7"]


async def test_a_failed_attempt_is_submitted_again_until_it_is_accepted() -> None:
    submitted = []

    async def submit(item: ChunkJob) -> pipeline.Outcome:
        submitted.append(item)
        return transcript("done") if len(submitted) == 3 else job(len(submitted))

    assert (await pipeline.transcribe_chunk(submit, job(0))).text == "done"
    assert [int(j.chunk.pcm[0]) for j in submitted] == [0, 1, 2]


async def test_an_unexpected_error_of_a_chunk_is_not_shown_to_its_caller() -> None:
    async def submit(_: ChunkJob) -> pipeline.Outcome:
        return ZeroDivisionError("secret")

    with pytest.raises(TranscriptionError) as caught:
        await pipeline.transcribe_chunk(submit, job(0))
    assert "secret" not in str(caught.value)


def test_warming_up_fails_where_the_engine_cannot_decode() -> None:
    pipeline.warm_up(EchoEngine())
    with pytest.raises(TranscriptionError):
        pipeline.warm_up(EchoEngine(fails_on=lambda _: True))


def test_a_prepared_slice_crosses_a_process_border(detector: SpeechDetector) -> None:
    options = pipeline.PrepareOptions(max_slice_s=61, max_chunk_s=30, vad=VadOptions())
    prepared = pipeline.prepare(encode(speech(70)), None, options, detector)
    copy: pipeline.Prepared = pickle.loads(pickle.dumps(prepared))
    assert isinstance(copy.cursor, DecodeCursor)
    assert copy.cursor == prepared.cursor
    assert [len(c.pcm) for c in copy.chunks] == [len(c.pcm) for c in prepared.chunks]


def test_a_transcript_says_how_full_its_batch_was_and_a_next_attempt_stays_as_it_is() -> None:
    made = pipeline.with_fill(transcript("a"), 0.25)
    assert isinstance(made, ChunkTranscript)
    assert made.batch_fill == 0.25
    again = job()
    assert pipeline.with_fill(again, 0.25) is again
