"""Who transcribes: a model in this process, or a server over HTTP."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from serve_app.cli.transcribe.wanted import Wanted
from serve_app.domain import ResponseFormat, Task
from serve_app.local import Progress, Whisper
from serve_app.stages import audio as files
from serve_app.stages.render import render

Audio = bytes | Path

CONNECT_TIMEOUT_S = 10.0
ANSWER_TIMEOUT_S = 3600.0  # the longest that a profile's request may take
# Busy, or about to be up; each says by Retry-After when to come again.
_RETRY = Retry(
    total=6,
    connect=0,
    read=0,
    status_forcelist=(408, 429, 503),
    allowed_methods=None,
    backoff_factor=0.5,
    raise_on_status=False,
)
_ROUTES = {
    Task.TRANSCRIBE: "/v1/audio/transcriptions",
    Task.TRANSLATE: "/v1/audio/translations",
}


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What one file became."""

    bodies: Mapping[ResponseFormat, str]
    duration_s: float | None  # None: the file's header does not tell
    took_s: float


class RefusedError(Exception):
    """A server refused a file. Fields: its sentence, its code."""

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message, code)

    @property
    def message(self) -> str:
        """Return the server's sentence."""
        return str(self.args[0])

    @property
    def code(self) -> str:
        """Return the error's code."""
        return str(self.args[1])


class Door(Protocol):
    """Whoever transcribes. May be called from several threads."""

    def ask(self, audio: Audio, wanted: Wanted, on_progress: Callable[[float], None]) -> Answer:
        """Return what a file becomes.

        Args:
            audio: its bytes or its path.
            wanted: in which formats, and how.
            on_progress: told the share of it that is done, 0 to 1.

        Raises:
            TranscriptionError: it cannot be transcribed here.
            RefusedError: it cannot be transcribed there.
            requests.RequestException: the server cannot be reached.
        """
        ...

    def close(self) -> None:
        """End what is under way."""
        ...


class LocalDoor:
    """A model in this process: one transcription serves all formats."""

    def __init__(self, whisper: Whisper) -> None:
        self._whisper = whisper

    def ask(self, audio: Audio, wanted: Wanted, on_progress: Callable[[float], None]) -> Answer:
        """Return what a file becomes: see `Door`."""

        def tell(progress: Progress) -> None:
            if progress.total_s:
                on_progress(min(1.0, progress.done_s / progress.total_s))

        made = self._whisper.transcribe(audio, wanted.leading, on_progress=tell)
        bodies = {one: render(made, request).content for one, request in wanted.requests.items()}
        return Answer(bodies=bodies, duration_s=made.duration_s, took_s=made.took_s)

    def close(self) -> None:
        """End what is under way."""
        self._whisper.close()


class HttpDoor:
    """A server: one request for each format, so that every body is the server's own."""

    def __init__(self, url: str, api_key: str | None) -> None:
        self._url = url.rstrip("/").removesuffix("/v1")
        self._session = requests.Session()
        self._session.mount(self._url, HTTPAdapter(max_retries=_RETRY, pool_maxsize=64))
        if api_key:
            self._session.headers["Authorization"] = f"Bearer {api_key}"

    def ask(self, audio: Audio, wanted: Wanted, on_progress: Callable[[float], None]) -> Answer:
        """Return what a file becomes: see `Door`."""
        began_s = time.perf_counter()
        data = audio if isinstance(audio, bytes) else audio.read_bytes()
        bodies = {}
        for n_done, one in enumerate(wanted.requests, 1):
            bodies[one] = self._post(data, wanted, one)
            on_progress(n_done / len(wanted.requests))
        return Answer(
            bodies=bodies,
            duration_s=files.header_duration_s(data),
            took_s=time.perf_counter() - began_s,
        )

    def close(self) -> None:
        """Give the connections back."""
        self._session.close()

    def _post(self, data: bytes, wanted: Wanted, one: ResponseFormat) -> str:
        answer = self._session.post(
            f"{self._url}{_ROUTES[wanted.task]}",
            files={"file": ("upload", data)},
            data=[*wanted.pairs, ("response_format", one.value)],
            timeout=(CONNECT_TIMEOUT_S, ANSWER_TIMEOUT_S),
        )
        if not answer.ok:
            raise _refused(answer)
        return answer.content.decode()


def _refused(answer: requests.Response) -> RefusedError:
    """Return what an error answer says, in OpenAI's envelope or in a proxy's plain text."""
    try:
        error: dict[str, Any] = answer.json()["error"]
        return RefusedError(str(error["message"]), str(error["code"]))
    except (ValueError, KeyError, TypeError):
        return RefusedError(answer.text.strip()[:200] or answer.reason, str(answer.status_code))
