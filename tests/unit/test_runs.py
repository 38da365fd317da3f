"""Whether an Ingress has room, by the budgets of its models."""

from contextlib import ExitStack
from typing import Any

import pytest

from serve_app.deployments.runs import Runs
from serve_app.errors import QueueFullError
from serve_app.settings import EMBEDDED, AppSettings, ModelSettings

UNUSED: Any = None


def test_a_request_is_refused_unread_only_where_no_model_has_a_place() -> None:
    settings = AppSettings(
        models=tuple(
            ModelSettings(name=name, source=EMBEDDED, max_queued_chunks=n)
            for name, n in (("small", 1), ("large", 2))
        )
    )
    runs = Runs(settings, UNUSED, UNUSED, UNUSED, UNUSED)
    runs.check_room()
    with ExitStack() as held:
        held.enter_context(runs.admit("small"))
        runs.check_room()
        held.enter_context(runs.admit("large"))
        runs.check_room()
        held.enter_context(runs.admit("large"))
        with pytest.raises(QueueFullError):
            runs.check_room()
    runs.check_room()
