import logging
from collections.abc import Iterator

import pytest

from serve_app.deployments.logs import leave_out_calls_that_went_well, logger

CALL = {"serve_access_log": True}  # as Serve marks its line about a call


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    filters, level = list(logger.filters), logger.level
    yield
    logger.filters, logger.level = filters, level


def test_calls_that_went_well_are_left_out_and_what_else_there_is_to_tell_is_not(
    caplog: pytest.LogCaptureFixture,
) -> None:
    leave_out_calls_that_went_well()
    caplog.set_level(logging.INFO, logger.name)
    for message, extra in {
        "CALL transcribe_chunk OK 801.2ms": CALL,
        "CALL transcribe_chunk ERROR 3.0ms": CALL,
        "CALL prepare CANCELLED 3.0ms": CALL,
        "the model says OK now": {},
    }.items():
        logger.info(message, extra=extra)
    told = [record.message.split()[2] for record in caplog.records]
    assert told == ["ERROR", "CANCELLED", "says"]


def test_whoever_debugs_sees_every_call(caplog: pytest.LogCaptureFixture) -> None:
    leave_out_calls_that_went_well()
    caplog.set_level(logging.DEBUG, logger.name)
    logger.info("CALL prepare OK 3.0ms", extra=CALL)
    assert len(caplog.records) == 1
