"""Ray Data over a folder: every file one row, whatever happens to a worker or to the run."""

import json
import threading
from collections import Counter
from pathlib import Path

import pytest
import ray
import yaml

from serve_app.domain import TranscriptionRequest
from serve_app.errors import ModelNotFoundError
from tests.clips import digits, encode
from tests.manifests import ROOT
from tests.serve.conftest import Graph

pytest.importorskip("ray.data", reason="the extra serve_app[data] is not installed")

from pyarrow.parquet import read_table

from benchmarks.dataset import kill_worker
from serve_app.data import append_jsonl, read_source, transcribe_dataset

N_CLIPS = 30


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("clips")
    for i in range(N_CLIPS):
        (made / f"{i:03}.flac").write_bytes(encode(digits(f"{i:03}"), "flac", "flac"))
    (made / "bad.flac").write_bytes(b"no audio")
    return made


def read(folder: Path) -> "ray.data.Dataset":
    return ray.data.read_binary_files(str(folder), include_paths=True)


def rows_of(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_worker_that_is_killed_costs_no_row_and_makes_none_twice(
    graph: Graph, folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.jsonl"

    def some_are_written() -> bool:
        return out.is_file() and out.read_text().count("\n") > 3

    killer = threading.Thread(target=kill_worker, args=(some_are_written,), daemon=True)
    killer.start()
    made = transcribe_dataset(read(folder), profile="demo", n_workers=2)
    assert append_jsonl(made, out) == N_CLIPS + 1
    assert not killer.is_alive()
    rows = rows_of(out)
    assert Counter(Path(str(row["path"])).name for row in rows) == Counter(
        path.name for path in folder.iterdir()
    )
    [bad] = [row for row in rows if row["error"]]
    assert (Path(str(bad["path"])).name, bad["error"]) == ("bad.flac", "invalid_audio")
    assert bad["message"]
    assert all(row["text"] for row in rows if not row["error"])


def test_a_worker_loads_the_model_that_the_request_names_at_the_profiles_revision(
    folder: Path, tmp_path: Path
) -> None:
    profile = tmp_path / "mine.yaml"
    config = yaml.safe_load((ROOT / "configs/all.yaml").read_text())
    for deployment in config["applications"][0]["deployments"]:
        if deployment["name"] == "WhisperTranscriber-large-v3":
            deployment["user_config"]["revision"] = "v1"
    profile.write_text(yaml.safe_dump(config))
    source = read_source(str(profile), "large-v3")
    assert [model.name for model in source.settings.models] == ["large-v3"]
    assert source.revision == "v1"
    assert read_source(str(profile), None).settings.models[0].name == "turbo"
    with pytest.raises(ModelNotFoundError):
        transcribe_dataset(
            read(folder), profile="demo", request=TranscriptionRequest(model="large-v3")
        )


def test_a_run_goes_on_where_its_output_ends_and_calls_the_running_app(
    graph: Graph, folder: Path, tmp_path: Path
) -> None:
    out, parquet = tmp_path / "out.jsonl", str(tmp_path / "parquet")
    names = ["000.flac", "001.flac", "002.flac", "bad.flac"]
    files = ray.data.read_binary_files([str(folder / name) for name in names], include_paths=True)
    done = {"path": str(folder / "000.flac"), "text": "as it was", "error": None}
    failed = {"path": str(folder / "002.flac"), "text": None, "error": "service_unavailable"}
    broken_off = {"path": str(folder / "001.flac"), "text": "amid a letter: ç"}
    lines = "\n".join(json.dumps(row, ensure_ascii=False) for row in (done, failed, broken_off))
    out.write_bytes(lines.encode()[: -len('"}') - 1])
    made = transcribe_dataset(files, done=out).materialize()
    made.write_parquet(parquet)
    assert append_jsonl(made, out) == 3
    *first, _, _, _ = rows_of(out)
    others = rows_of(out)[len(first) :]
    assert first == [done, failed]
    told = {Path(str(row["path"])).name: row["text"] or row["error"] for row in others}
    assert told == {
        "001.flac": graph.transcribe(digits("001")),
        "002.flac": graph.transcribe(digits("002")),
        "bad.flac": "invalid_audio",
    }
    written = read_table(parquet).to_pylist()
    assert {row["path"] for row in written} == {row["path"] for row in others}
