"""Whisper's fixed numbers, and the ladder of temperatures."""

SAMPLE_RATE = 16_000  # Hz; Whisper's and Silero's only rate
WINDOW_S = 30.0  # Whisper's encoder window: no chunk is longer
MIN_SPAN_S = 0.1  # the shortest limit on a span of speech that still leaves speech in it
MAX_TOKENS = 448  # of prompt and text together: the length of Whisper's position table
MAX_NEW_TOKENS = MAX_TOKENS // 2  # of text in one chunk: openai/whisper's and CTranslate2's limit

# Temperatures tried in turn when `temperature` is 0: openai/whisper transcribe.py.
FALLBACK_TEMPERATURES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)

# Letters of a prompt, or of hotwords, that are read: the model takes 223 tokens of a few letters
# each, and a form field may hold 16 MiB.
MAX_PROMPT_CHARS = 10_000
