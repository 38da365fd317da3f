"""A process whose decoding takes more memory than it may ends, and no other one does."""

import signal
import subprocess
import sys

import pytest

from tests.clips import DATA

_BOMB_FOR_THE_DIARIZER = """
import sys
from serve_app.domain import ANY_SPEAKERS, KnownSpeaker, SpeakerOptions
from serve_app.settings import DiarizationSettings
from serve_app.speakers import diarize_file
from serve_app.stages.audio import memory_limit
from tests.audio_files import packed_frames
bomb = packed_frames(50_000)
sound = open(sys.argv[1], "rb").read()
known = SpeakerOptions(known=(KnownSpeaker(name="a", audio=bomb),))
file, options = (bomb, ANY_SPEAKERS) if sys.argv[2] == "file" else (sound, known)
diarize_file(file, options, None, DiarizationSettings(), lambda: memory_limit(2**28))
"""


@pytest.mark.parametrize("where", ["file", "reference"])
def test_what_is_sent_to_tell_speakers_apart_takes_no_more_memory_than_it_may(where: str) -> None:
    command = [sys.executable, "-c", _BOMB_FOR_THE_DIARIZER, str(DATA / "light.flac"), where]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr


def test_memory_is_limited_as_long_as_a_file_is_decoded() -> None:
    code = """
import time
from serve_app.stages.audio import memory_limit
with memory_limit(2**24):
    time.sleep(0.1)
kept = bytearray(2**26)
time.sleep(0.2)
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
