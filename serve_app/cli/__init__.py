"""The `serve-app` command: one file for each of its commands.

`serve` and `config` render a profile with overlays, the environment and options (`options.py`), the
one place that reads `WHISPER__*` names; `demo` shows the embedded model working. `graph.py` runs
what was rendered. `transcribe`, `models` and `doctor` need no graph.
"""

import click

from serve_app.cli.config import config
from serve_app.cli.demo import demo
from serve_app.cli.doctor import doctor
from serve_app.cli.models import models
from serve_app.cli.serve import serve
from serve_app.cli.transcribe import transcribe


@click.group()
@click.version_option(package_name="serve_app")
def main() -> None:
    """Whisper speech-to-text on Ray Serve."""


main.add_command(transcribe)
main.add_command(models)
main.add_command(doctor)
main.add_command(serve)
main.add_command(demo)
main.add_command(config)
