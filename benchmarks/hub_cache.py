"""The embedded demo model as Hugging Face's cache has it, where other servers look for models."""

import shutil
from pathlib import Path

from serve_app.models import locate_model
from serve_app.settings import EMBEDDED

MODEL_ID = "serve-app/whisper-demo-en"
_REVISION = "0" * 40  # of no commit: there is no such repository
# By these the HalkSpeech and speaches servers know that a model is Whisper for CTranslate2.
_CARD = """---
language: en
library_name: ctranslate2
pipeline_tag: automatic-speech-recognition
tags:
- automatic-speech-recognition
- ctranslate2
---
"""


def write_hub_cache(directory: Path) -> Path:
    """Write the model into a cache, to be named by HF_HUB_CACHE; return where its files lie."""
    repository = directory / f"models--{MODEL_ID.replace('/', '--')}"
    snapshot = repository / "snapshots" / _REVISION
    shutil.copytree(locate_model(EMBEDDED), snapshot, dirs_exist_ok=True)
    card = snapshot / "README.md"
    card.write_text(_CARD + card.read_text().removeprefix(_CARD))
    reference = repository / "refs" / "main"
    reference.parent.mkdir(exist_ok=True)
    reference.write_text(_REVISION)
    return snapshot
