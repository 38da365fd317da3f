"""espeak-ng, flite and what they need -> a folder, for a machine on which neither is installed."""

import re
import shutil
import subprocess
from pathlib import Path

import click

from benchmarks.embedded_models.whisper.engines import espeak, flite
from benchmarks.embedded_models.whisper.voices import FLITE_PITCH_HZ

SYSTEM = Path("/usr/lib/x86_64-linux-gnu")
# Of espeak-ng's data what English needs; the rest is other languages.
ESPEAK_DATA = ("en_dict", "intonations", "phondata*", "phonindex", "phontab", "lang/gmw/en*")
LIBC = re.compile(r"/(ld-linux|lib(c|m|dl|rt|pthread)\.so)")


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
def gather(folder: Path) -> None:
    """Copy both engines, what they need and their English into FOLDER.

    Processes that use it need it in LD_LIBRARY_PATH as well.
    """
    folder.mkdir(parents=True, exist_ok=True)
    names = [espeak.LIBRARY, flite.LIBRARY, *flite.PARTS]
    names += map(flite.voice_library, FLITE_PITCH_HZ)
    for name in names:
        needed = subprocess.run(["ldd", SYSTEM / name], capture_output=True, text=True, check=True)
        found = re.findall(r"=> (/\S+)", needed.stdout)
        for path in [str(SYSTEM / name), *(p for p in found if not LIBC.search(p))]:
            shutil.copy(path, folder / Path(path).name)
    source, target = SYSTEM / "espeak-ng-data", folder / "espeak-ng-data"
    for pattern in (*ESPEAK_DATA, "voices/!v/*"):
        for path in source.glob(pattern):
            (target / path.relative_to(source)).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target / path.relative_to(source))
    n_bytes = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    click.echo(f"{folder}: {n_bytes / 2**20:.0f} MiB")


if __name__ == "__main__":
    gather()
