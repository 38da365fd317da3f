"""Damaged files, each made from its number alone: a sound clip in one format, changed in one way.

Most changes are made where a demuxer looks: sizes, counts, flags, magic words, page headers.
"""

import io
import random
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache

import av
import numpy as np

from serve_app.domain import SAMPLE_RATE
from serve_app.models import asset
from serve_app.stages.audio import decode_audio

CLIP_S = 2.5
HEADER_BYTES = 512


@dataclass(frozen=True, kw_only=True)
class Format:
    """How a seed is encoded, and where its structure lies."""

    container: str
    codec: str
    rate: int
    family: str  # key of FIELDS
    options: Mapping[str, str]  # of the muxer
    layout: str = "mono"
    video: bool = False


def _format(container: str, codec: str, rate: int, family: str, **more: object) -> Format:
    made = {"options": {}, **more}
    return Format(container=container, codec=codec, rate=rate, family=family, **made)  # type: ignore[arg-type]


FORMATS = {
    "wav": _format("wav", "pcm_s16le", 16_000, "riff"),
    "wav_adpcm": _format("wav", "adpcm_ms", 8_000, "riff"),
    "mp3": _format("mp3", "libmp3lame", 44_100, "frames"),
    "flac": _format("flac", "flac", 16_000, "flac"),
    "ogg": _format("ogg", "vorbis", 44_100, "ogg", layout="stereo"),
    "opus": _format("ogg", "libopus", 48_000, "ogg"),
    "m4a": _format("ipod", "aac", 44_100, "box"),
    "m4a_alac": _format("ipod", "alac", 16_000, "box"),
    "webm": _format("webm", "libopus", 48_000, "ebml"),
    "amr": _format("amr", "libopencore_amrnb", 8_000, "frames"),
    "mp4": _format("mp4", "aac", 48_000, "box", video=True),
    "mp4_fragments": _format(
        "mp4", "aac", 16_000, "box", options={"movflags": "frag_keyframe+empty_moov+faststart"}
    ),
    "mkv": _format("matroska", "ac3", 48_000, "ebml"),
    "3gp": _format("3gp", "libopencore_amrnb", 8_000, "box"),
    "adts": _format("adts", "aac", 16_000, "frames"),
    "aiff": _format("aiff", "pcm_s16be", 16_000, "riff"),
    "caf": _format("caf", "alac", 16_000, "riff"),
    "avi": _format("avi", "libmp3lame", 44_100, "riff"),
    "asf": _format("asf", "wmav2", 16_000, "frames"),
    "flv": _format("flv", "aac", 44_100, "frames"),
    "mpegts": _format("mpegts", "mp2", 16_000, "frames"),
    "wavpack": _format("wv", "wavpack", 16_000, "riff"),
    "tta": _format("tta", "tta", 16_000, "frames"),
}

# Magic words, and the fields beside each: offset from the word's start, bytes, byte order.
Field = tuple[int, int, str]
FIELDS: Mapping[str, tuple[bytes, tuple[Field, ...]]] = {
    "riff": (
        rb"RIFF|fmt |data|LIST|fact|hdrl|avih|strl|strh|strf|idx1|movi|01wb|00wb"
        rb"|FORM|COMM|SSND|caff|desc|kuki|pakt|chan|wvpk",
        (
            *((4, 4, "little"), (4, 4, "big"), (8, 8, "big"), (8, 2, "little"), (10, 2, "little")),
            *(
                (12, 4, "little"),
                (16, 4, "little"),
                (20, 2, "little"),
                (22, 2, "little"),
                (0, 4, "big"),
            ),
        ),
    ),
    "box": (
        rb"ftyp|moov|mvhd|trak|tkhd|mdia|mdhd|hdlr|minf|stbl|stsd|stts|stsc|stsz|stco|co64|elst|edts"
        rb"|esds|mp4a|alac|samr|udta|mdat|moof|mfhd|traf|tfhd|tfdt|trun|sidx|mvex|trex|meta|ilst",
        (
            *((-4, 4, "big"), (-4, 4, "big"), (0, 4, "big"), (4, 4, "big"), (8, 4, "big")),
            *((12, 4, "big"), (16, 4, "big"), (20, 4, "big"), (28, 2, "big"), (32, 4, "big")),
        ),
    ),
    "ebml": (
        rb"\x1aE\xdf\xa3|\x18S\x80g|\x15I\xa9f|\x16T\xaek|\xae|\x1fC\xb6u|\xa3|\x1cS\xbbk|\x11M\x9bt"
        rb"|c\xa2|\xe1|\xb5|\x9f|\*\xd7\xb1|D\x89|V\xaa|V\xbb|#\xe3\x83|\x86|\x83|\xd7",
        ((1, 1, "big"), (2, 1, "big"), (2, 2, "big"), (3, 1, "big"), (4, 1, "big"), (4, 8, "big")),
    ),
    "ogg": (
        rb"OggS",
        (
            *((4, 1, "little"), (5, 1, "little"), (6, 8, "little"), (14, 4, "little")),
            *((18, 4, "little"), (26, 1, "little"), (27, 1, "little"), (28, 1, "little")),
            *((28, 8, "little"), (36, 4, "little"), (40, 4, "little"), (44, 2, "little")),
        ),
    ),
    "flac": (
        rb"fLaC|\xff[\xf8\xf9]",
        (
            *((2, 1, "big"), (3, 1, "big"), (4, 1, "big"), (4, 4, "big"), (5, 3, "big")),
            *((8, 2, "big"), (10, 2, "big"), (18, 4, "big"), (22, 4, "big")),
        ),
    ),
    "frames": (
        rb"\xff[\xe0-\xff]|ID3|Xing|Info|#!AMR|FLV|\x08\x00|\x47[\x40-\x4f]|TTA1|0&\xb2u",
        (
            *((0, 1, "big"), (1, 1, "big"), (2, 1, "big"), (3, 1, "big"), (4, 1, "big")),
            *((6, 4, "big"), (8, 4, "big"), (16, 8, "little"), (4, 3, "big")),
        ),
    ),
}


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """One damaged file."""

    number: int
    format: str
    kind: str
    file: bytes


def mutant(number: int) -> Mutant:
    """The damaged file of that number: formats in turn, the rest by the number as a seed."""
    rng = random.Random(number)
    name = list(FORMATS)[number % len(FORMATS)]
    kinds = STRUCTURAL if rng.random() < STRUCTURAL_SHARE else ANYWHERE
    kind = "fields" if rng.random() < FIELDS_SHARE else rng.choice(list(kinds))
    made = bytearray(seed(name))
    (STRUCTURAL | ANYWHERE)[kind](rng, name, made)
    if FORMATS[name].family == "ogg" and rng.random() < OGG_SHARE_WITH_CHECKSUMS:
        set_checksums(made)  # else FFmpeg would look at no page that was changed
    return Mutant(number=number, format=name, kind=kind, file=bytes(made))


@cache
def seed(name: str) -> bytes:
    """The sample clip's start in that format."""
    spec = FORMATS[name]
    pcm = decode_audio(asset("sample/sample.flac").read_bytes(), max_s=CLIP_S).samples
    file = io.BytesIO()
    with av.open(file, "w", format=spec.container, options=dict(spec.options)) as out:
        stream = out.add_stream(
            spec.codec, rate=spec.rate, layout=spec.layout, options={"strict": "experimental"}
        )
        if not spec.codec.startswith("pcm"):
            stream.bit_rate = 12_200 if "amr" in spec.codec else 64_000
        if spec.video:
            picture = out.add_stream("mpeg4", rate=5)
            picture.width = picture.height = 64
            for packet in picture.encode(av.VideoFrame(64, 64, "yuv420p")):
                out.mux(packet)
        frame = av.AudioFrame.from_ndarray(pcm[None], format="s16", layout="mono")
        frame.sample_rate = SAMPLE_RATE
        codec = stream.codec_context
        resampler = av.AudioResampler(
            codec.format.name, spec.layout, spec.rate, codec.frame_size or None
        )
        for ready in [*resampler.resample(frame), *resampler.resample(None)]:
            out.mux(stream.encode(ready))
        out.mux(stream.encode(None))
    return file.getvalue()


@lru_cache
def _places(name: str) -> tuple[int, ...]:
    """Where a format's magic words begin, the first 200 of them."""
    found = re.finditer(FIELDS[FORMATS[name].family][0], seed(name), re.DOTALL)
    return tuple(match.start() for match in found)[:200] or (0,)


def _place(rng: random.Random, name: str) -> int:
    """One of the magic words; every second time one of the header's."""
    places = _places(name)
    early = [place for place in places if place < HEADER_BYTES]
    return rng.choice(early if early and rng.random() < 0.5 else places)


def _fields(rng: random.Random, name: str, file: bytearray) -> None:
    """Sizes, counts and identifiers say something else."""
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        offset, n_bytes, order = rng.choice(FIELDS[FORMATS[name].family][1])
        at = max(0, _place(rng, name) + offset)
        old = int.from_bytes(file[at : at + n_bytes], order)  # type: ignore[arg-type]
        most = 256**n_bytes
        value = rng.choice(
            (
                *(0, 1, 2, 7, 255, len(file), most - 1, most - 2, most // 2, most // 2 - 1),
                *(old + 1, old - 1, old * 2, old // 2, rng.randrange(most)),
            )
        )
        file[at : at + n_bytes] = (value % most).to_bytes(n_bytes, order)  # type: ignore[arg-type]


def _header_bits(rng: random.Random, _: str, file: bytearray) -> None:
    for _i in range(rng.choice((1, 1, 2, 4, 8))):
        file[rng.randrange(min(HEADER_BYTES, len(file)))] ^= 1 << rng.randrange(8)


def _header_bytes(rng: random.Random, _: str, file: bytearray) -> None:
    at = rng.randrange(min(HEADER_BYTES, len(file)))
    n_bytes = rng.choice((1, 2, 4, 8))
    file[at : at + n_bytes] = (
        bytes([rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))]) * n_bytes
    )


def _cut(rng: random.Random, name: str, file: bytearray) -> None:
    at = rng.choice((_place(rng, name) + rng.randrange(40), rng.randrange(len(file))))
    del file[at:]


def _no_start(rng: random.Random, name: str, file: bytearray) -> None:
    del file[: rng.choice((_place(rng, name), rng.randrange(len(file))))]


def _repeated_header(rng: random.Random, name: str, file: bytearray) -> None:
    header = bytes(file[: rng.choice((16, 64, _place(rng, name) or 48, HEADER_BYTES))])[:2000]
    at = rng.choice((0, _place(rng, name)))
    file[at:at] = header * rng.choice((1, 2, 50, 1000))


def _repeated_part(rng: random.Random, name: str, file: bytearray) -> None:
    first, last = sorted((_place(rng, name), _place(rng, name)))
    file[first:first] = bytes(file[first:last][:2000]) * rng.choice((1, 3, 100))


def _lost_part(rng: random.Random, name: str, file: bytearray) -> None:
    first, last = sorted((_place(rng, name), _place(rng, name)))
    del file[first:last]


def _spliced(rng: random.Random, name: str, file: bytearray) -> None:
    """The start of one file and the rest of another, often of another format."""
    other = rng.choice(list(FORMATS))
    file[_place(rng, name) :] = seed(other)[_place(rng, other) :]


def _polyglot(rng: random.Random, name: str, file: bytearray) -> None:
    """A whole file of another format before, behind or inside this one."""
    at = rng.choice((0, len(file), _place(rng, name)))
    file[at:at] = seed(rng.choice(list(FORMATS)))


def _bits(rng: random.Random, _: str, file: bytearray) -> None:
    for _i in range(rng.choice((1, 5, 40, 400))):
        file[rng.randrange(len(file))] ^= 1 << rng.randrange(8)


def _zeros(rng: random.Random, _: str, file: bytearray) -> None:
    at, n_bytes = rng.randrange(len(file)), rng.randrange(5000)
    file[at : at + n_bytes] = bytes(len(file[at : at + n_bytes]))


def _noise(rng: random.Random, _: str, file: bytearray) -> None:
    at, n_bytes = rng.randrange(len(file)), rng.randrange(3000)
    file[at : at + n_bytes] = rng.randbytes(n_bytes)


def _doubled(rng: random.Random, _: str, file: bytearray) -> None:
    at, n_bytes = rng.randrange(len(file)), rng.randrange(9000)
    file[at:at] = file[at : at + n_bytes]


def set_checksums(file: bytearray) -> None:
    """Give every ogg page the checksum of what it holds now (RFC 3533, 6)."""
    starts = [match.start() for match in re.finditer(b"OggS", file)]
    for start in starts:
        n_segments = file[start + 26] if start + 26 < len(file) else 0
        table = file[start + 27 : start + 27 + n_segments]
        end = start + 27 + n_segments + sum(table)
        if end > len(file):
            continue
        file[start + 22 : start + 26] = bytes(4)
        crc = 0
        for byte in file[start:end]:
            crc = (crc << 8 & 0xFFFFFFFF) ^ _CRC_TABLE[crc >> 24 ^ byte]
        file[start + 22 : start + 26] = crc.to_bytes(4, "little")


def _crc_table() -> list[int]:
    table = np.arange(256, dtype=np.uint64) << 24
    for _ in range(8):
        table = (table << 1) ^ np.where(table & 0x80000000, 0x104C11DB7, 0).astype(np.uint64)
    return [int(entry) & 0xFFFFFFFF for entry in table]


_CRC_TABLE = _crc_table()

Mutation = Callable[[random.Random, str, bytearray], None]
STRUCTURAL: dict[str, Mutation] = {
    "fields": _fields,
    "header bits": _header_bits,
    "header bytes": _header_bytes,
    "cut short": _cut,
    "start lost": _no_start,
    "header repeated": _repeated_header,
    "part repeated": _repeated_part,
    "part lost": _lost_part,
    "two files spliced": _spliced,
    "polyglot": _polyglot,
}
ANYWHERE: dict[str, Mutation] = {
    "bits anywhere": _bits,
    "zeros anywhere": _zeros,
    "noise anywhere": _noise,
    "doubled anywhere": _doubled,
}
FIELDS_SHARE = 0.15  # beside their turn: the likeliest to get past a first look
STRUCTURAL_SHARE = 0.7
OGG_SHARE_WITH_CHECKSUMS = 0.8
