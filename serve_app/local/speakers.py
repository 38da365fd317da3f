"""Who speaks when, in this process: SpeakerDiarizer's part."""

import asyncio
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial

import numpy as np
from numpy.typing import NDArray

from serve_app import pipeline, speakers
from serve_app.domain import Diarization, SpeakerOptions, TranscriptionRequest
from serve_app.errors import InvalidRequestError
from serve_app.settings import DiarizationSettings

File = NDArray[np.uint8]


class SpeakerFinder:
    """A pyannote.audio pipeline, or none. To be used on one event loop."""

    def __init__(self) -> None:
        # pyannote promises nothing about several threads in one pipeline.
        self._one_at_a_time = threading.Lock()
        self._diarize: Callable[[File, SpeakerOptions], Diarization] | None = None

    def load(self, settings: DiarizationSettings, *, n_cores: int) -> None:
        """Load the pipeline that the settings name. Raises ModelLoadError."""
        token = os.environ.get(settings.token_env)
        model = speakers.load_model(settings, token=token, n_cores=n_cores)
        self._diarize = partial(speakers.diarize_file, model=model, settings=settings)

    def shutdown(self) -> None:
        """Wait for the file that is being diarized: torch cannot be stopped half-way."""
        with self._one_at_a_time:
            pass

    def search(self, file: File, request: TranscriptionRequest) -> speakers.SpeakerSearch:
        """Return the search for the turns that a request needs; it begins when it is entered."""
        return speakers.SpeakerSearch(partial(self._find_turns, file), request)

    def check(self, request: TranscriptionRequest) -> None:
        """Refuse a request for speakers where there is no pipeline. Raises InvalidRequestError."""
        if request.needs_turns and self._diarize is None:
            raise InvalidRequestError(
                "diarize" if request.diarize else "response_format",
                "No pipeline that tells speakers apart is loaded: call load_diarization. "
                "A file with one speaker in each channel needs none with multichannel=true.",
            )

    async def _find_turns(self, file: File, options: SpeakerOptions) -> Diarization:
        """Diarize in a thread of its own, of which only `shutdown` has to await the end."""
        found: Future[Diarization] = Future()
        work = partial(self._run, file, options, found)
        threading.Thread(target=work, name="serve_app diarizer", daemon=True).start()
        return await asyncio.wrap_future(found)

    def _run(self, file: File, options: SpeakerOptions, found: Future[Diarization]) -> None:
        assert self._diarize  # `check` comes first
        with self._one_at_a_time:
            if not found.set_running_or_notify_cancel():  # whoever asked has left
                return
            try:
                found.set_result(self._diarize(file, options))
            except Exception as error:  # noqa: BLE001 - it belongs to whoever asked
                found.set_exception(pipeline.unwrap(error))
