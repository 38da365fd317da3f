from pathlib import Path

import pytest

from benchmarks.corpus import (
    MINUTES,
    CorpusError,
    Recording,
    bundled_class,
    of_minutes,
    read_corpus,
)
from serve_app.stages.audio import decode_audio
from tests.clips import DATA


def table(folder: Path, *lines: str) -> Path:
    path = folder / "refs.tsv"
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def test_a_folder_in_librispeech_layout_is_read_at_any_depth(tmp_path: Path) -> None:
    for speaker, text in (("19", "NORTHANGER ABBEY"), ("26", "THE KIND OLD MAN")):
        chapter = tmp_path / "dev-clean" / speaker / "100"
        chapter.mkdir(parents=True)
        for i in range(2):
            (chapter / f"{speaker}-100-000{i}.flac").touch()
        lines = [f"{speaker}-100-000{i} {text} {i}" for i in range(2)]
        (chapter / f"{speaker}-100.trans.txt").write_text("\n".join(lines))
    corpus = read_corpus(tmp_path)
    assert [one.path.name for one in corpus.recordings] == [
        *("19-100-0000.flac", "19-100-0001.flac"),
        *("26-100-0000.flac", "26-100-0001.flac"),
    ]
    assert corpus.texts[2] == "THE KIND OLD MAN 0"


def test_a_table_may_have_a_heading_further_columns_and_empty_lines(tmp_path: Path) -> None:
    (tmp_path / "a.wav").touch()
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "b.mp3").touch()
    path = table(tmp_path, "file\ttext\tvoice", "a.wav\tone two\ten-us", "", "sub/b.mp3\tthree")
    assert read_corpus(path, language="tr").recordings == (
        Recording(path=tmp_path / "a.wav", text="one two"),
        Recording(path=tmp_path / "sub" / "b.mp3", text="three"),
    )


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["a.wav\tone", "a.wav one"], "refs.tsv, line 2: there is no tab"),
        (["a.wav\tone", "b.wav\ttwo"], "refs.tsv, line 2: there is no file .*b.wav"),
        (["a.wav\t "], "refs.tsv, line 1: a.wav has no text"),
        (["file\ttext"], "holds no recordings: expected a line with a file, a tab"),
    ],
)
def test_a_table_that_is_wrong_is_refused_with_the_line(
    tmp_path: Path, lines: list[str], message: str
) -> None:
    (tmp_path / "a.wav").touch()
    with pytest.raises(CorpusError, match=message):
        read_corpus(table(tmp_path, *lines))


def test_a_corpus_that_is_missing_empty_or_no_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="no corpus at"):
        read_corpus(tmp_path / "none")
    with pytest.raises(CorpusError, match=r"expected \*.trans.txt"):
        read_corpus(tmp_path)
    (tmp_path / "refs.tsv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(CorpusError, match="not text in UTF-8"):
        read_corpus(tmp_path / "refs.tsv")


def test_a_transcript_without_its_flac_is_refused(tmp_path: Path) -> None:
    (tmp_path / "1-2.trans.txt").write_text("1-2-0000 HELLO\n")
    with pytest.raises(CorpusError, match=r"line 1: there is no file .*1-2-0000\.flac"):
        read_corpus(tmp_path)


def test_the_turkish_clip_is_there_with_its_text() -> None:
    corpus = read_corpus(DATA / "turkish" / "refs.tsv", language="tr")
    [clip] = corpus.recordings
    assert clip.text == "lütfen mutfağın ışığını aç"
    assert 1.5 < length_s(clip.path) < 5


def test_many_short_files_are_made_once(tmp_path: Path) -> None:
    many = bundled_class("many", cache=tmp_path)
    assert len(many.recordings) > 100
    assert all(len(text.split()) > 2 for text in many.texts)
    written = many.recordings[0].path.stat().st_mtime_ns
    assert bundled_class("many", cache=tmp_path) == many
    assert many.recordings[0].path.stat().st_mtime_ns == written


def test_longer_recordings_are_within_the_limits_of_their_class() -> None:
    assert all(1 <= minutes <= 5 for minutes in MINUTES["short"])
    assert all(30 <= minutes <= 60 for minutes in MINUTES["long"])


def test_a_long_recording_says_its_text_as_often_as_it_repeats_it(tmp_path: Path) -> None:
    once, thrice = of_minutes(tmp_path, (0.5, 1.5), period_s=30)
    assert thrice.text == " ".join([once.text] * 3)
    assert length_s(once.path) == pytest.approx(30, abs=5)
    assert length_s(thrice.path) == pytest.approx(3 * length_s(once.path), abs=0.1)


def length_s(path: Path) -> float:
    return decode_audio(path.read_bytes(), max_s=1000).end_s
