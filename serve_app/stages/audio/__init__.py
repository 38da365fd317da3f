"""The bytes of an audio or video file -> mono int16 samples at 16 kHz, one slice at a time.

`pipeline.prepare` calls `decode_audio` once per slice. Each call opens the file anew and keeps
nothing, so any process can decode any slice and a 10-hour file never lies decoded in memory. A
`DecodeCursor` says where a slice begins.

    sources     bytes, a path or samples -> the bytes of a file
    limits      what a slice may take: time, and memory
    container   bytes -> packets of the audio track; nothing but the upload is opened
    resampling  frames of one rate -> samples at 16 kHz, the same wherever it starts
    slices      packets -> one slice, and the anchors at which later slices can begin
    decode      the entry

Each file imports only those above it.
"""

from serve_app.stages.audio.decode import MIN_AUDIO_S, decode_audio, header_duration_s, to_float32
from serve_app.stages.audio.limits import memory_limit, own_bytes
from serve_app.stages.audio.sources import read_file

__all__ = [
    "MIN_AUDIO_S",
    "decode_audio",
    "header_duration_s",
    "memory_limit",
    "own_bytes",
    "read_file",
    "to_float32",
]
