"""The sound of planned windows, and its log-mel features, on a GPU or a CPU, a batch at a time.

Rooms, noise, filters, telephone bands, loudness and clipping are drawn here. The whole bank lies on
the device, so a batch costs it no transfer.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.embedded_models.whisper.bank import Bank
from benchmarks.embedded_models.whisper.windows import Plan
from serve_app.domain import SAMPLE_RATE, WINDOW_S

N_FFT, HOP, N_MELS = 400, 160, 80  # Whisper's
BREAK_HZ, BREAK_MEL = 1000.0, 15.0  # Slaney's scale is a line below and a logarithm above
N_NOISES = 24  # tracks of WINDOW_S
ROOM_S = (0.08, 0.45)  # until a room's sound is gone
P_ROOM, P_NOISE, P_NOISE_ALONE, P_FILTER, P_BAND = 0.3, 0.6, 0.85, 0.65, 0.5
P_WARP, P_MU_LAW, P_CLIP = 0.6, 0.1, 0.04
SNR_DB, HISS_DB = (6.0, 40.0), (50.0, 80.0)
WARPS = np.linspace(0.84, 1.2, 19)  # factors on all frequencies of the mel filters
# Where a band-limited window begins and ends, in Hz; telephones are the likeliest.
BANDS_HZ = ((0, 60, 150, 200, 300), (3400, 3600, 3900, 4000, 4000, 5500, 7000))
N_BUMPS = 16  # of a filter's curve, from 0 to 8 kHz
BUMP_DB, TILT_DB = 4.0, 7.0
QUIETER_DB = 32.0


@dataclass(frozen=True, kw_only=True)
class Batch:
    """What the network is trained on at once."""

    features: torch.Tensor  # (b, N_MELS, n_frames of 10 ms)
    inputs: torch.Tensor
    labels: torch.Tensor
    aligned: torch.Tensor
    characters: torch.Tensor
    n_characters: torch.Tensor


class Studio:
    """Makes the sound of plans, from a bank that lies on the device."""

    def __init__(self, bank: Bank, device: str, *, seed: int) -> None:
        self._device = torch.device(device)
        self._random = torch.Generator(self._device).manual_seed(seed)
        self._pcm = torch.from_numpy(bank.pcm).to(self._device)
        self._noises = self._make_noises()
        filters = torch.from_numpy(np.stack([mel_filters(warp) for warp in (1.0, *WARPS)]))
        self._mels = filters.to(self._device)  # (1 + n_warps, N_MELS, N_FFT // 2 + 1)
        self._hann = torch.hann_window(N_FFT, device=self._device)

    def make(self, plan: Plan) -> Batch:
        """Return the batch of a plan."""

        def on_device(values: NDArray[Any]) -> torch.Tensor:
            return torch.from_numpy(values).to(self._device)

        clean, durations = on_device(plan.clean), on_device(plan.durations)
        speech = self._lay_out(plan)
        inside = torch.arange(speech.shape[1], device=self._device) < durations[:, None]
        spoilt = self._spoil(speech, inside)
        sound = torch.where(clean[:, None], speech, spoilt) * inside
        return Batch(
            features=self.features(sound, durations, warped=self._chance(P_WARP, len(sound))),
            inputs=on_device(plan.inputs),
            labels=on_device(plan.labels),
            aligned=on_device(plan.aligned),
            characters=on_device(plan.characters),
            n_characters=on_device(plan.n_characters),
        )

    def features(
        self, sound: torch.Tensor, durations: torch.Tensor, *, warped: torch.Tensor
    ) -> torch.Tensor:
        """Return faster-whisper's log-mel features, zero beyond each window's audio.

        Args:
            sound: (b, n) samples in [-1, 1], zero beyond the audio.
            durations: (b,), of the audio in samples.
            warped: (b,), where the mel filters are shifted, as by another vocal tract.
        """
        spectrum = torch.stft(sound, N_FFT, HOP, window=self._hann, return_complex=True)[..., :-1]
        power = spectrum.abs().square()
        chosen = self._integers(1, len(WARPS) + 1, len(sound))
        chosen = chosen * warped
        mel = torch.bmm(self._mels[chosen], power)
        frames = torch.arange(mel.shape[2], device=self._device) < durations[:, None] / HOP
        log = mel.clamp(min=1e-10).log10()
        loudest = log.masked_fill(~frames[:, None], -10.0).amax(dim=(1, 2), keepdim=True)
        return (torch.maximum(log, loudest - 8.0) + 4.0) / 4.0 * frames[:, None]

    def _lay_out(self, plan: Plan) -> torch.Tensor:
        """Return the utterances at their places, shape (b, n): played at their speed, by lines."""
        n_samples = round(plan.window_s * SAMPLE_RATE)
        out = torch.zeros(len(plan.clean) * n_samples, device=self._device)
        if not len(plan.placed):
            return out.view(-1, n_samples)
        row, start, n, at = torch.from_numpy(plan.placed).to(self._device).T
        speed, gain = torch.from_numpy(plan.played).to(self._device).T
        n_out = torch.minimum((n / speed).long(), n_samples - at)
        which = torch.repeat_interleave(torch.arange(len(n), device=self._device), n_out)
        offset = torch.arange(len(which), device=self._device) - (n_out.cumsum(0) - n_out)[which]
        exact = offset * speed[which]
        left = torch.minimum(exact.long(), n[which] - 2)
        share = (exact - left).clamp(0, 1)
        source = start[which] + left
        value = self._pcm[source] * (1 - share) + self._pcm[source + 1] * share
        out[(row * n_samples + at)[which] + offset] = value * gain[which] / 32768
        return out.view(-1, n_samples)

    def _spoil(self, speech: torch.Tensor, inside: torch.Tensor) -> torch.Tensor:
        """Return the windows in rooms, over noise, through filters, at any loudness."""
        b, n = speech.shape
        n_fft = 2 ** math.ceil(math.log2(n + ROOM_S[1] * SAMPLE_RATE))
        room = torch.fft.rfft(self._rooms(b), n_fft)
        in_room = torch.fft.irfft(torch.fft.rfft(speech, n_fft) * room, n_fft)[:, :n]
        spoken = (speech != 0).sum(1, keepdim=True)
        level = (in_room.square().sum(1, keepdim=True) / spoken.clamp(min=1)).sqrt()
        level = torch.where(spoken > 0, level, torch.full_like(level, 0.1))
        p_noise = torch.where(spoken[:, 0] > 0, P_NOISE, P_NOISE_ALONE)
        snr_db = self._uniform(*SNR_DB, b)
        noisy = self._uniform(0, 1, b) < p_noise
        level = level * (10 ** (-snr_db / 20) * noisy)[:, None]
        mixed = (in_room + self._noise(b, n) * level) * inside
        filtered = torch.fft.irfft(torch.fft.rfft(mixed, n_fft) * self._filters(b, n_fft), n_fft)
        return self._record(filtered[:, :n])

    def _record(self, sound: torch.Tensor) -> torch.Tensor:
        """Return the sound as recorded: companded, with hiss, at any loudness, clipped at times."""
        b = len(sound)
        sound = sound / (sound.abs().amax(1, keepdim=True) + 1e-5)
        root = (sound.abs().sqrt() * 127).round() / 127
        companded = sound.sign() * root.square()
        sound = torch.where(self._chance(P_MU_LAW, b)[:, None], companded, sound)
        hiss = 10 ** (-self._uniform(*HISS_DB, b) / 20) * self._chance(0.3, b)
        noise = torch.randn(sound.shape, device=self._device, generator=self._random)
        sound = sound + noise * hiss[:, None]
        quieter_db = self._uniform(0, 1, b) * self._uniform(0, QUIETER_DB, b)
        overdrive = torch.where(self._chance(P_CLIP, b), self._uniform(1.2, 4.0, b), 1.0)
        gain = 10 ** (-quieter_db / 20) * overdrive
        return (sound * gain[:, None]).clamp(-1, 1)

    def _rooms(self, b: int) -> torch.Tensor:
        """Return impulse responses, (b, n): the direct sound, and at times noise that decays."""
        n = round(ROOM_S[1] * SAMPLE_RATE)
        at = torch.arange(n, device=self._device) / SAMPLE_RATE
        length_s = self._uniform(*ROOM_S, b)[:, None]
        tail = torch.randn(b, n, device=self._device, generator=self._random)
        tail = tail * torch.exp(-self._uniform(4, 8, b)[:, None] * at / length_s) * (at < length_s)
        share = self._uniform(0.04, 0.5, b) * self._chance(P_ROOM, b)
        tail = tail * (share / (tail.square().sum(1).sqrt() + 1e-9))[:, None]
        tail[:, 0] = 1.0
        return tail

    def _filters(self, b: int, n_fft: int) -> torch.Tensor:
        """Return curves over the frequencies, (b, n_fft // 2 + 1), some with a band's limits."""
        n = n_fft // 2 + 1
        bumps_db = torch.randn(b, 1, N_BUMPS, device=self._device, generator=self._random) * BUMP_DB
        tilt = torch.linspace(-0.5, 0.5, N_BUMPS, device=self._device)
        bumps_db = bumps_db + self._uniform(-TILT_DB, TILT_DB, b)[:, None, None] * 2 * tilt
        curve_db = torch.nn.functional.interpolate(bumps_db, n, mode="linear", align_corners=True)
        hz = torch.linspace(0, SAMPLE_RATE / 2, n, device=self._device)
        low, high = (
            torch.tensor(edges, device=self._device)[self._integers(0, len(edges), b)][:, None]
            for edges in BANDS_HZ
        )
        band = (hz < high) / (1 + (low / (hz + 1)) ** 6)
        band = torch.where(self._chance(P_BAND, b)[:, None], band, torch.ones_like(band))
        curve = 10 ** (curve_db[:, 0] / 20) * band
        return torch.where(self._chance(P_FILTER, b)[:, None], curve, torch.ones_like(curve))

    def _noise(self, b: int, n: int) -> torch.Tensor:
        """Return a piece of a noise for each window, shape (b, n), of RMS 1."""
        track = self._integers(0, len(self._noises), b)
        start = self._integers(0, self._noises.shape[1], b)
        at = (start[:, None] + torch.arange(n, device=self._device)) % self._noises.shape[1]
        return self._noises[track[:, None], at]

    def _make_noises(self) -> torch.Tensor:
        """Return tracks of white to brown noise, some with a hum or that swell, and of babble."""
        n = round(WINDOW_S * SAMPLE_RATE)
        white = torch.randn(N_NOISES, n, device=self._device, generator=self._random)
        hz = torch.fft.rfftfreq(n, 1 / SAMPLE_RATE).to(self._device)
        slope = torch.linspace(0, 1.2, N_NOISES, device=self._device)[:, None]
        tracks = torch.fft.irfft(torch.fft.rfft(white) * (1 + hz / 50) ** -slope, n)
        at_s = torch.arange(n, device=self._device) / SAMPLE_RATE
        swell = 1 + 0.9 * torch.sin(2 * math.pi * at_s * self._uniform(0.2, 3, N_NOISES)[:, None])
        overtones = torch.arange(1, 12, device=self._device)[:, None]
        hum = (torch.sin(2 * math.pi * 50 * overtones * at_s) / overtones**1.2).sum(0)
        tracks[0::4] *= swell[0::4]
        tracks[1::4] = tracks[1::4] * 0.5 + hum * tracks[1::4].std()
        for i in range(3, N_NOISES, 4):  # voices over each other, backwards, so that none is meant
            starts = self._integers(0, max(1, len(self._pcm) - n), 4 + i % 3 * 2)
            voices = [self._pcm[int(s) : int(s) + n].flip(0).float() for s in starts]
            babble = torch.stack([v.repeat(-(-n // len(v)))[:n] for v in voices]).sum(0)
            tracks[i] = babble
        level: torch.Tensor = tracks.square().mean(1, keepdim=True).sqrt()
        levelled: torch.Tensor = tracks / (level + 1e-9)
        return levelled

    def _uniform(self, low: float, high: float, n: int) -> torch.Tensor:
        return torch.rand(n, device=self._device, generator=self._random) * (high - low) + low

    def _chance(self, p: float, n: int) -> torch.Tensor:
        return torch.rand(n, device=self._device, generator=self._random) < p

    def _integers(self, low: int, high: int, n: int) -> torch.Tensor:
        return torch.randint(low, high, (n,), device=self._device, generator=self._random)


def mel_filters(warp: float = 1.0) -> NDArray[np.float32]:
    """Return Slaney's mel filters, (N_MELS, N_FFT // 2 + 1), as faster-whisper's extractor has.

    Args:
        warp: factor on the frequencies that the filters look at.
    """
    steps = np.linspace(0, _to_mel(SAMPLE_RATE / 2), N_MELS + 2)
    edges = _to_hz(steps)
    hz = np.linspace(0, SAMPLE_RATE / 2, N_FFT // 2 + 1) * warp
    rising = (hz - edges[:-2, None]) / np.diff(edges)[:-1, None]
    falling = (edges[2:, None] - hz) / np.diff(edges)[1:, None]
    heights = 2 / (edges[2:] - edges[:-2])[:, None]
    filters: NDArray[np.float32] = (np.minimum(rising, falling).clip(min=0) * heights).astype(
        np.float32
    )
    return filters


def _to_mel(hz: float) -> float:
    """Return Slaney's mel of a frequency (Auditory Toolbox, 1998)."""
    log = BREAK_MEL + 27 * math.log(hz / BREAK_HZ) / math.log(6.4)
    return hz * BREAK_MEL / BREAK_HZ if hz < BREAK_HZ else log


def _to_hz(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    exponential = BREAK_HZ * np.exp((mel - BREAK_MEL) * math.log(6.4) / 27)
    return np.where(mel < BREAK_MEL, mel * BREAK_HZ / BREAK_MEL, exponential)
