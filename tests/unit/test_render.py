import json
import math
from dataclasses import replace

import pytest

from serve_app.domain import (
    ResponseFormat,
    Segment,
    Task,
    TokenLogprob,
    Transcript,
    TranscriptDelta,
    TranscriptionRequest,
    Word,
)
from serve_app.stages.render import Body, make_cues, render, render_delta, render_done

HELLO = Transcript(text='Grüße, "you"', language="de", duration_s=8.47, model="demo")
WORDS = tuple(
    Word(text=f" {text}", start_s=float(i), end_s=i + 0.5, probability=0.9)
    for i, text in enumerate(["turn", "on", "the", "light", "in", "the", "kitchen"])
)
SEGMENT = Segment(
    start_s=0.0,
    end_s=6.5,
    text=" turn on the light in the kitchen",
    tokens=(5, 6),
    temperature=0.0,
    avg_logprob=-0.25,
    compression_ratio=1.1,
    no_speech_prob=0.01,
    words=WORDS,
)
SPOKEN = replace(HELLO, text=SEGMENT.text.strip(), language="en", segments=(SEGMENT,))


def rendered(transcript: Transcript, response_format: str, **fields: object) -> Body:
    request = TranscriptionRequest(response_format=ResponseFormat(response_format), **fields)  # type: ignore[arg-type]
    return render(transcript, request)


def test_json_holds_the_text_and_the_seconds_rounded_up() -> None:
    body = rendered(HELLO, "json")
    assert body.media_type == "application/json"
    assert json.loads(body.content) == {
        "text": 'Grüße, "you"',
        "languages": [{"code": "de"}],
        "usage": {"type": "duration", "seconds": 9},
    }


def test_no_language_is_an_empty_list_of_languages() -> None:
    unknown = replace(HELLO, language=None)
    assert json.loads(rendered(unknown, "json").content)["languages"] == []
    assert '"languages": []' in render_done(unknown)


def test_json_names_warnings_where_there_are_any() -> None:
    quiet = replace(HELLO, text="", warnings=("no_speech",))
    assert json.loads(rendered(quiet, "json").content)["warnings"] == ["no_speech"]


def test_text_is_the_text_and_a_line_end() -> None:
    body = rendered(HELLO, "text")
    assert (body.content, body.media_type) == ('Grüße, "you"\n', "text/plain; charset=utf-8")


def test_verbose_json_has_openais_keys_and_the_ten_of_a_segment() -> None:
    body = json.loads(rendered(SPOKEN, "verbose_json").content)
    assert body == {
        "task": "transcribe",
        "language": "english",
        "language_code": "en",
        "language_probability": 1.0,
        "duration": 8.47,
        "text": "turn on the light in the kitchen",
        "segments": [
            {
                "id": 0,
                "seek": 0,
                "start": 0.0,
                "end": 6.5,
                "text": " turn on the light in the kitchen",
                "tokens": [5, 6],
                "temperature": 0.0,
                "avg_logprob": -0.25,
                "compression_ratio": 1.1,
                "no_speech_prob": 0.01,
            }
        ],
        "usage": {"type": "duration", "seconds": 9},
    }


@pytest.mark.parametrize(
    ("asked", "keys"),
    [
        ({}, ["segments"]),
        ({"segments": True}, ["segments"]),
        ({"words": True}, ["words"]),
        ({"words": True, "segments": True}, ["words", "segments"]),
    ],
    ids=str,
)
def test_words_and_segments_are_there_as_asked(asked: dict[str, bool], keys: list[str]) -> None:
    body = json.loads(rendered(SPOKEN, "verbose_json", **asked).content)
    assert {"words", "segments"} & set(body) == set(keys)


def test_words_stand_without_their_spaces() -> None:
    words = json.loads(rendered(SPOKEN, "verbose_json", words=True).content)["words"]
    assert words[0] == {"word": "turn", "start": 0.0, "end": 0.5, "probability": 0.9}


def test_a_translation_says_so() -> None:
    spoken = replace(SPOKEN, task=Task.TRANSLATE, language="tr")
    body = json.loads(rendered(spoken, "verbose_json").content)
    assert body["task"] == "translate"
    assert (body["language"], body["language_code"]) == ("english", "tr")


def test_srt_counts_its_cues_and_writes_commas() -> None:
    later = replace(SEGMENT, start_s=3661.5, end_s=3662.0)
    body = rendered(
        replace(SPOKEN, segments=(replace(SEGMENT, words=None), replace(later, words=None))), "srt"
    )
    assert body.media_type == "text/plain; charset=utf-8"
    assert body.content == (
        "1\n00:00:00,000 --> 00:00:06,500\nturn on the light in the kitchen\n\n"
        "2\n01:01:01,500 --> 01:01:02,000\nturn on the light in the kitchen\n"
    )


def test_vtt_has_its_header_and_writes_points() -> None:
    body = rendered(SPOKEN, "vtt")
    assert body.media_type == "text/vtt; charset=utf-8"
    assert body.content == (
        "WEBVTT\n\n00:00:00.000 --> 00:00:06.500\nturn on the light in the kitchen\n"
    )


def test_text_that_looks_like_markup_or_an_arrow_does_not_break_a_cue() -> None:
    odd = replace(SEGMENT, text=" a --> b < c & d", words=None)
    assert "a -> b &lt; c &amp; d" in rendered(replace(SPOKEN, segments=(odd,)), "vtt").content
    assert "a -> b < c & d" in rendered(replace(SPOKEN, segments=(odd,)), "srt").content


def test_silence_gives_subtitles_without_cues() -> None:
    assert rendered(HELLO, "srt").content == ""
    assert rendered(HELLO, "vtt").content == "WEBVTT\n"


@pytest.mark.parametrize("width", [1, 8, 12, 40])
@pytest.mark.parametrize("count", [1, 2, None])
def test_lines_and_cues_keep_to_their_limits_and_lose_no_word(
    width: int, count: int | None
) -> None:
    request = TranscriptionRequest(max_line_width=width, max_line_count=count)
    cues = make_cues(SPOKEN, request)
    lines = [line for cue in cues for line in cue.lines]
    assert " ".join(lines) == SPOKEN.text
    assert all(len(line) <= width or " " not in line for line in lines)
    assert all(len(cue.lines) <= (count or math.inf) for cue in cues)


def test_a_cue_lasts_from_its_first_word_to_its_last() -> None:
    request = TranscriptionRequest(max_line_width=12, max_line_count=1)
    first, *_ = make_cues(SPOKEN, request)
    assert (first.lines, first.start_s, first.end_s) == (("turn on the",), 0.0, 2.5)


def test_no_cue_spans_a_long_pause_between_words() -> None:
    later = tuple(replace(w, start_s=w.start_s + 10, end_s=w.end_s + 10) for w in WORDS[2:])
    paused = replace(SPOKEN, segments=(replace(SEGMENT, words=(*WORDS[:2], *later)),))
    first, second = make_cues(paused, TranscriptionRequest(max_line_width=40))
    assert (first.lines, first.start_s, first.end_s) == (("turn on",), 0.0, 1.5)
    assert (second.lines, second.start_s) == (("the light in the kitchen",), 12.0)


def test_cues_of_speakers_who_talk_at_once_begin_in_the_order_of_time() -> None:
    answer = replace(SEGMENT, start_s=2.2, end_s=2.5, text=" yes", words=None, speaker="B")
    both = replace(SPOKEN, segments=(SEGMENT, answer))
    cues = make_cues(both, TranscriptionRequest(max_line_width=12, max_line_count=1))
    assert [cue.start_s for cue in cues] == [0.0, 2.2, 3.0, 6.0]


def test_every_format_can_be_rendered() -> None:
    for response_format in ResponseFormat:
        assert rendered(SPOKEN, response_format).content


def test_events_are_openais() -> None:
    assert render_delta(TranscriptDelta(text=" hi")) == (
        'data: {"type": "transcript.text.delta", "delta": " hi"}\n\n'
    )
    assert render_done(HELLO) == (
        'data: {"type": "transcript.text.done", "text": "Grüße, \\"you\\"", '
        '"languages": [{"code": "de"}]}\n\ndata: [DONE]\n\n'
    )


def test_log_probabilities_are_openais_where_they_were_asked_for() -> None:
    logprobs = (
        TokenLogprob(text=b" hi", logprob=-0.5),
        TokenLogprob(text="ğ".encode()[:1], logprob=-1.0),
    )
    expected = [
        {"token": " hi", "bytes": [32, 104, 105], "logprob": -0.5},
        {"token": "\ufffd", "bytes": [196], "logprob": -1.0},
    ]
    told = replace(HELLO, logprobs=logprobs)
    assert json.loads(rendered(told, "json").content)["logprobs"] == expected
    assert "logprobs" not in json.loads(rendered(HELLO, "json").content)
    delta = render_delta(TranscriptDelta(text="hi", logprobs=logprobs))
    assert json.loads(delta[6:])["logprobs"] == expected
    done = render_done(told).split("\n\n")[0]
    assert json.loads(done[6:])["logprobs"] == expected
