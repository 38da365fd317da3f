"""Damaged audio and video files, decoded in processes of their own.

How many: FUZZ_CONTAINERS in the environment, 300 where it is not set.
"""

import os
from collections import Counter

import pytest

from serve_app.errors import (
    AudioTooLongError,
    AudioTooShortError,
    DecodeTimeoutError,
    EmptyFileError,
    InvalidAudioError,
    NoAudioStreamError,
)
from tests.isolated import DIED, HUNG, LIMITS, MEMORY_BYTES, UNTYPED, judge_mutants
from tests.mutants import STRUCTURAL

N_CONTAINERS = int(os.environ.get("FUZZ_CONTAINERS", "300"))

# All that a caller may be told: no word of the file, no path, no message of FFmpeg's.
SENTENCES = {
    "",
    "The audio track's codec is not supported.",
    *(
        str(error())
        for error in (InvalidAudioError, EmptyFileError, NoAudioStreamError, AudioTooShortError)
    ),
    str(AudioTooLongError(LIMITS.max_audio_s)),
    str(DecodeTimeoutError(LIMITS.timeout_s)),
}


@pytest.mark.timeout(3600)
def test_a_damaged_file_is_decoded_or_refused_and_nothing_else(
    pytestconfig: pytest.Config, capfd: pytest.CaptureFixture[str]
) -> None:
    verdicts = list(judge_mutants(range(N_CONTAINERS), n_processes=os.cpu_count() or 1))
    counts = Counter(verdict.outcome for verdict in verdicts)
    told = ", ".join(f"{n} {outcome}" for outcome, n in counts.most_common())
    with capfd.disabled():
        pytestconfig.get_terminal_writer().line(f"\nfuzz: damaged files: {told}")
    assert len(verdicts) == N_CONTAINERS
    assert not [v for v in verdicts if v.outcome in (UNTYPED, DIED, HUNG)]
    assert {verdict.told for verdict in verdicts} <= SENTENCES
    assert max(verdict.grown_bytes for verdict in verdicts) < MEMORY_BYTES
    assert sum(verdict.kind in STRUCTURAL for verdict in verdicts) >= N_CONTAINERS / 2
