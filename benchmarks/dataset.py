"""A thousand clips through Ray Data, with a worker killed on the way: no row lost, none twice."""

import os
import signal
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import ray
from ray.data import read_binary_files

from benchmarks.results import Bar, Report, say
from serve_app.data import append_jsonl, transcribe_dataset
from tests.clips import digits, encode

N_CLIPS = 1_000
N_WORKERS = 2


def run(report: Report, *, quick: bool) -> None:
    """Measure and write the report."""
    n_clips = 40 if quick else N_CLIPS
    with tempfile.TemporaryDirectory() as name:
        folder, out = Path(name) / "clips", Path(name) / "out.jsonl"
        folder.mkdir()
        for i in range(n_clips):
            (folder / f"{i:03}.flac").write_bytes(encode(digits(f"{i:03}"), "flac", "flac"))
        say(f"{n_clips} clips, {N_WORKERS} workers; one is killed after a third of the rows")
        ray.init(address="local", num_cpus=2 * N_WORKERS, include_dashboard=False)
        try:
            _measure(report, folder, out, n_clips)
        finally:
            ray.shutdown()


def _measure(report: Report, folder: Path, out: Path, n_clips: int) -> None:
    def third_is_written() -> bool:
        return out.is_file() and out.read_bytes().count(b"\n") > n_clips // 3

    killer = threading.Thread(target=kill_worker, args=(third_is_written,), daemon=True)
    killer.start()
    began_s = time.monotonic()
    files = read_binary_files(str(folder), include_paths=True)
    append_jsonl(transcribe_dataset(files, profile="demo", n_workers=N_WORKERS), out)
    took_s = time.monotonic() - began_s
    names = Counter(line.split('"')[3] for line in out.read_text().splitlines())
    report.add(
        n_clips=n_clips,
        n_workers=N_WORKERS,
        n_rows=names.total(),
        killed=not killer.is_alive(),
        took_s=took_s,
        clips_per_s=n_clips / took_s,
    )
    report.hold(Bar(name="clips without a row", value=n_clips - len(names), limit=0))
    report.hold(Bar(name="rows more than clips", value=names.total() - len(names), limit=0))


def kill_worker(is_time: Callable[[], bool]) -> None:
    """End one of the dataset's workers on this machine once it is time."""
    while not is_time():
        time.sleep(0.05)
    os.kill(find_workers()[0], signal.SIGKILL)


def find_workers() -> list[int]:
    """Return the processes of this machine that hold a worker of `transcribe_dataset`."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if b"_Transcriber" in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
        except (OSError, ValueError):  # it has ended, or is no process
            continue
    return found
