"""Who speaks when in, the body of an answer out."""

import json
from collections.abc import Sequence

from serve_app.domain import Diarization
from serve_app.stages.render.bodies import Body

_FILE = "audio"  # what RTTM calls the recording: a client's file name is never used


def render_turns(found: Diarization, warnings: Sequence[str]) -> Body:
    """Render speaches' JSON, in seconds."""
    body: dict[str, object] = {
        "duration": found.duration_s,
        "segments": [
            {"start": turn.start_s, "end": turn.end_s, "speaker": turn.speaker}
            for turn in found.turns
        ],
    }
    content = json.dumps({**body, "warnings": warnings} if warnings else body, ensure_ascii=False)
    return Body(content=content, media_type="application/json")


def render_rttm(found: Diarization) -> Body:
    """Render RTTM (NIST's Rich Transcription Time Marked), a line for each turn, in seconds.

    Its fields are parted by spaces, so a name has underscores in their place.
    """
    lines = (
        f"SPEAKER {_FILE} 1 {turn.start_s:.3f} {turn.duration_s:.3f} <NA> <NA> "
        f"{'_'.join(turn.speaker.split())} <NA> <NA>\n"
        for turn in found.turns
    )
    return Body(content="".join(lines), media_type="text/plain")
