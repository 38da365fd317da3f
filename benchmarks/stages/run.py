"""What each stage costs: time of one core per second of audio, and what lets that grow."""

from dataclasses import dataclass

from benchmarks.local import embedded_workpiece, random_workpiece
from benchmarks.results import Report, say
from benchmarks.stages.audio import measure_decode, measure_diarize, measure_render, measure_vad
from benchmarks.stages.cost import meaning, table
from benchmarks.stages.figure import plot
from benchmarks.stages.model import Varied, measure_model
from benchmarks.stages.replicas import measure_replicas
from benchmarks.stages.transport import measure_transport

MINUTE_S, HOUR_S = 60.0, 3600.0


@dataclass(frozen=True, kw_only=True)
class Extent:
    """How far each stage is measured."""

    decoded_s: tuple[float, ...]  # lengths of files
    diarized_s: tuple[float, ...]
    rendered_s: tuple[float, ...]
    shape: str  # of the random weights
    batches: tuple[int, ...]
    chunk_lengths_s: tuple[float, ...]
    processes: tuple[int, ...]
    sent: dict[float, int]  # length of a file in seconds -> how many of them


FULL = Extent(
    decoded_s=(MINUTE_S, 10 * MINUTE_S, HOUR_S, 10 * HOUR_S),
    diarized_s=(MINUTE_S, 5 * MINUTE_S),
    rendered_s=(MINUTE_S, HOUR_S, 10 * HOUR_S),
    shape="base",
    batches=(1, 4, 8),
    chunk_lengths_s=(5.0, 15.0),
    processes=(1, 2),
    sent={30.0: 10, 5.0: 20, 10 * MINUTE_S: 1},
)
QUICK = Extent(
    decoded_s=(MINUTE_S,),
    diarized_s=(MINUTE_S,),
    rendered_s=(MINUTE_S,),
    shape="tiny",
    batches=(1,),
    chunk_lengths_s=(5.0,),
    processes=(1,),
    sent={30.0: 2},
)


def run(report: Report, *, quick: bool) -> None:
    """Measure every stage, write the report, and say what it means for a cluster."""
    extent = QUICK if quick else FULL
    say("around the model")
    measure_decode(report, extent.decoded_s)
    measure_vad(report)
    measure_render(report, extent.rendered_s)
    measure_diarize(report, extent.diarized_s)
    say("the model")
    base = Varied(chunk_s=30.0, batches=extent.batches, chunk_lengths_s=extent.chunk_lengths_s)
    measure_model(report, random_workpiece(extent.shape, threads=1), base)
    demo = Varied(chunk_s=5.0, batches=extent.batches)
    measure_model(report, embedded_workpiece(threads=1), demo)
    say("processes side by side")
    measure_replicas(report, extent.processes)
    say("the graph")
    measure_transport(report, extent.sent)
    plot(report, file_s=extent.diarized_s[-1])
    say("\n" + table(report.rows))
    report.note(meaning(report.rows, "opus"))
