"""`serve-app serve`: a profile, rendered and run until it is told to stop."""

from typing import Any

import click

from serve_app import models
from serve_app.cli.gpus import check_gpus
from serve_app.cli.graph import running
from serve_app.cli.options import render, rendering_options


@click.command()
@click.argument("profile", default="demo")
@rendering_options
def serve(profile: str, **options: Any) -> None:
    """Serve PROFILE (a name such as `turbo`, or a config file) until Ctrl-C.

    The order: profile < overlays < environment (WHISPER__*, LOG_LEVEL ...) < these options.
    """
    rendered = render(profile, **options)
    check_gpus(profile, rendered)
    with running(rendered, shows_log=True) as process:
        click.echo(f"Serving {profile} at {rendered.url}. Try:\n")
        sample = models.asset("sample/sample.flac")
        click.echo(f"  curl {rendered.url}/v1/audio/transcriptions -F file=@{sample}\n")
        click.echo("Ctrl-C stops it.")
        code = process.wait()
    raise click.ClickException(f"The graph ended by itself (exit status {code}).")
