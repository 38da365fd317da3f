"""Which utterances lie where in a window, and what the model has to write: plans, without sound.

`draw_batch` plans windows of one length; studio.py makes their sound. Pure but for the generator,
and cheap: one core plans for a GPU. Times are in the window.

The target of a window with timestamps is `<|0.30|> turn on<|1.20|><|1.80|> two three<|2.50|>`, that
of one without is the text alone. An utterance that the window's end cuts is not written. Nor are
those, where there are timestamps, that begin late: so small a network finds its place in a long
text badly. Where an utterance is left out that way, the time at which it begins ends the target:
who decodes a file window by window, as faster-whisper does, goes on before it.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from benchmarks.embedded_models.whisper.bank import Bank, Utterance
from benchmarks.embedded_models.whisper.numbers import DIGITS
from benchmarks.embedded_models.whisper.tokenizer import SpeechTokenizer
from serve_app.domain import SAMPLE_RATE, WINDOW_S

CHARACTERS = {c: i for i, c in enumerate(" 'abcdefghijklmnopqrstuvwxyz", 1)}  # 0: CTC's blank
IGNORED = -1  # a label that is not learnt: the prompt's
FRAMES_PER_S = 50  # of the encoder's output
AFTER_FRAMES = 8  # behind the last word; less than the pauses between two utterances mostly are
MAX_TOKENS = 440  # of a target and its prompt; the model has 448 positions
SHORT_S = 2.5  # a window that has no room for a pause at its beginning
LAST_FIRST_S = 1.0  # faster-whisper allows no later first timestamp
LAST_START_S = 6.0  # of an utterance that is written where there are timestamps

P_NO_SPEECH, P_PROMPT, P_TIMESTAMPS, P_CUT = 0.05, 0.25, 0.55, 0.6
P_PROMPT_TIMES, MAX_PROMPT = 0.6, 8  # whether a prompt has timestamps; its utterances
P_SHIFTED = 0.4
P_DIGITS = 0.12  # of the utterances, beyond those drawn anyway: no word of one helps with the next
P_SAME_SPEED, SPEED = 0.5, (0.88, 1.15)
P_SOFTER, SOFTER_DB = 0.2, 10.0
# Of a full window with timestamps, one without, and a fitted window; each is equally likely.
MAX_UTTERANCES = {"timed": (1, 2, 4, 99, 99, 99), "bare": (1, 2, 3, 4, 99), "fit": (1, 1, 2, 3, 99)}
LEADS_S = ((0.0, 0.05), (0.0, 0.6), (0.1, 0.6), (0.2, 2.0))  # before the first; equally likely
GAPS_S = ((0.12, 0.4), (0.2, 0.8), (0.3, 1.8))  # between two
TAILS_S = ((0.0, 0.1), (0.0, 0.6), (0.3, 2.5), (WINDOW_S, WINDOW_S))  # after the last


@dataclass(frozen=True, kw_only=True)
class Placement:
    """An utterance in a window."""

    utterance: int
    start_s: float
    end_s: float
    speed: float
    gain: float


@dataclass(kw_only=True)
class Window:
    """One window: what lies in it, and what is to be written."""

    placements: list[Placement] = field(default_factory=list)
    duration_s: float  # of the audio; the rest of the window is padding
    inputs: list[int] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    # Which position writes a word's token, and the encoder's frames in which it is spoken; of the
    # end's token those that follow.
    aligned: list[tuple[int, int, int]] = field(default_factory=list)
    characters: list[int] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True, eq=False)
class Plan:
    """The windows of a batch as arrays."""

    window_s: float
    offset: int  # steps of 20 ms by which the encoder's positions and the timestamps are shifted
    clean: NDArray[np.bool_]  # (b,), whether it gets no noise, room or filter
    durations: NDArray[np.int64]  # (b,), of the audio in samples
    # Of all placements: the row, the first sample in the bank, how many, the first in the window.
    placed: NDArray[np.int64]  # (n, 4)
    played: NDArray[np.float32]  # (n, 2), speed and gain
    inputs: NDArray[np.int64]  # (b, n_tokens)
    labels: NDArray[np.int64]  # (b, n_tokens)
    aligned: NDArray[np.int64]  # (n, 4): row, position, first frame, end frame
    characters: NDArray[np.int64]  # (b, n_characters)
    n_characters: NDArray[np.int64]  # (b,); 0: not known


class Planner:
    """Draws windows from a bank."""

    def __init__(self, bank: Bank, tokenizer: SpeechTokenizer, rng: np.random.Generator) -> None:
        self._bank, self._tokenizer, self._rng = bank, tokenizer, rng
        said_one_by_one = {*DIGITS, "oh"}
        self._digits = np.array(
            [i for i, said in enumerate(bank.texts) if said_one_by_one.issuperset(said.split())],
            np.int64,
        )

    def draw_batch(self, n: int, window_s: float, *, p_clean: float, p_single: float) -> Plan:
        """Plan windows.

        Args:
            n: how many.
            window_s: the encoder's window; WINDOW_S: a full one, with padding where the audio ends.
            p_clean: the share of windows that get no noise, room or filter.
            p_single: the share of windows with one utterance, beyond those that draw it anyway.
        """
        windows = [self.draw(window_s, single=self._rng.random() < p_single) for _ in range(n)]
        clean = self._rng.random(n) < p_clean
        return self._collate(windows, window_s, clean, self._draw_offset(window_s))

    def _draw_offset(self, window_s: float) -> int:
        """Return a shift by which a short window may lie anywhere in a full one.

        Speech is likelier early in a window than late: without it late positions, and their
        timestamps, are hardly learnt.
        """
        room = round((WINDOW_S - window_s) * FRAMES_PER_S)
        return int(self._rng.integers(room + 1)) if self._rng.random() < P_SHIFTED else 0

    def draw(self, window_s: float, *, single: bool = False) -> Window:
        """Plan one window."""
        rng = self._rng
        if rng.random() < P_NO_SPEECH:
            return self._no_speech(window_s)
        full = window_s == WINDOW_S
        with_times = rng.random() < P_TIMESTAMPS
        kind = "fit" if not full else "timed" if with_times else "bare"
        most = 1 if single else int(rng.choice(MAX_UTTERANCES[kind]))
        placements, is_cut = self._lay_out(window_s, most, may_cut=full and with_times)
        if not placements:
            return self._no_speech(window_s)
        tail_s = rng.uniform(*TAILS_S[rng.integers(len(TAILS_S))])
        end_s = min(window_s, placements[-1].end_s + (0.0 if is_cut else tail_s))
        window = Window(placements=placements, duration_s=end_s)
        n_written = len(placements) - is_cut
        if with_times:
            n_written = min(n_written, sum(p.start_s < LAST_START_S for p in placements))
        self._write(window, n_written, with_times=with_times)
        if not is_cut:
            said = " ".join(self._bank.texts[p.utterance] for p in placements)
            window.characters = [CHARACTERS[c] for c in said]
        return window

    def _lay_out(
        self, window_s: float, most: int, *, may_cut: bool
    ) -> tuple[list[Placement], bool]:
        """Return utterances in a row, and whether the window's end cuts the last one."""
        rng = self._rng
        at_s = rng.uniform(*LEADS_S[rng.integers(len(LEADS_S))]) if window_s > SHORT_S else 0.1
        placements: list[Placement] = []
        n_tokens = 0
        while len(placements) < most:
            placement = self._place(at_s)
            n_tokens += 2 + len(self._spell(self._bank.texts[placement.utterance]))
            if placement.end_s > window_s or n_tokens > MAX_TOKENS // 2:
                begins = placements and at_s < window_s - 0.3
                if may_cut and begins and rng.random() < P_CUT:
                    return [*placements, placement], True
                break
            placements.append(placement)
            at_s = placement.end_s + rng.uniform(*GAPS_S[rng.integers(len(GAPS_S))])
        return placements, False

    def _place(self, at_s: float) -> Placement:
        rng = self._rng
        i = self._draw_utterance()
        speed = 1.0 if rng.random() < P_SAME_SPEED else float(rng.uniform(*SPEED))
        softer = rng.uniform(0, SOFTER_DB) if rng.random() < P_SOFTER else 0.0
        length_s = self._bank.length(i) / SAMPLE_RATE / speed
        return Placement(
            utterance=i,
            start_s=at_s,
            end_s=at_s + length_s,
            speed=speed,
            gain=float(10 ** (-softer / 20)),
        )

    def _draw_utterance(self) -> int:
        rng = self._rng
        if len(self._digits) and rng.random() < P_DIGITS:
            return int(rng.choice(self._digits))
        return int(rng.integers(len(self._bank)))

    def _no_speech(self, window_s: float) -> Window:
        """Plan a window without speech: `<|nospeech|>`, and the end at once in either mode."""
        rng, tokens = self._rng, self._tokenizer
        duration_s = rng.choice((window_s, rng.uniform(0.2, window_s)))
        at_s = rng.choice((0.0, rng.uniform(0, LAST_FIRST_S)))
        first = int(rng.choice((tokens.no_timestamps, tokens.timestamp(at_s))))
        return Window(
            duration_s=duration_s,
            inputs=[tokens.start, first],
            labels=[tokens.no_speech, tokens.end],
        )

    def _write(self, window: Window, n_written: int, *, with_times: bool) -> None:
        """Write the target of a window with speech, and which frames speak which token."""
        tokens = self._tokenizer
        first = tokens.timestamp(min(LAST_FIRST_S, window.placements[0].start_s))
        window.inputs.append(tokens.start)
        window.labels.append(first)
        if not with_times:
            window.inputs.append(tokens.no_timestamps)
        for i, placement in enumerate(window.placements[:n_written]):
            if with_times:
                start = first if i == 0 else tokens.timestamp(placement.start_s)
                window.inputs.append(start)
                window.labels += [] if i == 0 else [start]
            self._write_text(window, placement)
            if with_times:
                end = tokens.timestamp(placement.end_s)
                window.labels.append(end)
                window.inputs.append(end)
        if with_times and n_written < len(window.placements):
            start = tokens.timestamp(window.placements[n_written].start_s)
            window.labels.append(start)
            window.inputs.append(start)
        if n_written:
            # Where the last word ends is where the end's token begins to look.
            first_frame = int(window.placements[n_written - 1].end_s * FRAMES_PER_S)
            frames = (first_frame, first_frame + AFTER_FRAMES)
            window.aligned.append((len(window.labels), *frames))
        window.labels.append(tokens.end)
        if self._rng.random() < P_PROMPT:
            self._put_prompt(window)

    def _write_text(self, window: Window, placement: Placement) -> None:
        spoken: Utterance = self._bank.utterance(placement.utterance)
        for word, (start_s, end_s) in zip(spoken.text.split(), spoken.words_s, strict=True):
            for token in self._tokenizer.encode(word):
                if not np.isnan(start_s):
                    frames = (
                        int((placement.start_s + start_s / placement.speed) * FRAMES_PER_S),
                        int((placement.start_s + end_s / placement.speed) * FRAMES_PER_S) + 1,
                    )
                    window.aligned.append((len(window.labels), *frames))
                window.labels.append(token)
                window.inputs.append(token)

    def _put_prompt(self, window: Window) -> None:
        """Put the text of other utterances before the window's, as the text before it would be.

        Where a file is decoded window by window, it has the timestamps that it was written with.
        """
        rng, tokens = self._rng, self._tokenizer
        with_times, at_s = rng.random() < P_PROMPT_TIMES, 0.0
        before: list[int] = []
        for i in rng.integers(len(self._bank), size=rng.integers(1, MAX_PROMPT + 1)):
            text = self._spell(self._bank.texts[i])
            start_s, at_s = at_s + rng.uniform(0.2, 1.0), at_s + rng.uniform(1.2, 4.0)
            times = (tokens.timestamp(start_s), tokens.timestamp(at_s))
            before += [times[0], *text, times[1]] if with_times else text
        room = min(MAX_TOKENS - len(window.inputs) - 1, MAX_TOKENS // 2)
        prompt = [tokens.previous, *before[-room:]]
        window.inputs[:0] = prompt
        window.labels[:0] = [IGNORED] * len(prompt)
        window.aligned = [(position + len(prompt), a, b) for position, a, b in window.aligned]

    def _spell(self, said: str) -> list[int]:
        return [token for word in said.split() for token in self._tokenizer.encode(word)]

    def _collate(
        self, windows: list[Window], window_s: float, clean: NDArray[np.bool_], offset: int
    ) -> Plan:
        n_samples, n_frames = round(window_s * SAMPLE_RATE), round(window_s * FRAMES_PER_S)
        placed, played, aligned = [], [], []
        for row, window in enumerate(windows):
            for p in window.placements:
                at = round(p.start_s * SAMPLE_RATE)
                # What the window's end cuts is left out here.
                n = min(self._bank.length(p.utterance), int((n_samples - at) * p.speed))
                placed.append((row, self._bank.start(p.utterance), n, at))
                played.append((p.speed, p.gain))
            aligned += [
                (row, i, min(a, n_frames - 1), min(b, n_frames)) for i, a, b in window.aligned
            ]
        return Plan(
            window_s=window_s,
            offset=offset,
            clean=clean,
            durations=np.array([round(w.duration_s * SAMPLE_RATE) for w in windows]),
            placed=np.array(placed, np.int64).reshape(-1, 4),
            played=np.array(played, np.float32).reshape(-1, 2),
            inputs=_stack([self._shift(w.inputs, w, offset) for w in windows], self._tokenizer.end),
            labels=_stack([self._shift(w.labels, w, offset) for w in windows], IGNORED),
            aligned=np.array(aligned, np.int64).reshape(-1, 4),
            characters=_stack([w.characters for w in windows], 0),
            n_characters=np.array([len(w.characters) for w in windows]),
        )

    def _shift(self, tokens: list[int], window: Window, offset: int) -> list[int]:
        """Return a window's tokens with later timestamps; a prompt's are of other windows."""
        n_prompt, first = (
            window.inputs.index(self._tokenizer.start),
            self._tokenizer.first_timestamp,
        )
        own = (token + offset if token >= first else token for token in tokens[n_prompt:])
        return [*tokens[:n_prompt], *own]


def _stack(rows: list[list[int]], padding: int) -> NDArray[np.int64]:
    stacked = np.full((len(rows), max(1, *(len(row) for row in rows))), padding, np.int64)
    for i, row in enumerate(rows):
        stacked[i, : len(row)] = row
    return stacked
