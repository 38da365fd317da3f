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

from serve_app.errors.audio import (
    AudioTooLongError,
    AudioTooShortError,
    DecodeTimeoutError,
    EmptyFileError,
    InvalidAudioError,
    NoAudioStreamError,
    TooLongToDiarizeError,
    UnprocessableAudioError,
    UnreadableFileError,
)
from serve_app.errors.base import TranscriptionError, all_errors
from serve_app.errors.requests import (
    AuthenticationError,
    FileTooLargeError,
    InvalidMultipartError,
    InvalidRequestError,
    MethodNotAllowedError,
    MissingFieldError,
    ModelNotCachedError,
    ModelNotFoundError,
    PermissionDeniedError,
    RouteNotFoundError,
)
from serve_app.errors.service import (
    DeadlineExceededError,
    ModelLoadError,
    ModelLoadingError,
    OutOfDeviceMemoryError,
    QueueFullError,
    ReplicaLostError,
    ServiceUnavailableError,
    UploadTimeoutError,
)

__all__ = [
    "AudioTooLongError",
    "AudioTooShortError",
    "AuthenticationError",
    "DeadlineExceededError",
    "DecodeTimeoutError",
    "EmptyFileError",
    "FileTooLargeError",
    "InvalidAudioError",
    "InvalidMultipartError",
    "InvalidRequestError",
    "MethodNotAllowedError",
    "MissingFieldError",
    "ModelLoadError",
    "ModelLoadingError",
    "ModelNotCachedError",
    "ModelNotFoundError",
    "NoAudioStreamError",
    "OutOfDeviceMemoryError",
    "PermissionDeniedError",
    "QueueFullError",
    "ReplicaLostError",
    "RouteNotFoundError",
    "ServiceUnavailableError",
    "TooLongToDiarizeError",
    "TranscriptionError",
    "UnprocessableAudioError",
    "UnreadableFileError",
    "UploadTimeoutError",
    "all_errors",
]
