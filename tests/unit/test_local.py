import asyncio
import gc
import json
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer
from tokenizers.models import BPE

from benchmarks.faults import wait_until
from serve_app import Pcm, TranscriptionRequest, local, pipeline
from serve_app.errors import InvalidAudioError, ModelLoadError, ModelNotFoundError
from serve_app.local.worker import Worker
from serve_app.models import asset
from serve_app.settings import AppSettings
from tests.clips import DATA, clip, digits, references, silence, speech


@pytest.fixture(scope="module")
def whisper() -> Iterator[local.Whisper]:
    with local.load("embedded") as loaded:
        yield loaded


def test_the_facade_runs_without_ray() -> None:
    code = f"""
import sys
from serve_app import local
print(local.load("embedded").transcribe({str(DATA / "light.flac")!r}).text)
assert not any(name == "ray" or name.startswith("ray.") for name in sys.modules)
"""
    made = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert made.stdout.strip() == references()["light"]


def test_a_transcript_knows_its_length_and_what_it_took(whisper: local.Whisper) -> None:
    made = whisper.transcribe(DATA / "timer.flac", TranscriptionRequest(words=True))
    assert made.text == references()["timer"]
    assert made.duration_s == pytest.approx(len(clip("timer")) / 16_000)
    assert made.real_time_factor == pytest.approx(made.took_s / made.duration_s)
    assert "".join(word.text for word in made.words).strip() == made.text


def test_bytes_and_samples_are_heard_as_their_file(whisper: local.Whisper) -> None:
    path = DATA / "train.flac"
    for audio in (path, path.read_bytes(), Pcm(samples=clip("train"), rate=16_000)):
        assert whisper.transcribe(audio).text == references()["train"]


def test_device_number_type_and_batch_are_chosen(whisper: local.Whisper) -> None:
    assert whisper.placement.device in ("cpu", "cuda")
    assert whisper.placement.compute_type != "auto"
    assert whisper.batch_size >= 1


def test_what_is_asked_for_is_taken() -> None:
    with local.load(
        "embedded", device="cpu", compute_type="float32", batch_size=3, n_threads=1
    ) as loaded:
        assert (loaded.placement.device, loaded.placement.compute_type) == ("cpu", "float32")
        assert (loaded.placement.n_threads, loaded.batch_size) == (1, 3)


def test_progress_rises_to_the_end(whisper: local.Whisper) -> None:
    seen: list[local.Progress] = []
    made = whisper.transcribe(Pcm(samples=speech(30), rate=16_000), on_progress=seen.append)
    done_s = [progress.done_s for progress in seen]
    assert len(done_s) > 3
    assert done_s == sorted(done_s)
    assert seen[0].total_s == pytest.approx(30)
    assert seen[-1] == local.Progress(done_s=made.duration_s, total_s=made.duration_s)


def test_files_of_several_threads_each_get_their_own_text(whisper: local.Whisper) -> None:
    numbers = [str(n) for n in np.random.default_rng(2).choice(np.arange(100, 1000), 12, False)]
    files = [Pcm(samples=digits(number), rate=16_000) for number in numbers]
    alone = [whisper.transcribe(one).text for one in files]
    with ThreadPoolExecutor(12) as pool:
        together = list(pool.map(lambda one: whisper.transcribe(one).text, files))
    assert together == alone
    assert len(set(alone)) > 8  # so that a mix-up would show


async def test_it_can_be_called_where_a_loop_runs_already(whisper: local.Whisper) -> None:
    made = await asyncio.to_thread(whisper.transcribe, DATA / "light.flac")
    assert made.text == whisper.transcribe(DATA / "light.flac").text


def test_errors_are_those_of_http(whisper: local.Whisper) -> None:
    with pytest.raises(InvalidAudioError):
        whisper.transcribe(b"no audio")
    with pytest.raises(ModelNotFoundError):
        whisper.transcribe(b"no audio", TranscriptionRequest(model="none"))


def test_another_model_of_the_settings_than_the_one_that_is_loaded_is_not_found() -> None:
    [embedded] = AppSettings().models
    other = embedded.model_copy(update={"name": "other"})
    with local.Whisper(AppSettings(models=(embedded, other))) as whisper:
        assert whisper.transcribe(DATA / "light.flac", TranscriptionRequest(model=embedded.name))
        with pytest.raises(ModelNotFoundError):
            whisper.transcribe(DATA / "light.flac", TranscriptionRequest(model="other"))


def test_a_callback_that_fails_ends_its_own_file_alone(whisper: local.Whisper) -> None:
    def fail(progress: local.Progress) -> None:
        raise KeyError("planted")

    with pytest.raises(KeyError, match="planted"):
        whisper.transcribe(DATA / "light.flac", on_progress=fail)
    assert whisper.transcribe(DATA / "light.flac").text == references()["light"]


def test_a_model_that_is_not_there_is_told(tmp_path: object) -> None:
    with pytest.raises(ModelLoadError, match=r"model\.bin"):
        local.load(str(tmp_path))


@pytest.mark.parametrize(
    ("name", "keeps", "reason"),
    [
        ("model.bin", 0, "ends early"),
        ("model.bin", -1, "incomplete"),
        ("config.json", 30, "parse error"),
        ("vocabulary.json", 30, "parse error"),
        ("tokenizer.json", 1000, "EOF while parsing"),
    ],
)
def test_a_damaged_file_of_a_model_is_told_with_the_remedy(
    name: str, keeps: int, reason: str, tmp_path: Path
) -> None:
    shutil.copytree(asset("whisper-demo-en"), tmp_path, dirs_exist_ok=True)
    (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:keeps])
    with pytest.raises(ModelLoadError, match=f"{reason}.*copy or download the model again"):
        local.load(str(tmp_path), device="cpu")


def test_a_file_of_another_model_is_told(tmp_path: Path) -> None:
    shutil.copytree(asset("whisper-demo-en"), tmp_path, dirs_exist_ok=True)
    path = tmp_path / "preprocessor_config.json"
    features = json.loads(path.read_text())
    path.write_text(json.dumps({**features, "feature_size": 128}))
    with pytest.raises(ModelLoadError, match=r"128 mel bands.*its weights take 80"):
        local.load(str(tmp_path), device="cpu")
    path.write_text(json.dumps(features))
    Tokenizer(BPE()).save(str(tmp_path / "tokenizer.json"))  # without Whisper's tokens
    with pytest.raises(ModelLoadError, match=r"first decode failed.*copy or download"):
        local.load(str(tmp_path), device="cpu")


def test_a_list_of_tokens_is_no_harm_to_the_next_file(whisper: local.Whisper) -> None:
    listed = TranscriptionRequest(suppress_tokens=[-1])  # type: ignore[arg-type]
    for request in (listed, TranscriptionRequest()):
        assert whisper.transcribe(DATA / "light.flac", request).text == references()["light"]


def test_a_model_that_is_dropped_is_closed_and_by_none_of_its_threads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    closed_by = []
    close = Worker.close

    def note(worker: Worker) -> None:
        close(worker)
        closed_by.append(threading.current_thread().name)

    monkeypatch.setattr(Worker, "close", note)
    for audio in (DATA / "light.flac", Pcm(samples=silence(1.0), rate=16_000), b"no audio"):
        loaded = local.load("embedded")
        with suppress(InvalidAudioError):
            loaded.transcribe(audio)
        del loaded
        gc.collect()
    wait_until(lambda: len(closed_by) == 3)
    assert not any(name.startswith("serve_app") for name in closed_by)


def test_a_file_that_comes_while_the_model_closes_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    closes = threading.Event()
    decode = pipeline.FittingBatches.transcribe

    def wait_and_decode(*args: Any) -> Any:
        closes.wait(30)
        time.sleep(0.5)  # the model waits for its batch, and the next file comes
        return decode(*args)

    loaded = local.load("embedded")
    monkeypatch.setattr(pipeline.FittingBatches, "transcribe", wait_and_decode)
    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(loaded.transcribe, DATA / "light.flac")
        time.sleep(0.5)
        closing = pool.submit(loaded.close)
        closes.set()
        time.sleep(0.1)
        late = pool.submit(loaded.transcribe, DATA / "light.flac")
        assert isinstance(late.exception(timeout=30), RuntimeError)
        assert first.exception(timeout=30) is not None
        closing.result(timeout=30)


def test_closing_ends_what_is_under_way() -> None:
    loaded = local.load("embedded")
    with ThreadPoolExecutor(1) as pool:
        long = pool.submit(loaded.transcribe, Pcm(samples=speech(600), rate=16_000))
        loaded.transcribe(DATA / "light.flac")
        loaded.close()
        assert long.exception(timeout=30) is not None
