"""The request is sound, and it cannot be done now, or was not done in time."""

from serve_app.errors.base import TranscriptionError


class UploadTimeoutError(TranscriptionError):
    """The body of a request did not arrive whole within the time allowed. Field: limit_s."""

    status = 408
    kind = "invalid_request_error"
    code = "upload_timeout"

    def __init__(self, limit_s: float) -> None:
        super().__init__(limit_s)

    def __str__(self) -> str:
        return f"The request's body did not arrive within {self.args[0]:g} seconds."


class QueueFullError(TranscriptionError):
    """All queues are full; the same request will succeed once they drain. Field: retry_after_s."""

    status = 429
    kind = "rate_limit_error"
    code = "queue_full"
    retry_after_s = 2.0  # where nobody measured how fast they drain

    def __init__(self, retry_after_s: float = retry_after_s) -> None:
        super().__init__(retry_after_s)
        self.retry_after_s = retry_after_s

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
