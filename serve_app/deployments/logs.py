"""What the log of a replica leaves out."""

import logging

logger = logging.getLogger("ray.serve")


def leave_out_calls_that_went_well() -> None:
    """Drop Serve's lines that a call was answered: one for each chunk and slice, told by metrics.

    Each would be written twice, to a file and to stderr, from which Ray sends it on. Calls that
    fail or are cancelled keep their lines, and with `log_level: DEBUG` all do.
    """
    logger.addFilter(_is_kept)


def _is_kept(record: logging.LogRecord) -> bool:
    went_well = getattr(record, "serve_access_log", False) and " OK " in record.getMessage()
    return not went_well or logger.isEnabledFor(logging.DEBUG)
