import pickle

import pytest

from serve_app import errors

EXAMPLES = [
    errors.TranscriptionError(),
    errors.InvalidRequestError("temperature", "temperature must be a number."),
    errors.MissingFieldError("file", "There is no file."),
    errors.InvalidMultipartError(None, "The form cannot be parsed."),
    errors.ModelNotFoundError("base", ["demo", "turbo"]),
    errors.ModelNotCachedError("base"),
    errors.AuthenticationError(),
    errors.PermissionDeniedError("admin"),
    errors.FileTooLargeError(1000),
    errors.RouteNotFoundError(None, "Unknown request URL."),
    errors.MethodNotAllowedError(None, "Not allowed."),
    errors.InvalidAudioError(),
    errors.UnreadableFileError("/clip.mp3", "No such file or directory"),
    errors.EmptyFileError(),
    errors.NoAudioStreamError(),
    errors.AudioTooShortError(),
    errors.AudioTooLongError(3600.0),
    errors.DecodeTimeoutError(30.0),
    errors.UnprocessableAudioError(),
    errors.TooLongToDiarizeError(7200.0),
    errors.UploadTimeoutError(30.0),
    errors.QueueFullError(),
    errors.ServiceUnavailableError("Starting."),
    errors.ModelLoadingError("turbo"),
    errors.ReplicaLostError("It died."),
    errors.DeadlineExceededError(60.0),
    errors.OutOfDeviceMemoryError("CUDA"),
    errors.ModelLoadError("some/model", "it is not there"),
]


def test_every_error_has_an_example_here() -> None:
    assert {type(e) for e in EXAMPLES} == set(errors.all_errors())


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda e: type(e).__name__)
def test_an_error_survives_a_process_border(error: errors.TranscriptionError) -> None:
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert (str(copy), copy.status, copy.kind, copy.code, copy.param) == (
        *(str(error), error.status, error.kind, error.code, error.param),
    )


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda e: type(e).__name__)
def test_an_error_says_something_and_owns_a_status(error: errors.TranscriptionError) -> None:
    assert str(error)
    assert 400 <= error.status < 600


def test_the_tree_in_the_docstring_names_every_class_with_its_status_and_code() -> None:
    for kind in errors.all_errors():
        line = next(ln for ln in (errors.__doc__ or "").splitlines() if f"{kind.__name__} " in ln)
        assert f"{kind.status} {kind.code} " in line + " "
