"""A file that names other files and addresses opens none of them: the kernel is asked."""

import base64
import contextlib
import ctypes
import io
import os
import socket
import struct
import time

import av
import pytest

from serve_app.errors import InvalidAudioError
from serve_app.stages.audio import container, decode_audio
from tests.audio_files import clip, encode, video

IN_ACCESS, IN_OPEN = 0x1, 0x20  # man 7 inotify


class Trap:
    """A file and two ports on 127.0.0.1 that tell whether they were touched."""

    def __init__(self, folder):
        self.path = folder / "secret.wav"
        self.path.write_bytes(clip("wav_16k"))
        self._notes = ctypes.CDLL(None).inotify_init1(os.O_NONBLOCK)
        for watched in (self.path, folder):
            found = ctypes.CDLL(None).inotify_add_watch(
                self._notes, bytes(watched), IN_ACCESS | IN_OPEN
            )
            assert found > 0
        self._tcp = socket.create_server(("127.0.0.1", 0))
        self._udp = socket.socket(type=socket.SOCK_DGRAM)
        self._udp.bind(("127.0.0.1", 0))
        self._udp.setblocking(False)
        self._tcp.setblocking(False)
        self.tcp_port, self.udp_port = self._tcp.getsockname()[1], self._udp.getsockname()[1]

    def touched(self):
        """What was touched since the last call."""
        attempts = {
            "file": lambda: os.read(self._notes, 4096),
            "tcp": lambda: self._tcp.accept()[0].close() or True,
            "udp": lambda: self._udp.recv(10),
        }
        found = set()
        for name, attempt in attempts.items():
            try:
                attempt()
                found.add(name)
            except BlockingIOError:
                continue
        return found

    def close(self):
        os.close(self._notes)
        self._tcp.close()
        self._udp.close()


@pytest.fixture
def trap(tmp_path):
    made = Trap(tmp_path)
    yield made
    made.close()


def test_the_trap_notices(trap):
    assert trap.touched() == set()
    trap.path.read_bytes()
    socket.create_connection(("127.0.0.1", trap.tcp_port)).close()
    with socket.socket(type=socket.SOCK_DGRAM) as sender:
        sender.sendto(b"x", ("127.0.0.1", trap.udp_port))
    assert trap.touched() == {"file", "tcp", "udp"}


M3U8 = "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{target}\n#EXT-X-ENDLIST\n"
PLAYLISTS = {
    "ffconcat": "ffconcat version 1.0\nfile {target}\n",
    "concat_without_header": "file '{target}'\n",
    "m3u8": M3U8,
    "m3u8_master": "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n{target}\n",
    "m3u8_key": M3U8.replace("#EXTINF", '#EXT-X-KEY:METHOD=AES-128,URI="{target}"\n#EXTINF'),
    "dash": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"><Period>'
    '<AdaptationSet mimeType="audio/wav"><Representation id="1"><BaseURL>{target}</BaseURL>'
    "</Representation></AdaptationSet></Period></MPD>",
    "smooth": '<SmoothStreamingMedia MajorVersion="2"><StreamIndex Url="{target}"/>'
    "</SmoothStreamingMedia>",
    "asx": "[Reference]\nRef1={target}\n",
    "pls": "[playlist]\nFile1={target}\nNumberOfEntries=1\n",
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\n"
    "a=control:{target}\nm=audio {udp_port} RTP/AVP 0\n",
    "svg": '<svg xmlns="http://www.w3.org/2000/svg"><image href="{target}"/></svg>',
    "ram": "{target}\n",
}
TARGETS = {
    "path": "{path}",
    "file": "file://{path}",
    "http": "http://127.0.0.1:{tcp_port}/a.wav",
    "https": "https://127.0.0.1:{tcp_port}/a.wav",
    "tcp": "tcp://127.0.0.1:{tcp_port}",
    "udp": "udp://127.0.0.1:{udp_port}",
    "rtp": "rtp://127.0.0.1:{udp_port}",
    "concat": "concat:{path}|{path}",
    "subfile": "subfile,,start,0,end,0,,:{path}",
    "crypto": "crypto:{path}",
    "data": "data:audio/wav;base64,{base64}",
    "pattern": "{path}%03d.wav",
}


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("kind", PLAYLISTS)
def test_a_playlist_is_refused_at_once_and_opens_nothing(kind, target, trap):
    ports = {"tcp_port": trap.tcp_port, "udp_port": trap.udp_port}
    encoded = base64.b64encode(clip("wav_8k")).decode()
    named = TARGETS[target].format(path=trap.path, base64=encoded, **ports)
    playlist = PLAYLISTS[kind].format(target=named, **ports).encode()
    began_s = time.monotonic()
    with pytest.raises(InvalidAudioError):
        decode_audio(playlist, max_s=60)
    assert trap.touched() == set()
    assert time.monotonic() - began_s < 1


def test_a_playlist_behind_a_sound_file_is_no_part_of_it(trap):
    playlist = M3U8.format(target=f"file://{trap.path}").encode()
    for name in ("wav_16k", "mp3_44k_stereo", "m4a"):
        alone = decode_audio(clip(name), max_s=60)
        both = decode_audio(clip(name) + playlist, max_s=60)
        assert abs(both.end_s - alone.end_s) < 0.1
    assert trap.touched() == set()


def movie_of_samples_elsewhere(path):
    """A QuickTime file whose data reference is an alias of another file (QTFF, `dref`)."""
    file = bytearray(encode("mov", "pcm_s16be", 16_000, 1))
    entry = file.index(b"dref") + 12
    path += bytes(len(path) % 2)  # records are padded to whole words
    record = struct.pack(">HH", 2, len(path)) + path + b"\xff\xff"
    alias = b"alis" + bytes(4 + 150) + record
    added = len(alias) + 4 - int.from_bytes(file[entry : entry + 4], "big")
    for kind in (b"moov", b"trak", b"mdia", b"minf", b"dinf", b"dref"):
        at = file.rindex(kind, 0, entry) - 4
        file[at : at + 4] = struct.pack(">I", int.from_bytes(file[at : at + 4], "big") + added)
    file[entry : entry + 12] = struct.pack(">I", len(alias) + 4) + alias
    return bytes(file)


def test_a_movie_whose_samples_lie_in_another_file_does_not_open_it(trap):
    movie = movie_of_samples_elsewhere(bytes(trap.path))
    wanted = {"enable_drefs": "1", "use_absolute_path": "1"}
    av.open(io.BytesIO(movie), options=wanted).close()
    assert trap.touched() == {"file"}  # the attack, had nothing been refused
    with contextlib.suppress(InvalidAudioError):
        decode_audio(movie, max_s=60)
    assert trap.touched() == set()


def test_a_picture_and_its_link_in_a_tag_are_not_fetched(trap):
    link = b"\x00-->\x00\x03\x00http://127.0.0.1:%d/cover.png" % trap.tcp_port
    frame = b"APIC" + struct.pack(">IH", len(link), 0) + link
    size = len(frame)
    tag = b"ID3\x03\x00\x00" + bytes([size >> 21, size >> 14 & 127, size >> 7 & 127, size & 127])
    decoded = decode_audio(tag + frame + clip("mp3_44k_stereo"), max_s=60)
    assert decoded.end_s > 6
    assert trap.touched() == set()


def test_a_demuxer_that_opens_other_files_cannot_even_where_it_is_allowed(trap):
    playlist = f"ffconcat version 1.0\nfile {trap.path}\n".encode()
    with av.open(io.BytesIO(playlist), format="concat", options={"safe": "0"}) as opened:
        assert opened.streams.audio  # the attack, had nothing been refused
    assert trap.touched() == {"file"}
    options = container.OPEN_OPTIONS | {"safe": "0", "format_whitelist": "concat,wav"}
    with pytest.raises(av.FFmpegError):
        av.open(io.BytesIO(playlist), format="concat", options=options)
    assert trap.touched() == set()


def test_no_picture_is_decoded_even_to_find_out_about_it():
    movie = video("matroska", "libopus")
    freely = container.OPEN_OPTIONS.keys() - {"codec_whitelist"}
    for keys, expected in ((freely, "yuv420p"), (container.OPEN_OPTIONS.keys(), None)):
        options = {key: container.OPEN_OPTIONS[key] for key in keys}
        with av.open(io.BytesIO(movie), options=options) as opened:
            assert opened.streams.video[0].codec_context.pix_fmt == expected
    assert decode_audio(movie, max_s=60).end_s > 2.9


def test_no_error_names_a_path_or_repeats_the_file(trap):
    files = [f"ffconcat version 1.0\nfile {trap.path}\n".encode(), b"my secret words " * 100]
    for file in [*files, video("mp4"), clip("m4a")[:500]]:
        with pytest.raises(InvalidAudioError) as caught:
            decode_audio(file, max_s=60)
        told = str(caught.value)
        assert not any(word in told for word in ("/", "secret", "none", "Errno", "0x", "av."))
