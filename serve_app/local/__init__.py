"""Whisper in this process, without a cluster: the graph's own pipeline, gate and fan-out.

    from serve_app import local

    with local.load("turbo") as whisper:
        made = whisper.transcribe("file.mp3")
        print(made.text, made.real_time_factor)

    loading    a model's name -> its settings, and its weights in memory
    batches    `@serve.batch`'s part: the jobs that the gate hands over at once, to one call
    speakers   SpeakerDiarizer's part: who speaks when
    progress   how far a file is
    whisper    the facade

Each file imports only those above it.
"""

from serve_app.local.progress import Progress
from serve_app.local.whisper import N_FILES, LocalTranscript, Whisper, load

__all__ = ["N_FILES", "LocalTranscript", "Progress", "Whisper", "load"]
