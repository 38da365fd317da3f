"""One request to an OpenAI-compatible server, sent by OpenAI's own client, and what came of it."""

import asyncio
import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import click
import openai

from benchmarks.results import say
from benchmarks.utterances import Clip, Utterance, told_apart
from benchmarks.verdicts import Answer

STOCK_RETRIES = 2  # of the official client, unless told otherwise
AT_LEAST = 2  # clips: of one alone a mixed-up answer would not show
DIARIZED: Mapping[str, str] = {"response_format": "diarized_json"}
LIMIT_S = 120.0  # a request without an answer after this is lost


@dataclass(frozen=True, kw_only=True)
class Client:
    """How requests are sent."""

    max_retries: int = 0  # of OpenAI's client; 0: what the server answers is what is counted
    streams: bool = False  # every other request asks for events
    diarizes: bool = False  # every request asks for speakers, and cannot do without
    model: str = "whisper-1"
    api_key: str = field(default="none", repr=False)
    fields: Mapping[str, str] = field(default_factory=dict)  # further ones of the form

    def connect(self, url: str) -> openai.AsyncOpenAI:
        """Return a connection to a server, named without /v1; it is to be closed."""
        return openai.AsyncOpenAI(
            base_url=f"{url}/v1",
            api_key=self.api_key,
            max_retries=self.max_retries,
            timeout=LIMIT_S,
        )


async def ask(
    server: openai.AsyncOpenAI, client: Client, clip: Clip, *, stream: bool = False
) -> Answer:
    """Send one request; return what came of it."""
    transcriptions = server.audio.transcriptions.with_raw_response
    file = (clip.name, io.BytesIO(clip.audio))
    fields: dict[str, Any] = {**DIARIZED} if client.diarizes else {}
    if stream:
        fields["stream"] = True
    raw: Any = None
    try:
        raw = await transcriptions.create(
            model=client.model, file=file, extra_body=client.fields, **fields
        )
        made = raw.parse()
        texts = await _ends(made) if stream else (str(made.text),)
    except openai.APIStatusError as error:
        return Answer(
            status=error.status_code,
            retry_after="retry-after" in error.response.headers,
            detail=f"{error.status_code} {error.message[:200]}",
        )
    except openai.APIConnectionError as error:
        return Answer(detail=f"{type(error).__name__} {error.__cause__!r}"[:200])
    except openai.APIError as error:  # as an event, after the status was sent
        return Answer(status=raw.status_code, detail=error.message[:200])
    except Exception as error:  # noqa: BLE001 - whatever breaks a stream off
        return Answer(detail=f"{type(error).__name__} {error}"[:200])
    return Answer(status=raw.status_code, texts=texts, n_tries=1 + raw.retries_taken)


def client_of(model: str, api_key_env: str | None, fields: Sequence[str]) -> Client:
    """Return how requests are sent by what a user named.

    Args:
        model: as the server names it.
        api_key_env: the environment variable with the key.
        fields: NAME=VALUE of the form.

    Raises:
        click.UsageError: the key's variable is not set, or a field has no value.
    """
    if api_key_env and api_key_env not in os.environ:
        raise click.UsageError(f"The environment has no {api_key_env}.")
    if wrong := [pair for pair in fields if "=" not in pair]:
        raise click.UsageError(f"--field takes NAME=VALUE, not {wrong[0]!r}.")
    return Client(
        model=model,
        api_key=os.environ[api_key_env] if api_key_env else "none",
        fields=dict(pair.split("=", 1) for pair in fields),
    )


def base_url(url: str) -> str:
    """Return a server's URL without /v1, whichever way it was given."""
    return url.rstrip("/").removesuffix("/v1")


def named_urls(pairs: Sequence[str]) -> dict[str, str]:
    """Return the URLs of NAME=URL by name, without /v1.

    Raises:
        click.UsageError: one is not NAME=URL.
    """
    parted = [pair.partition("=") for pair in pairs]
    if wrong := [name + sign for name, sign, url in parted if not (name and url)]:
        raise click.UsageError(f"--peer takes NAME=URL, not {wrong[0]!r}.")
    return {name: base_url(url) for name, _, url in parted}


def record(url: str, client: Client, clips: Sequence[Clip]) -> list[Utterance]:
    """Send each clip when nothing else is under way; return them with their texts.

    Raises:
        click.ClickException: one was not transcribed, or fewer than two can be told apart.
    """

    async def send_all() -> list[Utterance]:
        async with client.connect(url) as server:
            made = []
            for clip in clips:
                answer = await ask(server, client, clip)
                if not answer.texts:
                    raise click.ClickException(f"{url} did not transcribe: {answer.detail}")
                made.append(Utterance(**vars(clip), text=answer.texts[0]))
            return made

    say(f"recording what {len(clips)} clips give alone")
    utterances = told_apart(asyncio.run(send_all()))
    if len(utterances) < AT_LEAST:
        raise click.ClickException(f"{url} makes nearly the same text, or none, of all clips.")
    return utterances


async def _ends(events: Any) -> tuple[str, ...]:
    """Return the texts of a stream's ends."""
    return tuple([str(e.text) async for e in events if e.type == "transcript.text.done"])
