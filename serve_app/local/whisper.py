"""A model name in, something that transcribes files out; called by Python users and `serve-app`."""

import weakref
from collections.abc import Callable
from typing import Literal, Self

from serve_app.domain import Audio, TranscriptionRequest
from serve_app.local.loading import make_settings
from serve_app.local.progress import Progress
from serve_app.local.worker import LocalTranscript, Worker
from serve_app.settings import AppSettings, DiarizationSettings

N_FILES = 4  # that are transcribed at the same time fill the batches of short ones

_DEFAULT_REQUEST = TranscriptionRequest()


def load(
    model: str,
    *,
    device: Literal["auto", "cpu", "cuda"] = "auto",
    compute_type: str = "auto",
    batch_size: int | None = None,
    n_threads: int = 0,
) -> "Whisper":
    """Load a model into this process.

    Args:
        model: a faster-whisper size such as `turbo`, a Hugging Face id, a directory, `embedded`.
        device: auto: a GPU where there is one.
        compute_type: auto: float16 on a GPU, int8 on the CPU.
        batch_size: chunks at a time, at most; None: what suits the device and its free memory.
        n_threads: on the CPU; 0: as many as this process has cores.

    Raises:
        ModelLoadError: it cannot be found, downloaded or loaded.
        ValueError: `device` or `compute_type` is none of the names that there are.
    """
    settings = make_settings(model, device=device, compute_type=compute_type, cpu_threads=n_threads)
    return Whisper(settings, batch_size=batch_size)


class Whisper:
    """A loaded model. `transcribe` may be called from several threads: they share batches."""

    def __init__(
        self,
        settings: AppSettings,
        *,
        batch_size: int | None = None,
        revision: str | None = None,
    ) -> None:
        """Load the settings' first model, and what tells speakers apart where they name it.

        Args:
            settings: of an app.
            batch_size: as for `load`.
            revision: of weights on Hugging Face: a branch, tag or commit; None: the main branch.
        """
        self._settings = settings
        self._worker = Worker(settings, batch_size=batch_size, revision=revision)
        self.placement = self._worker.placement  # the device, compute type and threads in use
        # Called where nobody holds this any more, or at the interpreter's end.
        self._drop = weakref.finalize(self, self._worker.drop)

    @property
    def batch_size(self) -> int:
        """Return how many chunks are taken into a batch; a device may hold fewer at once."""
        return self._worker.batch_size

    def load_diarization(self, diarization: str | DiarizationSettings) -> None:
        """Load what tells speakers apart, for requests that ask for it.

        Args:
            diarization: the source of a pyannote.audio pipeline (a Hugging Face id, a directory,
                `embedded`), or all its settings.

        Raises:
            ModelLoadError: it cannot be found, downloaded or loaded.
        """
        if isinstance(diarization, str):
            # A server refuses long files for the sake of others; here there are none.
            longest_s = self._settings.audio.max_audio_s
            device = self._settings.models[0].device
            diarization = DiarizationSettings(
                source=diarization, device=device, max_audio_s=longest_s
            )
        self._worker.load_diarization(diarization)

    def transcribe(
        self,
        audio: Audio,
        request: TranscriptionRequest = _DEFAULT_REQUEST,
        *,
        on_progress: Callable[[Progress], None] = lambda progress: None,
    ) -> LocalTranscript:
        """Transcribe one file.

        Args:
            audio: a file's bytes, its path, or samples.
            request: what to do with it.
            on_progress: told how far it is after every chunk, in another thread.

        Raises:
            TranscriptionError: one of its kinds (`serve_app.errors`), as over HTTP.
        """
        run = self._worker.start(audio, request, on_progress)
        try:
            return run.result()
        except BaseException:  # Ctrl-C too: what is under way ends with its caller
            run.cancel()
            raise

    def close(self) -> None:
        """End the threads. What is under way ends without an answer."""
        if self._drop.detach():  # else it is closed
            self._worker.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
