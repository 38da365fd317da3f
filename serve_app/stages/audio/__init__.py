"""The bytes of an audio or video file -> mono int16 samples at 16 kHz, one slice at a time.

`pipeline.prepare` calls `decode_audio` once per slice. Each call opens the file anew and keeps
nothing, so any process can decode any slice and a 10-hour file never lies decoded in memory. A
`DecodeCursor` says where a slice begins.

    limits      what a slice may take: time, and memory
    container   bytes -> packets of the audio track; nothing but the upload is opened
    resampling  frames of one rate -> samples at 16 kHz, the same wherever it starts
    slices      packets -> one slice, and the anchors at which later slices can begin
    decode      the entry

Each file imports only those above it.
"""

from serve_app.stages.audio.decode import MIN_AUDIO_S, decode_audio, to_float32
from serve_app.stages.audio.limits import limit_memory

__all__ = ["MIN_AUDIO_S", "decode_audio", "limit_memory", "to_float32"]
