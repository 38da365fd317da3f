"""A directory in, the loaded model out: files that are damaged or do not fit are refused here."""

from pathlib import Path
from typing import Any

from serve_app.errors import ModelLoadError
from serve_app.settings import ModelSettings
from serve_app.stages.whisper.device import ModelShape, Placement, read_shape


def open_model(
    directory: Path, settings: ModelSettings, placement: Placement
) -> tuple[Any, ModelShape]:
    """Return a `faster_whisper.WhisperModel` and the sizes of its weights.

    Args:
        directory: a CTranslate2 Whisper model.
        settings: how many workers there are.
        placement: where they run.

    Raises:
        ModelLoadError: a file is damaged or another model's, or the device cannot take the model.
    """
    from faster_whisper import WhisperModel

    try:
        shape = read_shape(directory)
        whisper = WhisperModel(
            str(directory),
            device=placement.device,
            compute_type=placement.compute_type,
            cpu_threads=placement.n_threads,
            num_workers=settings.n_workers,
        )
        _check_features(whisper)
    except Exception as error:  # CTranslate2 and tokenizers raise many unrelated types
        reason = (
            f"{error}. Where a file in {directory} is damaged, copy or download the model again."
        )
        raise ModelLoadError(settings.source, reason) from error
    return whisper, shape


def _check_features(whisper: Any) -> None:
    """See whether the features are as wide as the weights take them. Raises ValueError."""
    n_made, n_taken = len(whisper.feature_extractor.mel_filters), whisper.model.n_mels
    if n_made != n_taken:
        raise ValueError(
            f"its preprocessor_config.json stands for {n_made} mel bands (80 where there is none), "
            f"and its weights take {n_taken}: that file belongs to another model"
        )
