"""The upload is not audio that is accepted here."""

from serve_app.errors.requests import InvalidRequestError


class InvalidAudioError(InvalidRequestError):
    """The upload is not audio that can be decoded. Field: reason (a default is given)."""

    code = "invalid_audio"
    param = "file"

    def __init__(
        self, reason: str = "The audio file could not be decoded or its format is not supported."
    ) -> None:
        Exception.__init__(self, reason)

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


class UnprocessableAudioError(InvalidAudioError):
    """Two processes died while they decoded the upload; no third one is given to it."""

    code = "unprocessable_audio"

    def __init__(
        self, reason: str = "The audio file cannot be processed: decoding it fails every time."
    ) -> None:
        super().__init__(reason)
