"""The request cannot be acted on, whoever takes it."""

from collections.abc import Sequence

from serve_app.errors.base import TranscriptionError


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


class AuthenticationError(InvalidRequestError):
    """The request carries no key, or one that is not known. It never says which."""

    status = 401
    code = "invalid_api_key"
    param = None

    def __init__(self) -> None:
        Exception.__init__(self)

    def __str__(self) -> str:
        return "Missing or incorrect API key. Send it as 'Authorization: Bearer KEY'."


class PermissionDeniedError(InvalidRequestError):
    """The key is known but may not do this. Field: the role that may."""

    status = 403
    code = "permission_denied"
    param = None

    def __init__(self, role: str) -> None:
        Exception.__init__(self, role)

    def __str__(self) -> str:
        return f"This needs a key of the role '{self.args[0]}'."


class ModelNotFoundError(InvalidRequestError):
    """A model that the running profile does not declare. Fields: model, declared models."""

    status = 404
    code = "model_not_found"
    param = "model"

    def __init__(self, model: str, declared: Sequence[str]) -> None:
        Exception.__init__(self, model, tuple(declared))

    def __str__(self) -> str:
        model, declared = self.args
        return (
            f"The model '{model}' is not served here. Available: {', '.join(declared)}. "
            f"To serve it, add '- {{name: NAME, source: {model}}}' under 'models:' in the profile, "
            "and a deployment 'WhisperTranscriber-NAME'."
        )


class ModelNotCachedError(InvalidRequestError):
    """There are no cached weights of this model on the Ingress's node. Field: model."""

    status = 404
    code = "model_not_cached"
    param = "model"

    def __init__(self, model: str) -> None:
        Exception.__init__(self, model)

    def __str__(self) -> str:
        return f"There are no cached weights of '{self.args[0]}' on the node that answers here."


class RouteNotFoundError(InvalidRequestError):
    """No such path. Fields: param (None), reason."""

    status = 404
    code = "not_found"


class MethodNotAllowedError(InvalidRequestError):
    """The path exists but not with this method. Fields: param (None), reason."""

    status = 405
    code = "method_not_allowed"


class FileTooLargeError(InvalidRequestError):
    """The body is larger than the app accepts. Field: the limit in bytes."""

    status = 413
    code = "file_too_large"
    param = "file"

    def __init__(self, limit_bytes: int) -> None:
        Exception.__init__(self, limit_bytes)

    def __str__(self) -> str:
        return f"The request is larger than the {self.args[0]} bytes that are accepted here."
