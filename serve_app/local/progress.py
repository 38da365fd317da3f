"""How far a file is, told to whoever waits for it."""

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass

from serve_app.fan_out import Made


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a file is."""

    done_s: float  # of its audio
    total_s: float | None  # by the file's header until its end is reached; None: it does not tell


class Tally:
    """Counts what is done of a file's channels, all of which are as long as the file."""

    def __init__(
        self, on_progress: Callable[[Progress], None], *, total_s: float | None, n_channels: int
    ) -> None:
        self._on_progress = on_progress
        self._total_s = total_s
        self._done_s = [0.0] * n_channels

    async def watch(self, channel: int, chunks: AsyncGenerator[Made]) -> AsyncGenerator[Made]:
        """Yield the chunks of a channel and tell how far the file is after each."""
        async with aclosing(chunks):
            async for spans, made in chunks:
                self._done_s[channel] = spans[-1].end_s
                done_s = sum(self._done_s) / len(self._done_s)
                self._on_progress(Progress(done_s=done_s, total_s=self._total_s))
                yield spans, made

    def finish(self, duration_s: float) -> None:
        """Tell that the file is done, and how long it was."""
        self._on_progress(Progress(done_s=duration_s, total_s=duration_s))
