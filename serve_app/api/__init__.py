"""The HTTP door: forms to requests, transcripts to responses, errors to JSON. Knows no Ray.

`application` wires it: each group of routes (`transcriptions`, `detection`, `models`, `health`,
`docs`) gives a list of `Endpoint`s, which hold the function that answers and all that /openapi.json
and /docs say about it.
"""

from serve_app.api.application import create_app
from serve_app.api.keys import Keys, read_keys
from serve_app.api.service import Service

__all__ = ["Keys", "Service", "create_app", "read_keys"]
