"""`serve-app config`: what would be served, as a complete Serve config."""

from typing import Any

import click
import yaml

from serve_app.cli.options import render, rendering_options


@click.command()
@click.argument("profile")
@rendering_options
def config(profile: str, **options: Any) -> None:
    """Print PROFILE as a complete Serve config, with everything that is laid over it.

    The order: profile < overlays < environment (WHISPER__*, LOG_LEVEL ...) < these options.
    """
    rendered = render(profile, **options)
    for name, value in rendered.environment.items():
        click.echo(f"Note: start Ray with {name}={value}; a config cannot say it.", err=True)
    click.echo(yaml.safe_dump(rendered.config, sort_keys=False, width=100), nl=False)
