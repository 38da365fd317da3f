"""`serve-app transcribe`: files in, transcripts out, in this process or by a server.

    inputs     what was typed -> the files that are meant
    outputs    which files a transcript becomes, written whole or not at all
    wanted     options -> what is asked for, by the table that reads HTTP's fields
    doors      who transcribes: a model in this process, or a server
    reporting  a bar on a terminal, lines elsewhere
    running    all files, several at a time, and the exit code
    command    the options

Each file imports only those above it.
"""

from serve_app.cli.transcribe.command import transcribe

__all__ = ["transcribe"]
