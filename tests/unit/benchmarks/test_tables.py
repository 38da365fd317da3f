"""README's tables: what they show of the result files, and that README has them as they stand."""

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import tables
from benchmarks.markdown import Anchor, Row, anchors_table, figures_table, fill
from benchmarks.measured import Measured

ROW = Row(what="Speed", source="speed", where={"side": "ours"}, figure="{ratio:.2f} x", bar="ratio")


def measured(*, value: float = 1.234, met: bool = True, **machine: Any) -> Measured:
    return Measured(
        path=Path("2026-01-01-cpu-speed.json"),
        content={
            "what": "speed",
            "machine": {"cpu": "Some CPU", "cores": 2, **machine},
            "settings": {"minutes": 5.0},
            "bars": [{"name": "ratio", "limit": 1.0, "value": value, "at_least": True, "met": met}],
            "rows": [{"side": "theirs", "ratio": 9.9}, {"side": "ours", "ratio": value}],
        },
    )


MADE = tables.tables(tables.shown())


@pytest.mark.parametrize("document", MADE, ids=lambda document: document.parent.name)
def test_a_document_has_the_tables_that_the_result_files_make(document: Path) -> None:
    stale = tables.stale(document.read_text(), MADE[document])
    assert not stale, "\n".join([f"it is stale; mend it by `{tables.COMMAND}`:", *stale])


def test_a_line_that_no_file_makes_is_told_as_stale() -> None:
    text = tables.README.read_text().replace("| What | Figure |", "| my own |\n| What | Figure |")
    assert "-| my own |" in tables.stale(text, MADE[tables.README])


def test_another_servers_figures_are_not_shown(tmp_path: Path) -> None:
    for i, url in enumerate((None, "http://other:8000")):
        content = {
            "what": "http_load",
            "began": f"2026-01-0{i + 1}T00:00:00+00:00",
            "complete": True,
            "settings": {"url": url},
        }
        (tmp_path / f"{i}.json").write_text(json.dumps(content))
    assert tables.shown(tmp_path)["http_load"].settings["url"] is None


def test_a_figure_links_to_its_file_beside_its_bar_and_machine() -> None:
    table = figures_table([ROW], {"speed": measured()})
    assert "| Speed | [1.23 x][speed] | at least 1 | Some CPU, 2 cores |" in table
    assert "[speed]: benchmarks/results/2026-01-01-cpu-speed.json" in table


def test_a_missed_bar_is_said() -> None:
    assert "at least 1: missed" in figures_table([ROW], {"speed": measured(value=0.5, met=False)})


def test_a_figure_may_be_of_the_bar_and_the_settings() -> None:
    row = Row(what="", source="speed", figure="{bar[value]} {settings[minutes]:g}", bar="ratio")
    assert row.read(measured(value=2.5)) == "2.5 5"


def test_what_has_no_file_says_what_would_measure_it() -> None:
    assert "| Speed | not measured: `python -m benchmarks speed` |  |  |" in figures_table(
        [ROW], {}
    )


def test_a_gpu_is_named_instead_of_the_cpu() -> None:
    assert "| H200 |" in figures_table([ROW], {"speed": measured(gpu="H200")})


def test_machines_of_one_name_are_told_apart_by_their_instructions() -> None:
    assert "| Some CPU, 2 cores, AVX2 |" in figures_table(
        [ROW], {"speed": measured(instructions="AVX2")}
    )


def test_a_row_that_the_file_lacks_is_an_error_that_names_it() -> None:
    row = Row(what="Speed", source="speed", where={"side": "nobody's"}, figure="")
    with pytest.raises(LookupError, match=r"row 'Speed': .* has no row with"):
        figures_table([row], {"speed": measured()})


def test_an_anchor_stands_beside_the_same_figure_of_this_project() -> None:
    theirs = {
        "system": "S",
        "work": "w",
        "hardware": "h",
        "published": "3 x",
        "source": "https://s",
    }
    table = anchors_table([Anchor(**theirs, ours=ROW), Anchor(**theirs)], {"speed": measured()})
    assert "| S | w | h | [3 x](https://s) | [1.23 x][speed] |" in table
    assert "| S | w | h | [3 x](https://s) | not measured |" in table


def test_tables_are_put_into_their_places_only() -> None:
    text = "a\n<!-- table:one -->\nold\n<!-- /table -->\nb\n"
    assert fill(text, {"one": "new\n"}) == text.replace("old", "new")
    with pytest.raises(LookupError):
        fill(text, {"one": "", "two": ""})
    with pytest.raises(LookupError):
        fill(text, {})
