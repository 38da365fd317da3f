"""The declared models and where they stand: which have replicas, and starting one that has none.

Called by the Ingress. States come from Serve's controller and not from the replicas: a question to
a model without replicas would start one, and a busy replica would answer late.
"""

import asyncio
import math
from collections.abc import Mapping, Sequence
from typing import Any

from ray import serve
from ray.exceptions import RayError
from ray.serve.exceptions import RayServeException
from ray.serve.handle import DeploymentHandle
from ray.serve.schema import DeploymentStatusOverview, ServeStatus

from serve_app import models
from serve_app.contexts import start_apart
from serve_app.deployments.calls import call
from serve_app.domain import ModelCard, ModelInfo, ModelState
from serve_app.errors import ModelLoadingError, QueueFullError, ServiceUnavailableError
from serve_app.retries import Retries
from serve_app.settings import ModelSettings

STATUS_TIMEOUT_S = 5.0  # the controller answers in milliseconds, or is being restarted
FRESH_S = 10.0  # a model heard of so lately is not asked whether it is up
DRAIN_TIMEOUT_S = 0.5  # Serve refuses a call to a deployment that is gone at once
WAKE_TIMEOUT_S = 1.0  # a replica that is up answers at once; one that starts is not waited for

# States of a replica, and of a deployment, by Serve's names: its enums of strings are not public.
_SERVES = ("RUNNING", "PENDING_MIGRATION")
_STARTS = ("STARTING", "UPDATING", "RECOVERING")
_AS_INTENDED = "HEALTHY"
# A deployment without a replica is in one of these only where the autoscaler may take it to zero.
_AT_ZERO = (_AS_INTENDED, "UPSCALING", "DOWNSCALING")


class Catalog:
    """The models of one app."""

    def __init__(
        self,
        declared: Sequence[ModelSettings],
        transcribers: Mapping[str, DeploymentHandle[Any]],  # by model name
        retries: Retries,
    ) -> None:
        self._declared = declared
        self._retries = retries
        self._transcribers = transcribers
        # Calls that a model's first replica will answer; what they brought; and when a replica of
        # the model was last heard of, on the loop's clock.
        self._wakes: dict[str, asyncio.Future[None]] = {}
        self._infos: dict[str, ModelInfo] = {}
        self._heard_s: dict[str, float] = {}
        self._status: asyncio.Future[ServeStatus] | None = None

    async def cards(self) -> list[ModelCard]:
        """Return all models. Raises ServiceUnavailableError where Serve does not tell."""
        deployments = await self._deployments()
        return [self._card(model, deployments) for model in self._declared]

    async def card(self, name: str) -> ModelCard:
        """Return one model. Raises ModelNotFoundError, or ServiceUnavailableError as `cards`."""
        model = models.find_model(name, self._declared)
        return self._card(model, await self._deployments())

    async def load(self, name: str) -> ModelCard:
        """Start a replica where there is none. Raises the same as `card`.

        The call that wakes the model goes on after this returns, because Serve would take the
        replica away again if nothing waited for it.
        """
        model = models.find_model(name, self._declared)
        state = ModelState.READY if await self._comes_up(model.name) else ModelState.LOADING
        return models.make_card(model, self._declared, state)

    async def info(self, name: str, wait_s: float) -> ModelInfo:
        """Return what a model can do, once a replica of it is up.

        Args:
            name: of a declared model.
            wait_s: how long to wait for the first replica of one that has none.

        Raises:
            ModelLoadingError: it is not up yet; its replica goes on starting.
            ServiceUnavailableError: it cannot be started.
        """
        silent_s = asyncio.get_running_loop().time() - self._heard_s.get(name, -math.inf)
        is_known = silent_s <= FRESH_S or (name in self._infos and await self._comes_up(name))
        if not is_known:
            # One that is up needs a moment too.
            await self._wake(name, max(wait_s, WAKE_TIMEOUT_S))
        return self._infos[name]

    async def _comes_up(self, name: str) -> bool:
        """Wake a model and tell whether it is up: by its answer, or by Serve.

        Where all its replicas are busy, or the one that is asked hangs, it answers late.
        """
        try:
            await self._wake(name, WAKE_TIMEOUT_S)
        except ModelLoadingError:
            return await self.is_up(self._transcribers[name])
        return True

    def heard(self, name: str) -> None:
        """Note that a replica of the model has just answered."""
        self._heard_s[name] = asyncio.get_running_loop().time()

    async def _wake(self, name: str, wait_s: float) -> None:
        """Wait for an answer of the model's; see `info` and `load`."""
        wake = self._wakes.get(name)
        if wake is None or wake.done():
            wake = start_apart(self._ask(name))
            self._wakes[name] = wake
        await asyncio.wait({wake}, timeout=wait_s)
        if not wake.done():
            raise ModelLoadingError(name)
        wake.result()

    async def _ask(self, name: str) -> None:
        try:
            self._infos[name] = await self._retries.run(lambda: call(self._transcribers[name].info))
        except RayServeException:
            raise ServiceUnavailableError(f"{name} cannot be started now.") from None
        self.heard(name)

    async def count_replicas(self) -> dict[str, int]:
        """Return the running replicas by model. Raises the same as `cards`."""
        deployments = await self._deployments()
        return {name: _count(one, _SERVES) for name, one in deployments.items()}

    async def waiting_for(self) -> list[str]:
        """Name the app's deployments that cannot serve now, or the controller if it does not tell.

        A replica runs only after its decode at start. Models at zero replicas, or on their way up
        from there, are not waited for: their requests wake them.
        """
        try:
            deployments = await self._app_deployments()
        except ServiceUnavailableError:
            return ["ServeController"]
        return [
            name
            for name, deployment in deployments.items()
            if not _count(deployment, _SERVES) and deployment.status not in _AT_ZERO
        ]

    async def is_up(self, handle: DeploymentHandle[Any]) -> bool:
        """Tell whether a deployment of the app has a replica; no, where Serve does not tell."""
        try:
            deployments = await self._app_deployments()
        except ServiceUnavailableError:
            return False
        known = deployments.get(handle.deployment_name)
        return known is not None and _count(known, _SERVES) > 0

    def _card(
        self, model: ModelSettings, deployments: Mapping[str, DeploymentStatusOverview]
    ) -> ModelCard:
        state = _state(deployments[model.name])
        wake = self._wakes.get(model.name)
        if state is ModelState.COLD and wake is not None and not wake.done():
            state = ModelState.LOADING  # Serve's autoscaler has not looked yet
        return models.make_card(model, self._declared, state)

    async def present(self) -> list[str]:
        """Return the models that can still answer. Raises the same as `is_there`."""
        return [name for name, handle in self._transcribers.items() if await self.is_there(handle)]

    async def is_there(self, handle: DeploymentHandle[Any]) -> bool:
        """Tell whether a deployment can still answer: a new config may have taken it away.

        Raises:
            ServiceUnavailableError: Serve does not tell.
        """
        return handle.deployment_name in await self._app_deployments() or await _drains(handle)

    async def _deployments(self) -> dict[str, DeploymentStatusOverview]:
        """Return what the controller knows of each model's deployment."""
        known = await self._app_deployments()
        try:
            return {
                name: known[handle.deployment_name] for name, handle in self._transcribers.items()
            }
        except KeyError:  # the app is being deployed or deleted
            raise _unknown() from None

    async def _app_deployments(self) -> dict[str, DeploymentStatusOverview]:
        """Return what the controller knows of each deployment of this app, by its name."""
        # One question at a time: each holds a thread of the few that uploads need as well, and
        # while the controller is restarted none of them ends.
        if self._status is None or self._status.done():
            self._status = start_apart(asyncio.to_thread(serve.status))
        await asyncio.wait({self._status}, timeout=STATUS_TIMEOUT_S)
        if not self._status.done():
            raise _unknown()
        try:
            app_name = serve.get_replica_context().app_name
            return self._status.result().applications[app_name].deployments
        except (KeyError, RayError):
            raise _unknown() from None


async def _drains(handle: DeploymentHandle[Any]) -> bool:
    """Tell whether a deleted deployment has replicas yet; they finish what they have taken."""
    try:
        await asyncio.wait_for(call(handle.info), DRAIN_TIMEOUT_S)
    except ServiceUnavailableError:
        return False
    except (TimeoutError, QueueFullError):  # as long as it drains, Serve lets new calls wait
        pass
    return True


def _unknown() -> ServiceUnavailableError:
    return ServiceUnavailableError("The state of the deployments is not known now.")


def _state(deployment: DeploymentStatusOverview) -> ModelState:
    if _count(deployment, _SERVES):
        return ModelState.READY
    # Without a replica although that is as intended: scaled to zero.
    if deployment.status == _AS_INTENDED and not _count(deployment, _STARTS):
        return ModelState.COLD
    return ModelState.LOADING


def _count(deployment: DeploymentStatusOverview, states: Sequence[str]) -> int:
    return sum(n for state, n in deployment.replica_states.items() if state in states)
