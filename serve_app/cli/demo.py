"""`serve-app demo`: the embedded model, the bundled clip, its transcript."""

import time
from pathlib import Path
from typing import Any

import click

from serve_app import models, profiles
from serve_app.cli.gpus import count_gpus
from serve_app.cli.graph import direct_session, running
from serve_app.domain import SAMPLE_RATE
from serve_app.stages import audio


@click.command()
@click.option("--port", type=int, help="Listen here instead of the profile's port.")
def demo(port: int | None) -> None:
    """Start the embedded model, transcribe the bundled clip over HTTP, and stop."""
    clip = models.asset("sample/sample.flac")
    reference = models.asset("sample/sample.txt").read_text().strip()
    rendered = profiles.render("demo", profiles.Choices(port=port), count_gpus)
    with running(rendered):
        click.echo(f"Sending {clip.name} to {rendered.url}/v1/audio/transcriptions")
        began_s = time.perf_counter()
        answer = _post(rendered.url, clip)
        took_s = time.perf_counter() - began_s
    duration_s = len(audio.decode_audio(clip.read_bytes(), max_s=60).samples) / SAMPLE_RATE
    click.echo(f"\ntranscript:       {answer}")
    click.echo(f"reference:        {reference}")
    click.echo(f"word error rate:  {_word_error_rate(reference, answer):.1%}")
    click.echo(f"audio:            {duration_s:.1f} s, answered in {took_s:.2f} s")
    click.echo(f"real-time factor: {took_s / duration_s:.3f}")


def _post(url: str, clip: Path) -> str:
    with clip.open("rb") as file, direct_session() as session:
        answer = session.post(f"{url}/v1/audio/transcriptions", files={"file": file}, timeout=120)
    body: dict[str, Any] = answer.json()
    if not answer.ok:
        raise click.ClickException(body["error"]["message"])
    return str(body["text"])


def _word_error_rate(reference: str, hypothesis: str) -> float:
    try:
        import jiwer
    except ImportError:
        raise click.ClickException("Install the extra: pip install 'serve_app[demo]'") from None
    return float(jiwer.wer(reference, hypothesis))
