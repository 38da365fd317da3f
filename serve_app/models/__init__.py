"""Model names and files: which declared model a request means, and where its files lie.

    names   a name -> a declared model, and what a caller sees of it
    files   a source -> a directory, which may have to be downloaded
    cache   what the Hugging Face cache of this machine has, and deleting it

Each file imports only those above it.
"""

from serve_app.models.cache import CachedModel, cached_models, delete_cached
from serve_app.models.files import REQUIRED_FILES, asset, locate_model
from serve_app.models.names import (
    DEFAULT_ALIASES,
    SIZES,
    describe,
    find_model,
    is_path,
    make_card,
    usual_names,
)

__all__ = [
    "DEFAULT_ALIASES",
    "REQUIRED_FILES",
    "SIZES",
    "CachedModel",
    "asset",
    "cached_models",
    "delete_cached",
    "describe",
    "find_model",
    "is_path",
    "locate_model",
    "make_card",
    "usual_names",
]
