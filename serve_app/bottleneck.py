"""Where requests stand in, what holds them up out. Pure; fed by the Ingress (`LoadWatch`).

A device whose batches stay small although requests are under way waits for something before it:
this says for what, so that nobody need guess.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import fmean

FEW = 2.0  # requests: with fewer there is nothing to fill a batch with
SMALL = 0.5  # of the largest batch in force
LATE_S = 0.25  # an event loop that is late by this much keeps every request waiting


class Place(StrEnum):
    """Where a request can stand."""

    INGRESS = "ingress"  # its event loop serves them all
    DECODE = "decode"  # none of its chunks is under way: it waits for decoded audio
    MODEL = "model"  # its chunks wait for the model or are in it


@dataclass(frozen=True, kw_only=True)
class Load:
    """What the Ingress knows at one moment, or the mean of many."""

    decode: float = 0.0  # requests
    model: float = 0.0
    late_s: float = 0.0  # by how much the Ingress's event loop was late
    batch_fill: float | None = None  # of the largest in force, 0 to 1; None: no batch was answered


def mean_load(samples: Sequence[Load]) -> Load:
    """Return the mean of one sample or more; of the fill, over those that have one."""
    fills = [sample.batch_fill for sample in samples if sample.batch_fill is not None]
    return Load(
        decode=fmean(sample.decode for sample in samples),
        model=fmean(sample.model for sample in samples),
        late_s=fmean(sample.late_s for sample in samples),
        batch_fill=fmean(fills) if fills else None,
    )


def find_bottleneck(load: Load) -> Place | None:
    """Return the place that holds requests up; None where few are under way or none waits."""
    if load.late_s >= LATE_S:
        return Place.INGRESS
    if load.decode + load.model < FEW:
        return None
    if load.decode > load.model:
        return Place.DECODE
    if load.batch_fill is None or load.batch_fill >= SMALL:
        return Place.MODEL
    # The device could take more in one batch: is anything on its way to it?
    return Place.DECODE if load.decode >= 1 else None


def describe(place: Place | None, load: Load) -> str:
    """Return the line for the log."""
    under_way = (
        f"{load.decode + load.model:.1f} requests under way: {load.decode:.1f} waiting for decoded "
        f"audio, {load.model:.1f} at the model"
    )
    fill = "" if load.batch_fill is None else f"; batches {load.batch_fill:.0%} full"
    return f"{_ADVICE[place]} ({under_way}{fill}; event loop late by {load.late_s:.2f} s)"


_ADVICE = {
    Place.INGRESS: "the Ingress holds requests up: more Ingress replicas",
    Place.DECODE: "decoding holds requests up: more AudioPreprocessor replicas",
    Place.MODEL: "the model holds requests up: more WhisperTranscriber replicas",
    None: "nothing holds requests up",
}
