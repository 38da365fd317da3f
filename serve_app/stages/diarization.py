"""Samples in, turns and voices out: a pyannote.audio pipeline. Called by `speakers`.

pyannote.audio and torch come with the extra `diarization` and are imported by the constructor.
"""

import logging
import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serve_app.domain import ANY_SPEAKERS, SAMPLE_RATE, Diarization, SpeakerOptions, Turn
from serve_app.errors import ModelLoadError
from serve_app.settings import COMMUNITY_PIPELINE, DiarizationSettings

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, eq=False)
class FoundSpeakers:
    """Who speaks when, under the pipeline's labels, and how they sound."""

    diarization: Diarization
    voices: Mapping[str, NDArray[np.float64]]  # label -> (d,), the mean of its embeddings


class SpeakerModel:
    """One pyannote.audio pipeline, loaded. It keeps no state between calls; one call at a time."""

    def __init__(
        self, checkpoint: str, settings: DiarizationSettings, *, token: str | None, n_cores: int
    ) -> None:
        """Load the pipeline.

        Args:
            checkpoint: a local directory with a config.yaml, or a Hugging Face id.
            settings: device and batch sizes.
            token: of a Hugging Face account that accepted the model's conditions; None: without.
            n_cores: threads that torch may use.

        Raises:
            ModelLoadError: the extra is not installed, or the pipeline cannot be had.
        """
        # Before the import, which would start to send usage figures to pyannote's maker.
        os.environ["PYANNOTE_METRICS_ENABLED"] = "0"
        try:
            import torch
            from pyannote.audio import Pipeline
            from pyannote.audio.utils import vbx
        except (ImportError, OSError) as error:  # the second: torch and torchaudio do not match
            reason = f"{error}. Install the extra: pip install 'serve_app[diarization]'"
            raise ModelLoadError(settings.source, reason) from error
        # It prints on stdout, where transcripts go, and warns of voices of one frame.
        vars(vbx)["print"] = logger.debug
        warnings.filterwarnings("ignore", r"std\(\): degrees of freedom", UserWarning)
        torch.set_num_threads(n_cores)
        self._torch = torch
        try:
            pipeline = Pipeline.from_pretrained(checkpoint, token=token)
        except Exception as error:  # the hub client raises many unrelated types
            raise ModelLoadError(settings.source, _why(error, settings)) from error
        if pipeline is None:
            raise ModelLoadError(settings.source, _why(None, settings))
        self._pipeline: Any = pipeline
        self._configure(settings)

    def find_speakers(
        self,
        samples: NDArray[np.float32],  # (n,) at SAMPLE_RATE
        options: SpeakerOptions = ANY_SPEAKERS,
    ) -> FoundSpeakers:
        """Return who speaks when. The counts in `options` are aimed at, not guaranteed."""
        found = self._pipeline(
            {"waveform": self._torch.from_numpy(samples)[None], "sample_rate": SAMPLE_RATE},
            num_speakers=options.num_speakers,
            min_speakers=options.min_speakers,
            max_speakers=options.max_speakers,
        )
        duration_s = len(samples) / SAMPLE_RATE
        labels = found.speaker_diarization.labels()
        voices = np.nan_to_num(np.asarray(found.speaker_embeddings, np.float64))
        return FoundSpeakers(
            diarization=Diarization(
                turns=_turns(found.speaker_diarization, duration_s),
                exclusive=_turns(found.exclusive_speaker_diarization, duration_s),
                duration_s=duration_s,
            ),
            voices=dict(zip(labels, voices, strict=True)),
        )

    def _configure(self, settings: DiarizationSettings) -> None:
        self._pipeline.legacy = False  # of 3.1's config: turns alone, without voices
        if settings.segmentation_batch_size:
            self._pipeline.segmentation_batch_size = settings.segmentation_batch_size
        if settings.embedding_batch_size:
            self._pipeline.embedding_batch_size = settings.embedding_batch_size
        device = settings.device
        if device == "auto":
            device = "cuda" if self._torch.cuda.is_available() else "cpu"
        self._pipeline.to(self._torch.device(device))


def _turns(annotation: Any, duration_s: float) -> tuple[Turn, ...]:
    """Return the turns of a pyannote Annotation, less what lies after the end of the audio.

    The model sees short audio padded to its window, and may hear somebody in the padding.
    """
    return tuple(
        Turn(
            speaker=speaker,
            start_s=round(span.start, 3),
            end_s=round(min(span.end, duration_s), 3),
        )
        for span, _, speaker in annotation.itertracks(yield_label=True)
        if span.start < duration_s
    )


def _why(error: Exception | None, settings: DiarizationSettings) -> str:
    first_line = str(error).strip().partition("\n")[0] if error else "it was not given out"
    return (
        f"{type(error).__name__ if error else 'pyannote.audio'}: {first_line}. A pipeline of "
        f"Hugging Face needs an account that has accepted the conditions of '{settings.source}' "
        f"and of '{COMMUNITY_PIPELINE}', and its token in the variable {settings.token_env}."
    )
