"""The logits of each decoding step in, the log-probability of each token written out.

CTranslate2 gives the logits of greedy search and of sampling after the tokens that may not be
written have been taken out, so the figures are those by which the tokens were chosen: their sum,
with the end's, is the score. Beam search gives none.
"""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serve_app.domain import TokenLogprob

# Chunks decoded at once where their logits are kept: 8 x 224 tokens x 51,866 logits x 4 bytes are
# 370 MB, which a batch of the usual size would multiply.
MAX_ROWS = 8


def to_arrays(steps: Sequence[Any]) -> list[NDArray[np.float32]]:
    """Return CTranslate2's logits of each step, from wherever they lie and of whatever type."""
    from ctranslate2 import DataType, Device

    return [np.asarray(step.to_device(Device.cpu).to(DataType.float32)) for step in steps]


def token_logprobs(
    logits: Sequence[NDArray[np.float32]],  # one per step, (n_vocabulary,)
    tokens: Sequence[int],
    spell: Callable[[int], str | None],
) -> tuple[TokenLogprob, ...]:
    """Return the tokens with the logarithm of their probability.

    Args:
        logits: of each step; there may be more steps than tokens.
        tokens: the ids written.
        spell: returns a token as the vocabulary spells it; None: it is not text, and left out.
    """
    spelt = ((step, token, spell(token)) for step, token in zip(logits, tokens, strict=False))
    return tuple(
        TokenLogprob(text=_to_bytes(spelling), logprob=_log_softmax_at(step, token))
        for step, token, spelling in spelt
        if spelling is not None
    )


def _log_softmax_at(logits: NDArray[np.float32], token: int) -> float:
    wide = logits.astype(np.float64)
    peak = wide.max()
    return float(wide[token] - peak - np.log(np.exp(wide - peak).sum()))


def _to_bytes(spelling: str) -> bytes:
    """Return the bytes that a spelling in GPT-2's alphabet stands for."""
    return bytes(_alphabet()[letter] for letter in spelling)


@cache
def _alphabet() -> dict[str, int]:
    """Return GPT-2's alphabet: printable bytes are themselves, the others follow from U+0100 on."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(0x100) if byte not in printable]
    return {
        **{chr(byte): byte for byte in printable},
        **{chr(0x100 + i): byte for i, byte in enumerate(others)},
    }
