"""One file, or one package, per step of the audio's way; no stage imports another.

audio -> vad -> chunking -> (batching) -> whisper -> assemble -> render
"""
