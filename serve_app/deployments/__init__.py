"""The graph's deployments: thin shells over `pipeline`, `scheduler` and `api`. Ray begins here.

A request's way: Ingress -> AudioPreprocessor (once per slice of the file) -> WhisperTranscriber
(once per chunk) -> back to the Ingress, which joins the chunks in the order of the audio. A request
that asks for speakers goes to the SpeakerDiarizer at the same time.
"""

from serve_app.deployments.diarizer import SpeakerDiarizer
from serve_app.deployments.ingress import Ingress
from serve_app.deployments.preprocessor import AudioPreprocessor
from serve_app.deployments.transcriber import WhisperTranscriber

__all__ = ["AudioPreprocessor", "Ingress", "SpeakerDiarizer", "WhisperTranscriber"]
