"""The table of the model's card, made of a run of the evaluation."""

from pathlib import Path
from typing import Any

from benchmarks.embedded_models.whisper.card import is_of_both, measures_table
from benchmarks.measured import Measured


def row(model: str, figure: str, value: float, **more: Any) -> dict[str, Any]:
    return {"model": model, "figure": figure, "value": value, **more}


def measured(rows: list[dict[str, Any]], *, share: float = 1.0) -> Measured:
    bars = [
        {"name": "embedded: digits", "limit": 0.02, "met": False},
        {"name": "embedded: segment end, median", "limit": 0.05, "met": True},
    ]
    content = {"what": "embedded_whisper", "settings": {"share": share}, "rows": rows, "bars": bars}
    return Measured(path=Path("run.json"), content=content)


ROWS = [
    row(
        model,
        "digits",
        value,
        beam=beam,
        n=100,
        by_voice={"flite:slt": 2 * value, "en": value / 2} if beam == 1 else {},
    )
    for model, value in (("embedded", 0.03), ("previous", 0.05))
    for beam in (1, 5)
] + [
    row("embedded", "segment end, median", 0.0123, n=148),
    row("previous", "segment end, median", 0.015, n=148),
]


def test_each_figure_stands_beside_the_one_before_and_its_aim() -> None:
    lines = measures_table(measured(ROWS)).splitlines()[2:]
    assert lines == [
        "| digits | 100 | 3.0% (en 1.5%, flite:slt 6.0%) | 5.0% | at most 2.0%: missed |",
        "| digits, beam 5 | 100 | 3.0% | 5.0% |  |",
        "| segment end, median | 148 | 0.012 s | 0.015 s | at most 0.050 s |",
    ]


def test_a_run_of_one_model_or_of_some_clips_is_not_the_cards() -> None:
    assert is_of_both(measured(ROWS))
    assert not is_of_both(measured(ROWS, share=0.1))
    assert not is_of_both(measured(ROWS[:2]))
