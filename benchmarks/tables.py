"""The tables of README and of the model's card, and the command that writes them.

A new benchmark gets a `Row` in `benchmarks.rows`: which figure of its file is shown, how, and
against which bar.
"""

import difflib
from collections.abc import Callable, Mapping
from pathlib import Path

import click

from benchmarks.embedded_models.whisper.card import CARD, is_of_both, measures_table
from benchmarks.markdown import Latest, anchors_table, figures_table, fill
from benchmarks.measured import RESULTS, Measured, latest, read
from benchmarks.rows.others import ANCHORS
from benchmarks.rows.reliability import RELIABILITY
from benchmarks.rows.speed import SPEED

README = Path(__file__).parent.parent / "README.md"
COMMAND = "python -m benchmarks tables"
# Which runs the rows speak of, where a benchmark may also measure something else.
SPOKEN_OF: Mapping[str, Callable[[Measured], bool]] = {
    "http_load": lambda run: run.settings["url"] is None,  # else: another server's figures
    "throughput": lambda run: (run.settings["model"], run.settings["corpus"]) == ("embedded", None),
    "chaos": lambda run: run.settings["go_on"] or not run.settings["only"],
    "gpu": lambda run: run.row(part="device")["name"] != "CPU",
    "embedded_whisper": is_of_both,
}
WITHOUT_GPU = """
No figure of serve_app on a GPU has been measured yet; `python -m benchmarks gpu` measures them.
"""


def tables(files: Latest) -> dict[Path, dict[str, str]]:
    """Return the tables of each document by the names of their places."""
    return {
        README: {
            "speed": figures_table(SPEED, files),
            "others": anchors_table(ANCHORS, files) + ("" if "gpu" in files else WITHOUT_GPU),
            "reliability": figures_table(RELIABILITY, files),
        },
        CARD: {"measures": measures_table(files["embedded_whisper"])},
    }


def shown(folder: Path = RESULTS) -> Latest:
    """Return the result files that are shown: the latest of what the tables speak of."""
    return latest(
        measured for measured in read(folder) if measured.is_whole and _is_spoken_of(measured)
    )


def stale(text: str, made_of: Mapping[str, str]) -> list[str]:
    """Return what in a text differs from what its tables make of it."""
    made = fill(text, made_of)
    differences = difflib.unified_diff(text.splitlines(), made.splitlines(), n=0, lineterm="")
    return list(differences)[2:]  # without the names of the two


def _is_spoken_of(measured: Measured) -> bool:
    speaks = SPOKEN_OF.get(measured.what)
    return speaks is None or speaks(measured)


@click.command("tables")
@click.option("--check", is_flag=True, help="Write nothing; fail where README is stale.")
def command(check: bool) -> None:
    """Write the tables of README and of the model's card from the latest result files."""
    for document, made_of in tables(shown()).items():
        text = document.read_text()
        if not check:
            document.write_text(fill(text, made_of))
        elif lines := stale(text, made_of):
            raise click.ClickException("\n".join([f"{document} is stale; `{COMMAND}`:", *lines]))
