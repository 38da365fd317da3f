"""How the Ingress finds a diarizer that starts, or is full. Only the calls into Ray are planted."""

import asyncio
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest

from serve_app.deployments import diarizer
from serve_app.deployments.diarizer import SpeakerFinder
from serve_app.domain import ANY_SPEAKERS, Diarization
from serve_app.errors import ServiceUnavailableError
from serve_app.removals import Removals
from serve_app.settings import AppSettings, DiarizationSettings

FOUND = Diarization(turns=(), exclusive=(), duration_s=1.0)
SETTINGS = AppSettings(diarization=DiarizationSettings(), cold_start_wait_s=0)


class Full:
    """A replica that does not answer `info`, as one that starts or is full."""

    def __init__(self, *, is_up: bool) -> None:
        self.up = self.there = is_up
        self.room = asyncio.Event()

    async def info(self, _: Any) -> None:
        await asyncio.Event().wait()

    async def diarize(self, *_: Any, **__: Any) -> Diarization:
        await self.room.wait()
        return FOUND

    async def is_up(self, _: Any) -> bool:
        return self.up

    async def is_there(self, _: Any) -> bool:
        return self.there


def finder_of(replica: Full, monkeypatch: pytest.MonkeyPatch) -> SpeakerFinder:
    monkeypatch.setattr(diarizer, "call", replica.info)
    monkeypatch.setattr(diarizer, "ask", replica.diarize)
    monkeypatch.setattr(diarizer, "_ANSWER_S", 0.05)
    monkeypatch.setattr(diarizer, "Removals", partial(Removals, look_every_s=0.05))
    handle: Any = SimpleNamespace(info=None, deployment_name="SpeakerDiarizer")
    catalog: Any = replica
    return SpeakerFinder(handle, SETTINGS, lambda: None, catalog)


async def test_where_no_diarizer_answers_it_is_said_to_be_starting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    finder = finder_of(Full(is_up=False), monkeypatch)
    with pytest.raises(ServiceUnavailableError, match="starting"):
        await finder.find_turns(b"", ANY_SPEAKERS)


async def test_where_the_diarizer_is_full_a_file_waits_for_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    replica = Full(is_up=True)
    finder = finder_of(replica, monkeypatch)
    finding = asyncio.ensure_future(finder.find_turns(b"", ANY_SPEAKERS))
    await asyncio.sleep(0.2)
    assert not finding.done()
    replica.room.set()
    assert await finding == FOUND


async def test_a_file_that_waits_for_a_diarizer_that_is_taken_away_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    replica = Full(is_up=True)
    finder = finder_of(replica, monkeypatch)
    finding = asyncio.ensure_future(finder.find_turns(b"", ANY_SPEAKERS))
    await asyncio.sleep(0.3)
    assert not finding.done()
    replica.there = False
    with pytest.raises(ServiceUnavailableError, match="'SpeakerDiarizer' is no longer served"):
        await asyncio.wait_for(finding, 5)
