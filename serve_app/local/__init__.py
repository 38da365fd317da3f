"""Whisper in this process, without a cluster: the graph's own pipeline, gate and fan-out.

    from serve_app import local

    with local.load("turbo") as whisper:
        made = whisper.transcribe("file.mp3")
        print(made.text, made.real_time_factor)

    loading    a model's name -> its settings, and its weights in memory
    batches    `@serve.batch`'s part: the jobs that the gate hands over at once, to one call
    speakers   SpeakerDiarizer's part: who speaks when
    progress   how far a file is
    worker     a loaded model and its threads: one file of several at a time
    whisper    the facade

Each file imports only those above it.
"""

from serve_app.local.progress import Progress
from serve_app.local.whisper import N_FILES, Whisper, load
from serve_app.local.worker import LocalTranscript

__all__ = ["N_FILES", "LocalTranscript", "Progress", "Whisper", "load"]
