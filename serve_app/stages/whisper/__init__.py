"""Chunks in, chunk transcripts out: Whisper on CTranslate2, one bucket per call.

Called by `pipeline.transcribe_batch`. `engine` runs the model; what goes in comes from `features`
(samples to log-mel) and `vocabulary` (prompts to tokens); what comes out is a transcript by
`reading`, with pure functions for each decision: `attempts` (accept, or try again hotter),
`segments` (timestamp tokens to segments), `words` (alignment to words), `logprobs` (logits to
log-probabilities). `device` chooses where and how wide it runs, `opening` loads its files.
"""

from serve_app.stages.whisper.engine import Engine, WhisperEngine

__all__ = ["Engine", "WhisperEngine"]
