"""The options by which a profile is changed, alike in `serve` and `config`."""

import os
from collections.abc import Callable
from typing import Any

import click

from serve_app import profiles
from serve_app.cli.gpus import count_gpus

_OPTIONS = (
    click.option(
        "--overlay",
        "overlays",
        multiple=True,
        metavar="NAME|FILE",
        help="Lay this over the profile: " + ", ".join(profiles.overlay_names()) + ". Repeatable.",
    ),
    click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), help="Run on this."),
    click.option("--accelerator", metavar="NAME", help="Only on GPUs of this kind, such as H100."),
    click.option("--host", help="Listen on this address."),
    click.option("--port", type=click.IntRange(1, 65_535), help="Listen on this port."),
    click.option(
        "--set",
        "assignments",
        multiple=True,
        metavar="PATH=VALUE",
        help="Set one option, such as args.vad.min_silence_s=0.3. Repeatable.",
    ),
)


def rendering_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate a command with the options that `render` takes."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def render(profile: str, **options: Any) -> profiles.Rendered:
    """Render a profile with those options and the environment; print what the user should know.

    Raises:
        click.ClickException: something is not known or not valid.
    """
    choices = profiles.Choices(environment=dict(os.environ), **options)
    try:
        rendered = profiles.render(profile, choices, count_gpus)
    except profiles.ProfileError as error:
        raise click.ClickException(str(error)) from None
    for note in rendered.notes:
        click.echo(f"Note: {note}", err=True)
    return rendered
