import io
import json
from dataclasses import replace

import pytest
import srt
import webvtt
from openai.types.audio import TranscriptionDiarized, TranscriptionDiarizedSegment

from serve_app.domain import (
    ResponseFormat,
    Segment,
    Transcript,
    TranscriptionRequest,
    Turn,
    Word,
)
from serve_app.stages.render import render, render_done
from tests import fakes


def segment(speaker: str | None, text: str, start_s: float) -> Segment:
    word = Word(text=text, start_s=start_s, end_s=start_s + 0.5, probability=0.9, speaker=speaker)
    return fakes.segment(text, start_s, word.end_s, id=int(start_s), words=(word,), speaker=speaker)


SPOKEN = Transcript(
    text="who me why",
    language="en",
    duration_s=3.2,
    model="m",
    segments=(segment("A", " who", 0), segment("anna", " me", 1), segment(None, " why", 2)),
    turns=(Turn(speaker="A", start_s=0, end_s=0.5), Turn(speaker="anna", start_s=1, end_s=1.5)),
)


def body(response_format: str, transcript: Transcript = SPOKEN, **fields: bool) -> str:
    request = TranscriptionRequest(response_format=ResponseFormat(response_format), **fields)
    return render(transcript, request).content


def test_diarized_json_is_openais() -> None:
    made = json.loads(body("diarized_json"))
    assert made == {
        "task": "transcribe",
        "duration": 3.2,
        "text": "who me why",
        "segments": [
            {
                "type": "transcript.text.segment",
                "id": f"seg_{i:03d}",
                "start": float(i),
                "end": i + 0.5,
                "text": text,
                "speaker": speaker,
            }
            for i, (speaker, text) in enumerate([("A", "who"), ("anna", "me"), ("unknown", "why")])
        ],
        "usage": {"type": "duration", "seconds": 4},
    }
    # Pydantic's strict mode: every value has the type that OpenAI's client expects.
    TranscriptionDiarized.model_validate(made, strict=True)
    for one in made["segments"]:
        TranscriptionDiarizedSegment.model_validate(one, strict=True)


def test_verbose_json_names_speakers_only_where_they_were_asked_for() -> None:
    made = json.loads(body("verbose_json", segments=True, words=True))
    for part in ("segments", "words"):
        assert [one["speaker"] for one in made[part]] == ["A", "anna", None]
    plain = json.loads(body("verbose_json", replace(SPOKEN, turns=None), segments=True))
    assert not any("speaker" in one for one in plain["segments"])


def test_json_and_text_say_who_said_what() -> None:
    assert [s["speaker"] for s in json.loads(body("json"))["segments"]] == ["A", "anna", "unknown"]
    assert body("text") == "A: who\nanna: me\nunknown: why\n"


def test_subtitles_carry_the_speaker() -> None:
    assert [cue.content for cue in srt.parse(body("srt"))] == ["A: who", "anna: me", "why"]
    cues = webvtt.from_buffer(io.StringIO(body("vtt")))
    assert [(cue.voice, cue.text) for cue in cues] == [("A", "who"), ("anna", "me"), (None, "why")]
    assert "<v anna>me" in body("vtt")


@pytest.mark.parametrize("name", ["a>b", "x & y", "<i>", "a --> b"])
def test_no_name_breaks_a_subtitle(name: str) -> None:
    named = replace(SPOKEN, segments=(segment(name, " me", 1),))
    [cue] = webvtt.from_buffer(io.StringIO(body("vtt", named)))
    assert cue.text == "me"
    [block] = srt.parse(body("srt", named))
    assert block.content.endswith(": me")


def test_a_stream_ends_with_who_said_what() -> None:
    *segments, done, last = render_done(SPOKEN).removesuffix("\n\n").split("\n\n")
    events = [json.loads(one.removeprefix("data: ")) for one in (*segments, done)]
    assert [e["type"] for e in events] == ["transcript.text.segment"] * 3 + ["transcript.text.done"]
    assert [e.get("speaker") for e in events] == ["A", "anna", "unknown", None]
    assert last == "data: [DONE]"
