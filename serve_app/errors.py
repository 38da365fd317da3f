"""Every error a caller can get, as one tree. Each class owns its HTTP status and its code.

TranscriptionError                 500 internal_error     something broke that should not have
├── InvalidRequestError            400 invalid_value      a field's value is not acceptable
│   ├── MissingFieldError          400 missing_required_parameter
│   ├── InvalidMultipartError      400 invalid_multipart  the form cannot be parsed
│   ├── AuthenticationError        401 invalid_api_key    no key, or not one of ours
│   ├── PermissionDeniedError      403 permission_denied  a key without the right for this
│   ├── ModelNotFoundError         404 model_not_found    the profile does not declare this model
│   ├── ModelNotCachedError        404 model_not_cached   no weights of this model to delete
│   ├── RouteNotFoundError         404 not_found          no such path
│   ├── MethodNotAllowedError      405 method_not_allowed the path exists, the method does not
│   ├── FileTooLargeError          413 file_too_large     the body is larger than the app accepts
│   └── InvalidAudioError          400 invalid_audio      the bytes do not decode to audio
│       ├── UnreadableFileError    400 unreadable_file    a path that a Python caller gave
│       ├── EmptyFileError         400 empty_file         0 bytes were sent
│       ├── NoAudioStreamError     400 no_audio_stream    a container without an audio track
│       ├── AudioTooShortError     400 audio_too_short    under 0.1 s of samples
│       ├── AudioTooLongError      413 audio_too_long     more audio than the app accepts
│       ├── TooLongToDiarizeError  400 too_long_to_diarize more than speakers are told apart in
│       ├── DecodeTimeoutError     400 decode_timeout     decoding takes longer than it may
│       └── UnprocessableAudioError 400 unprocessable_audio every process that decodes it dies
├── UploadTimeoutError             408 upload_timeout     the body did not arrive in time
├── QueueFullError                 429 queue_full         at capacity now; try again soon
├── ServiceUnavailableError        503 service_unavailable no replica can take the work now
│   ├── ModelLoadingError          503 model_loading      the model's first replica is starting
│   └── ReplicaLostError           503 replica_lost       the replica that had the work is gone
├── DeadlineExceededError          504 deadline_exceeded  not done within the request's time
├── OutOfDeviceMemoryError         500 out_of_memory      not even one chunk fits on the device
└── ModelLoadError                 500 model_load_failed  raised at start, never per request

An error crosses process borders by pickling: every constructor passes its fields to
`super().__init__`, and `__str__` builds the sentence, so `pickle.loads(pickle.dumps(e))` is equal.
The wire form (`{"error": {...}}`) is made in `api.errors`.
"""

from collections.abc import Sequence
from typing import ClassVar


class TranscriptionError(Exception):
    """Base of all errors here; raised itself only for an unexpected failure."""

    status: ClassVar[int] = 500
    kind: ClassVar[str] = "server_error"  # the wire's `type`
    code: ClassVar[str] = "internal_error"
    retry_after_s: ClassVar[float | None] = None  # None: the same request would fail again

    @property
    def param(self) -> str | None:
        """Name the request field at fault, where there is one."""
        return None

    @property
    def message(self) -> str:
        """Return the sentence for the user.

        The text of an error that a handle's caller catches is Ray's: this and a traceback.
        """
        return str(self._raised)

    @property
    def _raised(self) -> Exception:
        """Return what was raised; Ray gives a handle's caller a wrap of it, of the same kind."""
        return getattr(self, "cause", self)

    def __str__(self) -> str:
        return "The server had an error while processing the request."


class InvalidRequestError(TranscriptionError):
    """A request field holds something that cannot be acted on. Fields: param, reason."""

    status = 400
    kind = "invalid_request_error"
    code = "invalid_value"

    def __init__(self, param: str | None, reason: str) -> None:
        super().__init__(param, reason)

    @property
    def param(self) -> str | None:
        """Name the request field at fault."""
        return self._raised.args[0]  # type: ignore[no-any-return]

    def __str__(self) -> str:
        return str(self.args[1])


class MissingFieldError(InvalidRequestError):
    """A required field was not sent, or `file` was sent as text. Fields: param, reason."""

    code = "missing_required_parameter"


class InvalidMultipartError(InvalidRequestError):
    """The body is not the form its Content-Type promises. Fields: param (None), reason."""

    code = "invalid_multipart"


class ModelNotFoundError(InvalidRequestError):
    """A model that the running profile does not declare. Fields: model, declared models."""

    status = 404
    code = "model_not_found"

    def __init__(self, model: str, declared: Sequence[str]) -> None:
        Exception.__init__(self, model, tuple(declared))

    @property
    def param(self) -> str:
        """Always `model`."""
        return "model"

    def __str__(self) -> str:
        model, declared = self.args
        return (
            f"The model '{model}' is not served here. Available: {', '.join(declared)}. "
            f"To serve it, add '- source: {model}' under 'models:' in the profile."
        )


class ModelNotCachedError(InvalidRequestError):
    """There are no cached weights of this model on the Ingress's node. Field: model."""

    status = 404
    code = "model_not_cached"

    def __init__(self, model: str) -> None:
        Exception.__init__(self, model)

    @property
    def param(self) -> str:
        """Always `model`."""
        return "model"

    def __str__(self) -> str:
        return f"There are no cached weights of '{self.args[0]}' on the node that answers here."


class AuthenticationError(InvalidRequestError):
    """The request carries no key, or one that is not known. It never says which."""

    status = 401
    code = "invalid_api_key"

    def __init__(self) -> None:
        Exception.__init__(self)

    @property
    def param(self) -> None:
        """No field is at fault."""
        return None

    def __str__(self) -> str:
        return "Missing or incorrect API key. Send it as 'Authorization: Bearer KEY'."


class PermissionDeniedError(InvalidRequestError):
    """The key is known but may not do this. Field: the role that may."""

    status = 403
    code = "permission_denied"

    def __init__(self, role: str) -> None:
        Exception.__init__(self, role)

    @property
    def param(self) -> None:
        """No field is at fault."""
        return None

    def __str__(self) -> str:
        return f"This needs a key of the role '{self.args[0]}'."


class FileTooLargeError(InvalidRequestError):
    """The body is larger than the app accepts. Field: the limit in bytes."""

    status = 413
    code = "file_too_large"

    def __init__(self, limit_bytes: int) -> None:
        Exception.__init__(self, limit_bytes)

    @property
    def param(self) -> str:
        """Always `file`."""
        return "file"

    def __str__(self) -> str:
        return f"The request is larger than the {self.args[0]} bytes that are accepted here."


class RouteNotFoundError(InvalidRequestError):
    """No such path. Fields: param (None), reason."""

    status = 404
    code = "not_found"


class MethodNotAllowedError(InvalidRequestError):
    """The path exists but not with this method. Fields: param (None), reason."""

    status = 405
    code = "method_not_allowed"


class InvalidAudioError(InvalidRequestError):
    """The upload is not audio that can be decoded. Field: reason (a default is given)."""

    code = "invalid_audio"

    def __init__(
        self, reason: str = "The audio file could not be decoded or its format is not supported."
    ) -> None:
        Exception.__init__(self, reason)

    @property
    def param(self) -> str:
        """Always `file`."""
        return "file"

    def __str__(self) -> str:
        return str(self.args[0])


class UnreadableFileError(InvalidAudioError):
    """A path cannot be read where the audio is decoded. Fields: path, reason."""

    code = "unreadable_file"

    def __init__(self, path: str, reason: str) -> None:
        Exception.__init__(self, path, reason)

    def __str__(self) -> str:
        path, reason = self.args
        return f"The file {path!r} cannot be read where the audio is decoded: {reason}."


class EmptyFileError(InvalidAudioError):
    """The upload has 0 bytes."""

    code = "empty_file"

    def __init__(self, reason: str = "The uploaded file is empty (0 bytes).") -> None:
        super().__init__(reason)


class NoAudioStreamError(InvalidAudioError):
    """The container holds no audio track (a silent video, a picture)."""

    code = "no_audio_stream"

    def __init__(self, reason: str = "The file holds no audio track.") -> None:
        super().__init__(reason)


class AudioTooShortError(InvalidAudioError):
    """The upload decodes to less than the shortest audio accepted."""

    code = "audio_too_short"

    def __init__(
        self, reason: str = "Audio file is too short. Minimum audio length is 0.1 seconds."
    ) -> None:
        super().__init__(reason)


class UnprocessableAudioError(InvalidAudioError):
    """Two processes died while they decoded the upload; no third one is given to it."""

    code = "unprocessable_audio"

    def __init__(
        self, reason: str = "The audio file cannot be processed: decoding it fails every time."
    ) -> None:
        super().__init__(reason)


class UploadTimeoutError(TranscriptionError):
    """The body of a request did not arrive whole within the time allowed. Field: limit_s."""

    status = 408
    kind = "invalid_request_error"
    code = "upload_timeout"

    def __init__(self, limit_s: float) -> None:
        super().__init__(limit_s)

    def __str__(self) -> str:
        return f"The request's body did not arrive within {self.args[0]:g} seconds."


class AudioTooLongError(InvalidAudioError):
    """The file's audio is longer than the app accepts. Field: the limit in seconds."""

    status = 413
    code = "audio_too_long"

    def __init__(self, limit_s: float) -> None:
        Exception.__init__(self, limit_s)

    def __str__(self) -> str:
        return f"The audio is longer than the {self.args[0]:g} seconds that are accepted here."


class TooLongToDiarizeError(InvalidAudioError):
    """The audio is longer than can be diarized in one piece. Field: the limit in seconds."""

    code = "too_long_to_diarize"

    def __init__(self, limit_s: float) -> None:
        Exception.__init__(self, limit_s)

    def __str__(self) -> str:
        return (
            f"Speakers can be told apart here in up to {self.args[0]:g} s of audio, and this file "
            "is longer. Without speakers any length is transcribed."
        )


class DecodeTimeoutError(InvalidAudioError):
    """A part of the file takes too long to decode. Field: the limit in seconds."""

    code = "decode_timeout"

    def __init__(self, limit_s: float) -> None:
        Exception.__init__(self, limit_s)

    def __str__(self) -> str:
        return f"A part of the audio could not be decoded within {self.args[0]:g} seconds."


class QueueFullError(TranscriptionError):
    """All queues are full; the same request will succeed once they drain."""

    status = 429
    kind = "rate_limit_error"
    code = "queue_full"
    retry_after_s = 2.0

    def __str__(self) -> str:
        return "The server is at capacity. Retry after the time in the Retry-After header."


class ServiceUnavailableError(TranscriptionError):
    """No replica can take the work now (starting, restarting, shutting down). Field: reason."""

    status = 503
    code = "service_unavailable"
    retry_after_s = 5.0

    def __init__(self, reason: str) -> None:
        super().__init__(reason)

    def __str__(self) -> str:
        return str(self.args[0])


class ModelLoadingError(ServiceUnavailableError):
    """A declared model has no replica that is up yet; one is starting. Field: model."""

    code = "model_loading"
    retry_after_s = 10.0

    def __str__(self) -> str:
        return f"The model '{self.args[0]}' is being loaded. Try again in a moment."


class ReplicaLostError(ServiceUnavailableError):
    """The replica that had the work died, cannot be reached or does not answer.

    Callers inside the graph send the work again; a client sees it only where that failed too.
    Fields: reason, died (else it may still be alive).
    """

    code = "replica_lost"

    def __init__(self, reason: str, died: bool = False) -> None:
        Exception.__init__(self, reason, died)

    @property
    def died(self) -> bool:
        """Tell whether the replica is known to be dead."""
        return bool(self.args[1])


class DeadlineExceededError(TranscriptionError):
    """The request was not done within the time that the profile allows. Field: limit_s."""

    status = 504
    code = "deadline_exceeded"

    def __init__(self, limit_s: float) -> None:
        super().__init__(limit_s)

    def __str__(self) -> str:
        return (
            f"The request was not done within {self.args[0]:g} seconds. "
            "Send a shorter file, or send it when there is less load."
        )


class OutOfDeviceMemoryError(TranscriptionError):
    """One chunk alone does not fit into the device's free memory. Field: detail."""

    code = "out_of_memory"

    def __init__(self, detail: str) -> None:
        super().__init__(detail)

    def __str__(self) -> str:
        return f"The device ran out of memory on one chunk: {self.args[0]}"


class ModelLoadError(TranscriptionError):
    """A model cannot be found, downloaded or loaded. Fields: source, reason."""

    code = "model_load_failed"

    def __init__(self, source: str, reason: str) -> None:
        super().__init__(source, reason)

    def __str__(self) -> str:
        source, reason = self.args
        return f"The model '{source}' cannot be loaded: {reason}"
