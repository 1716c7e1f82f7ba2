"""An OpenFeature provider behind one thread: the only module that imports the SDK, and only when it is configured.

Rules of this file:

1. Everything that a provider does, its import included, happens in its own thread, one thing at a time. Control's loop
   only waits, with a deadline; who hangs is left alone and asked nothing more.
2. The thread is a daemon: a provider that never comes back cannot keep the process from ending.
3. Nothing is raised to the loop but :class:`ProviderError`, with a finished sentence.
4. What a provider says is handed on without the secrets that it was given: viewers read it, and so does the log.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import logging
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Final, TypeVar

from config.errors import MatapaloError, SecretError
from config.secret import resolve
from config.spec import OpenFeatureSpec
from rules.told import UNTOLD

T = TypeVar("T")

_domains: Final = count(1)


class ProviderError(MatapaloError):
    """A provider could not be made or asked; the sentence says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Name one flag, and the attributes that it is asked with."""

    key: str
    attributes: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """Hold what a provider said about every flag."""

    values: Mapping[str, object]
    """Key to value."""
    missing: Mapping[str, str]
    """Key to the reason why there is no value: ``FLAG_NOT_FOUND``, or an error in words."""
    complaint: str = ""
    """What the provider says of itself when it is not ready; empty: nothing."""


@dataclass(slots=True)
class _Sdk:
    """Hold the SDK's client and what the provider has told since it was made."""

    client: Any  # openfeature.client.OpenFeatureClient: not imported where no provider is configured
    told: str = field(default="")


class Provider:
    """Ask one configured provider; made on control's loop.

    Bound: one thread, one question at a time.
    """

    def __init__(self, spec: OpenFeatureSpec, on_event: Callable[[], None]) -> None:
        self.spec: Final = spec
        self._loop: Final = asyncio.get_running_loop()
        self._on_event: Final = on_event
        self._work: Final[queue.SimpleQueue[Callable[[], None] | None]] = queue.SimpleQueue()
        self._busy_since: float | None = None
        self._sdk: _Sdk | None = None
        self._secrets: tuple[str, ...] = ()
        self._domain = ""
        threading.Thread(target=self._serve, name="openfeature", daemon=True).start()

    async def look(self, questions: Sequence[Question]) -> Look:
        """Ask for every flag.

        Raises: ProviderError, also when the deadline passes.
        """
        if self._busy_since is not None:
            took = time.monotonic() - self._busy_since
            raise ProviderError(f"the provider has not come back for {took:.0f} s from what it was asked")
        self._busy_since = time.monotonic()
        future: asyncio.Future[Look] = self._loop.create_future()
        self._work.put(lambda: self._answer(future, questions))
        timeout_s = self.spec.timeout_ns / 1e9
        try:
            async with asyncio.timeout(timeout_s):
                return await asyncio.shield(future)
        except TimeoutError:
            # Whatever still comes is an answer to an old question.
            future.add_done_callback(lambda done: done.cancelled() or done.exception())
            raise ProviderError(f"the provider did not answer within {timeout_s:g} s") from None

    def close(self) -> None:
        """Let the provider go, as soon as it comes back."""
        self._work.put(self._shut_down)
        self._work.put(None)

    # --- in the thread ----------------------------------------------------------------------------------------------

    def _serve(self) -> None:
        while (task := self._work.get()) is not None:
            task()

    def _answer(self, future: asyncio.Future[Look], questions: Sequence[Question]) -> None:
        try:
            if self._sdk is None:
                self._sdk = self._make()
            look, error = self._ask(self._sdk, questions), None
        except Exception as caught:  # the border to somebody else's code: whatever it raises, we go on
            look, error = None, self._as_error(caught)
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits
            self._loop.call_soon_threadsafe(self._done, future, look, error)

    def _done(self, future: asyncio.Future[Look], look: Look | None, error: ProviderError | None) -> None:
        self._busy_since = None
        if future.done():
            return
        if look is not None:
            future.set_result(look)
        elif error is not None:
            future.set_exception(error)

    def _make(self) -> _Sdk:
        """Import the SDK and the provider, and wait until it is ready.

        Raises: ProviderError, and whatever the provider raises.
        """
        try:
            from openfeature import api
            from openfeature.event import ProviderEvent
        except ImportError as error:
            raise ProviderError("the extra is not installed; run `pip install 'matapalo[openfeature]'`") from error
        # It logs each failure with its traceback, again and again; what it says reaches us as an event.
        logger = logging.getLogger("openfeature")
        logger.addHandler(logging.NullHandler())
        logger.propagate = False
        self._domain = f"matapalo-{next(_domains)}"
        client = api.get_client(self._domain)
        sdk = _Sdk(client)

        def hear(details: Any) -> None:  # openfeature.event.EventDetails
            sdk.told = self._told(getattr(details, "message", None) or "")
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._on_event)

        for event in ProviderEvent:
            client.add_handler(event, hear)
        api.set_provider_and_wait(self._provider(), self._domain)
        return sdk

    def _provider(self) -> Any:  # openfeature.provider.FeatureProvider
        """Call the configured factory.

        Raises: ProviderError for secrets and modules that are not there.
        """
        try:
            secrets = {name: resolve(ref) for name, ref in self.spec.secrets}
        except SecretError as error:
            raise ProviderError(str(error)) from error
        self._secrets = tuple(sorted(secrets.values(), key=len, reverse=True))
        arguments: dict[str, Any] = {**dict(self.spec.options), **secrets}  # the provider knows the types
        if self.spec.provider == "flagd":
            return _flagd(arguments)
        module, _, name = self.spec.provider.partition(":")
        try:
            factory = getattr(importlib.import_module(module), name)
        except (ImportError, AttributeError) as error:
            raise ProviderError(f"{self.spec.provider} cannot be imported ({error}); install it") from error
        return factory(**arguments)

    def _ask(self, sdk: _Sdk, questions: Sequence[Question]) -> Look:
        from openfeature.evaluation_context import EvaluationContext
        from openfeature.exception import ErrorCode

        values: dict[str, object] = {}
        missing: dict[str, str] = {}
        for question in questions:
            context = EvaluationContext(targeting_key=question.key, attributes=dict(question.attributes))
            found = sdk.client.get_object_details(question.key, {}, context)
            if found.error_code is ErrorCode.TYPE_MISMATCH:
                found = sdk.client.get_string_details(question.key, "", context)
            if found.error_code is not None:
                is_unknown = found.error_code is ErrorCode.FLAG_NOT_FOUND
                said = f"{found.error_code.value}: {found.error_message or 'no reason given'}"
                missing[question.key] = "FLAG_NOT_FOUND" if is_unknown else self._told(said)
            elif found.value:
                values[question.key] = found.value
            else:
                missing[question.key] = f"the provider gave no value ({found.reason})"
        status = sdk.client.get_provider_status().value
        complaint = "" if status == "READY" else f"it is {status}{sdk.told and f': {sdk.told}'}"
        return Look(values=values, missing=missing, complaint=complaint)

    def _as_error(self, caught: Exception) -> ProviderError:
        if isinstance(caught, ProviderError):
            return caught
        cause = f"; {self._told(caught.__cause__)}" if caught.__cause__ is not None else ""
        said = self._told(f"{type(caught).__name__}: {caught}").rstrip(": ")
        return ProviderError(f"the provider failed ({said}{cause})")

    def _told(self, said: object) -> str:
        """Give what the provider says, without its secrets, and shortened afterwards: half of one is too much."""
        text = str(said)
        for secret in self._secrets:
            text = text.replace(secret, UNTOLD)
        return text[:300]

    def _shut_down(self) -> None:
        if self._sdk is None:
            return
        from openfeature import api
        from openfeature.provider.no_op_provider import NoOpProvider

        # The registry shuts a provider down when another one takes its place.
        with contextlib.suppress(Exception):
            api.set_provider_and_wait(NoOpProvider(), self._domain)


def _flagd(arguments: dict[str, Any]) -> Any:  # Any: flagd's own keywords, and its provider
    try:
        from openfeature.contrib.provider.flagd import FlagdProvider
        from openfeature.contrib.provider.flagd.config import ResolverType
    except ImportError as error:
        raise ProviderError("the extra is not installed; run `pip install 'matapalo[openfeature]'`") from error
    resolver = arguments.pop("resolver", None)
    if resolver is not None:
        arguments["resolver_type"] = ResolverType(resolver)
    return FlagdProvider(**arguments)
