import base64
import json

import pytest
from starlette.testclient import TestClient

from serve_app.api.forms import MAX_FIELD_BYTES
from serve_app.domain import Diarization, KnownSpeaker, ResponseFormat, SpeakerOptions, Turn
from serve_app.errors import TooLongToDiarizeError
from serve_app.stages.render import render_rttm
from tests.fakes import FakeService

TRANSCRIPTIONS = "/v1/audio/transcriptions"
DIARIZATION = "/v1/audio/diarization"


def url(clip: bytes) -> str:
    return f"data:audio/wav;base64,{base64.b64encode(clip).decode()}"


def refusal(client: TestClient, path: str = TRANSCRIPTIONS, **fields: object) -> tuple[int, str]:
    answer = client.post(path, files={"file": b"x"}, data=fields)
    return answer.status_code, answer.json()["error"]["param"]


def test_turns_are_told_in_seconds(client: TestClient, service: FakeService) -> None:
    answer = client.post(DIARIZATION, files={"file": b"abc"}, data={"min_speakers": "2"})
    assert answer.json() == {
        "duration": 3.0,
        "segments": [
            {"start": 0.5, "end": 1.5, "speaker": "A"},
            {"start": 1.25, "end": 2.0, "speaker": "anna"},
        ],
    }
    assert service.speaker_options == SpeakerOptions(min_speakers=2)


def test_turns_are_told_in_rttm(client: TestClient) -> None:
    answer = client.post(DIARIZATION, files={"file": b"abc"}, data={"response_format": "rttm"})
    assert answer.headers["content-type"].startswith("text/plain")
    assert answer.text == (
        "SPEAKER audio 1 0.500 1.000 <NA> <NA> A <NA> <NA>\n"
        "SPEAKER audio 1 1.250 0.750 <NA> <NA> anna <NA> <NA>\n"
    )


def test_a_name_of_two_words_is_one_field_of_rttm() -> None:
    turn = Turn(speaker="Smith, John", start_s=0.0, end_s=1.0)
    found = Diarization(turns=(turn,), exclusive=(turn,), duration_s=1.0)
    [line] = render_rttm(found).content.splitlines()
    assert len(line.split(" ")) == 10
    assert "Smith,_John" in line


def test_another_form_of_the_turns_is_refused(client: TestClient) -> None:
    assert refusal(client, DIARIZATION, response_format="srt") == (400, "response_format")


def test_unknown_fields_are_named_beside_the_turns(client: TestClient) -> None:
    answer = client.post(DIARIZATION, files={"file": b"abc"}, data={"model": "m"})
    assert "'model'" in answer.json()["warnings"][0]


def test_audio_longer_than_the_limit_is_400(client: TestClient, service: FakeService) -> None:
    service.error = TooLongToDiarizeError(7200.0)
    answer = client.post(DIARIZATION, files={"file": b"abc"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "too_long_to_diarize")
    assert "7200 s" in answer.json()["error"]["message"]


def test_what_is_known_about_the_speakers_reaches_the_service(
    client: TestClient, service: FakeService
) -> None:
    fields = {
        "response_format": "diarized_json",
        "max_speakers": "4",
        "known_speaker_names[]": ["anna", "Smith, John"],
        "known_speaker_references[]": [url(b"one"), url(b"two")],
    }
    assert client.post(TRANSCRIPTIONS, files={"file": b"x"}, data=fields).status_code == 200
    assert service.request
    assert service.request.response_format is ResponseFormat.DIARIZED_JSON
    assert service.request.speakers == SpeakerOptions(
        max_speakers=4,
        known=(
            KnownSpeaker(name="anna", audio=b"one"),
            KnownSpeaker(name="Smith, John", audio=b"two"),
        ),
    )


def test_known_speakers_may_be_json_arrays(client: TestClient, service: FakeService) -> None:
    fields = {
        "known_speaker_names": json.dumps(["a", "b"]),
        "known_speaker_references": json.dumps([url(b"1"), url(b"2")]),
    }
    client.post(DIARIZATION, files={"file": b"x"}, data=fields)
    assert service.speaker_options
    assert [(k.name, k.audio) for k in service.speaker_options.known] == [("a", b"1"), ("b", b"2")]


def test_a_reference_may_be_as_large_as_a_field(client: TestClient, service: FakeService) -> None:
    clip = bytes(MAX_FIELD_BYTES * 3 // 4 - 100)
    fields = {"known_speaker_names": "anna", "known_speaker_references": url(clip)}
    assert client.post(DIARIZATION, files={"file": b"x"}, data=fields).status_code == 200
    assert service.speaker_options
    assert len(service.speaker_options.known[0].audio) == len(clip)


@pytest.mark.parametrize("field", ["diarize", "multichannel"])
def test_flags_reach_the_service(field: str, client: TestClient, service: FakeService) -> None:
    client.post(TRANSCRIPTIONS, files={"file": b"x"}, data={field: "true"})
    assert service.request
    assert getattr(service.request, field) is True


@pytest.mark.parametrize("path", [TRANSCRIPTIONS, DIARIZATION])
@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"num_speakers": "0"}, "num_speakers"),
        ({"num_speakers": "two"}, "num_speakers"),
        ({"max_speakers": "65"}, "max_speakers"),
        ({"num_speakers": "2", "max_speakers": "3"}, "num_speakers"),
        ({"min_speakers": "3", "max_speakers": "2"}, "min_speakers"),
        ({"known_speaker_names": "anna"}, "known_speaker_references"),
        (
            {"known_speaker_names": ["a", "a"], "known_speaker_references": [url(b"1")] * 2},
            "known_speaker_names",
        ),
        (
            {"known_speaker_names": "a\nb", "known_speaker_references": url(b"1")},
            "known_speaker_names",
        ),
        (
            {"known_speaker_names": " ", "known_speaker_references": url(b"1")},
            "known_speaker_names",
        ),
        (
            {"known_speaker_names": ["a"] * 17, "known_speaker_references": [url(b"1")] * 17},
            "known_speaker_names",
        ),
        *(
            ({"known_speaker_names": "a", "known_speaker_references": bad}, field)
            for field in ["known_speaker_references"]
            for bad in (
                "a.wav",
                "data:audio/wav,abc",
                "data:audio/wav;base64,*",
                "data:audio/wav;base64,é",
            )
        ),
    ],
)
def test_what_contradicts_itself_is_refused(
    path: str, fields: dict[str, object], param: str, client: TestClient
) -> None:
    assert refusal(client, path, diarize="true", **fields) == (400, param)


def test_hints_about_speakers_nobody_asked_for_are_refused(client: TestClient) -> None:
    assert refusal(client, num_speakers="2") == (400, "diarize")
    both = {"num_speakers": "2", "multichannel": "true", "diarize": "true"}
    assert refusal(client, **both) == (400, "multichannel")
