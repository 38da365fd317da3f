"""One file per step of the audio's way; no stage imports another.

audio -> vad -> chunking -> (batching) -> whisper -> assemble -> render
"""
