"""The HTTP door: forms to requests, transcripts to responses, errors to JSON. Knows no Ray."""

from serve_app.api.application import TranscriptionService, create_app

__all__ = ["TranscriptionService", "create_app"]
