import json

from serve_app.domain import ResponseFormat, Transcript
from serve_app.stages.render import render

HELLO = Transcript(text='Grüße, "you"', language="de", duration_s=8.47, model="demo")


def test_json_holds_the_text_and_the_seconds_rounded_up() -> None:
    body = render(HELLO, ResponseFormat.JSON)
    assert body.media_type == "application/json"
    assert json.loads(body.content) == {
        "text": 'Grüße, "you"',
        "usage": {"type": "duration", "seconds": 9},
    }


def test_json_names_warnings_where_there_are_any() -> None:
    quiet = Transcript(text="", language=None, duration_s=1.0, model="m", warnings=("no_speech",))
    assert json.loads(render(quiet, ResponseFormat.JSON).content)["warnings"] == ["no_speech"]


def test_text_is_the_text_and_a_line_end() -> None:
    body = render(HELLO, ResponseFormat.TEXT)
    assert (body.content, body.media_type) == ('Grüße, "you"\n', "text/plain; charset=utf-8")


def test_every_format_can_be_rendered() -> None:
    for response_format in ResponseFormat:
        assert render(HELLO, response_format).content
