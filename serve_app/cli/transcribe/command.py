"""The options of `serve-app transcribe`, and insanely-fast-whisper's names for them."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, get_args

import click

from serve_app import local
from serve_app.cli.transcribe.doors import Door, HttpDoor, LocalDoor
from serve_app.cli.transcribe.inputs import find_sources
from serve_app.cli.transcribe.outputs import make_folders, plan_outputs
from serve_app.cli.transcribe.running import Batch, run
from serve_app.cli.transcribe.wanted import Pair, read_formats, read_wanted
from serve_app.domain import ResponseFormat, Task
from serve_app.errors import TranscriptionError
from serve_app.models import SIZES
from serve_app.settings import COMMUNITY_PIPELINE, ComputeType

FORMAT_OPTION = "--response-format"
FORMATS = [one.value for one in ResponseFormat]
DEFAULT_MODELS = {Task.TRANSCRIBE: "turbo", Task.TRANSLATE: "large-v3"}  # turbo does not translate
_PUBLISHED = ("openai/whisper-", "distil-whisper/")  # ids of the same models for another engine

# Options that a model in this process needs, and a server has settled already.
_LOCAL_ONLY = (
    *("device", "device_id", "compute_type", "batch_size", "threads"),
    "diarization_model",
)


class FormatsCommand(click.Command):
    """A command whose `--response-format` takes several values: `srt vtt json`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Repeat the option before each of its values, as click wants it."""
        return super().parse_args(ctx, list(_repeat_formats(args)))


def _repeat_formats(args: Sequence[str]) -> list[str]:
    made: list[str] = []
    n_values: int | None = None  # of the option so far; None: not among its values
    for arg in args:
        values = arg.split(",")
        if n_values == 0 or (n_values and set(values) <= set(FORMATS)):
            for value in values:
                made += [FORMAT_OPTION, value] if n_values else [value]
                n_values += 1
        else:
            made.append(arg)
            n_values = 0 if arg in (FORMAT_OPTION, "-f") else None
    return made


_OPTIONS: tuple[Callable[..., Any], ...] = (
    click.option("--url", help="Ask this server instead of a model in this process."),
    click.option("--api-key", envvar="API_KEY", help="The server's key (or $API_KEY)."),
    click.option(
        *("--model", "-m", "--model-name", "model"),
        help="A size, Hugging Face id, directory or `embedded`. In process: turbo; "
        "with `--task translate` large-v3.",
    ),
    click.option("--language", "-l", help="Code or name; absent: detect."),
    click.option("--task", type=click.Choice([t.value for t in Task]), default="transcribe"),
    click.option(
        *(FORMAT_OPTION, "-f", "formats"),
        multiple=True,
        default=("text",),
        metavar="FORMAT",
        help=f"One or several of {', '.join(FORMATS)}.",
    ),
    click.option(
        *("--output-dir", "-o"),
        type=click.Path(file_okay=False, writable=True, path_type=Path),
        help="Write files there; absent: print.",
    ),
    click.option("--resume", is_flag=True, help="Skip files whose transcripts are there."),
    click.option(
        "--word-timestamps", is_flag=True, help="Times of words, where a format has them."
    ),
    click.option("--prompt", help="Text that steers spelling and style."),
    click.option("--beam-size", help="Beams at temperature 0."),
    click.option("--max-new-tokens", help="Most tokens of one chunk."),
    click.option("--vad/--no-vad", default=None, help="Leave out what is not speech: the default."),
    click.option("--diarize", is_flag=True, help="Tell the speakers apart."),
    click.option("--num-speakers", help="Exactly so many."),
    click.option("--min-speakers", help="At least so many."),
    click.option("--max-speakers", help="At most so many."),
    click.option(
        *("--field", "fields"),
        multiple=True,
        metavar="NAME=VALUE",
        help="Any other field of the HTTP API, such as temperature=0.2. Repeatable.",
    ),
    click.option("--batch-size", type=click.IntRange(1), help="Chunks at a time, at most."),
    click.option(
        "--compute-type",
        type=click.Choice(get_args(ComputeType)),
        help="Of the model's numbers; absent: what suits the device.",
    ),
    click.option("--device", type=click.Choice(["auto", "cpu", "cuda"])),
    click.option("--threads", type=click.IntRange(1), help="On the CPU; absent: every core."),
    click.option(
        "--jobs", type=click.IntRange(1, 64), default=local.N_FILES, help="Files at a time."
    ),
    # insanely-fast-whisper's.
    click.option("--file-name", help="The same as naming the file."),
    click.option(
        "--transcript-path",
        type=click.Path(dir_okay=False, writable=True, path_type=Path),
        help="Write one file's chunks there, in insanely-fast-whisper's JSON.",
    ),
    click.option("--timestamp", type=click.Choice(["chunk", "word"]), help="Of those chunks."),
    click.option("--device-id", help="A GPU by its number."),
    click.option("--hf-token", envvar="HF_TOKEN", help="For gated models (or $HF_TOKEN)."),
    click.option(
        *("--diarization-model", "--diarization_model", "diarization_model"),
        help="Tell the speakers apart by this pyannote.audio pipeline: a Hugging Face id, "
        f"directory or `embedded`. With --diarize alone: {COMMUNITY_PIPELINE}.",
    ),
)


def _with_options(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


@click.command(cls=FormatsCommand)
@click.argument("files", nargs=-1)
@_with_options
def transcribe(**given: Any) -> None:
    """Transcribe FILES: paths, patterns, or - for the standard input.

    In this process, or by a server (--url). Exit status: 0 all files were transcribed, 1 some were
    not, 2 the options cannot be used, 130 interrupted; what is done by then is kept.
    """
    if given["hf_token"]:
        os.environ["HF_TOKEN"] = given["hf_token"]
    batch, warnings = _read_batch(given)
    open_door = _door_opener(given, has_turns=batch.wanted.leading.needs_turns)
    make_folders(path for source in batch.sources for path in batch.paths_of(source))
    for warning in warnings:
        click.echo(f"Note: {warning}", err=True)
    raise SystemExit(run(batch, open_door))


def _read_batch(given: dict[str, Any]) -> tuple[Batch, list[str]]:
    """Return the files and what they become. Raises click.UsageError."""
    typed = [*given["files"], *([given["file_name"]] if given["file_name"] else [])]
    sources = find_sources(typed)
    formats = read_formats(given["formats"])
    folder, chunks_path = given["output_dir"], given["transcript_path"]
    if chunks_path and len(sources) > 1:
        raise click.UsageError("--transcript-path takes one file; for several: --output-dir.")
    if len(formats) > 1 and not folder:
        raise click.UsageError("Several formats become files: give an --output-dir.")
    if given["resume"] and not (folder or chunks_path):
        raise click.UsageError("--resume looks for files: give an --output-dir.")
    outputs = plan_outputs(sources, folder, formats) if folder else {}
    if chunks_path:
        formats = [*(formats if folder else ()), ResponseFormat.VERBOSE_JSON]
    wanted, warnings = read_wanted(Task(given["task"]), _pairs(given), list(dict.fromkeys(formats)))
    batch = Batch(
        sources=sources,
        wanted=wanted,
        outputs=outputs,
        chunks_path=chunks_path,
        words=given["timestamp"] == "word",
        resume=given["resume"],
        n_jobs=given["jobs"],
    )
    return batch, warnings


def _pairs(given: dict[str, Any]) -> list[Pair]:
    """Return the options as the fields of a form."""
    names = (
        *("language", "prompt", "beam_size", "max_new_tokens"),
        *("num_speakers", "min_speakers", "max_speakers"),
    )
    pairs = [(name, given[name]) for name in names if given[name] is not None]
    if given["url"] and given["model"]:
        pairs.append(("model", given["model"]))
    if given["vad"] is not None:
        pairs.append(("vad_filter", str(given["vad"]).lower()))
    if given["diarize"] or given["diarization_model"]:
        pairs.append(("diarize", "true"))
    if given["word_timestamps"] or given["timestamp"] == "word":
        pairs.append(("timestamp_granularities[]", "segment,word"))
    for field in given["fields"]:
        name, parted, value = field.partition("=")
        if not parted:
            raise click.UsageError(f"--field {field}: expected NAME=VALUE.")
        pairs.append((name, value))
    return pairs


def _door_opener(given: dict[str, Any], *, has_turns: bool) -> Callable[[], Door]:
    """Return what loads the model, or knows the server. Raises click.UsageError."""
    if given["url"]:
        if local_only := [name for name in _LOCAL_ONLY if given[name] is not None]:
            name = local_only[0].replace("_", "-")
            raise click.UsageError(
                f"--{name} is for a model in this process; --url names a server."
            )
        return lambda: HttpDoor(given["url"], given["api_key"])
    if given["device_id"] is not None:
        if not given["device_id"].isdigit():
            raise click.UsageError(f"--device-id {given['device_id']}: expected a GPU's number.")
        os.environ["CUDA_VISIBLE_DEVICES"] = given["device_id"]  # before CUDA is loaded
        given = {**given, "device": given["device"] or "cuda"}
    diarization = given["diarization_model"] or COMMUNITY_PIPELINE if has_turns else None
    return lambda: LocalDoor(_load(given, diarization))


def _load(given: dict[str, Any], diarization: str | None) -> local.Whisper:
    """Load the models; say what was chosen. Raises click.ClickException."""
    model = given["model"] or DEFAULT_MODELS[Task(given["task"])]
    for publisher in _PUBLISHED:
        if model.removeprefix(publisher) in SIZES:
            model = model.removeprefix(publisher)
    try:
        whisper = local.load(
            model,
            device=given["device"] or "auto",
            compute_type=given["compute_type"] or "auto",
            batch_size=given["batch_size"],
            n_threads=given["threads"] or 0,
        )
        if diarization:
            whisper.load_diarization(diarization)
    except TranscriptionError as error:
        raise click.ClickException(error.message) from None
    placement = whisper.placement
    told = (
        f"{model} on {placement.device}, {placement.compute_type}, "
        f"batches of {whisper.batch_size} at most"
    )
    click.echo(f"{told}; speakers by {diarization}" if diarization else told, err=True)
    return whisper
