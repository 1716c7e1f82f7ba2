"""OpenFeature providers that misbehave, for `openfeature.provider: tests.support.providers:NAME`."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence

from openfeature.evaluation_context import EvaluationContext
from openfeature.flag_evaluation import FlagResolutionDetails, FlagValueType
from openfeature.provider import AbstractProvider, Metadata

Context = EvaluationContext | None
Objects = Sequence[FlagValueType] | Mapping[str, FlagValueType]

RELEASE = threading.Event()
"""Lets the hanging provider go."""


def start_event_threads() -> None:
    """Let the SDK start every thread of its pool for events, which it keeps for good."""
    from openfeature import _event_support

    pool = _event_support._event_executor
    everybody = threading.Barrier(pool._max_workers + 1)
    for _ in range(pool._max_workers):
        pool.submit(everybody.wait, 60)
    everybody.wait(60)


class Fixed(AbstractProvider):
    """Answer every flag with the same value, whatever it is asked."""

    def __init__(self, value: str = "shadow") -> None:
        super().__init__()
        self.value = value

    def get_metadata(self) -> Metadata:
        """Name it."""
        return Metadata(name="Fixed")

    def resolve_boolean_details(
        self, flag_key: str, default_value: bool, evaluation_context: Context = None
    ) -> FlagResolutionDetails[bool]:
        """Answer with the default."""
        return FlagResolutionDetails(value=default_value)

    def resolve_string_details(
        self, flag_key: str, default_value: str, evaluation_context: Context = None
    ) -> FlagResolutionDetails[str]:
        """Answer with the value, the route that asks beside it."""
        return FlagResolutionDetails(value=self.value)

    def resolve_integer_details(
        self, flag_key: str, default_value: int, evaluation_context: Context = None
    ) -> FlagResolutionDetails[int]:
        """Answer with the default."""
        return FlagResolutionDetails(value=default_value)

    def resolve_float_details(
        self, flag_key: str, default_value: float, evaluation_context: Context = None
    ) -> FlagResolutionDetails[float]:
        """Answer with the default."""
        return FlagResolutionDetails(value=default_value)

    def resolve_object_details(
        self, flag_key: str, default_value: Objects, evaluation_context: Context = None
    ) -> FlagResolutionDetails[Objects]:
        """Answer with a text where an object was asked for."""
        return FlagResolutionDetails(value=self.value)  # what a careless provider does


class Hanging(Fixed):
    """Never come back from a question until it is released."""

    def resolve_object_details(
        self, flag_key: str, default_value: Objects, evaluation_context: Context = None
    ) -> FlagResolutionDetails[Objects]:
        """Hang."""
        RELEASE.wait(30)
        return FlagResolutionDetails(value={"stage": "live"})


class Broken(Fixed):
    """Fail to start."""

    def initialize(self, evaluation_context: EvaluationContext) -> None:
        """Fail."""
        raise RuntimeError("no licence")


class Talkative(Fixed):
    """Fail to start, and say with which key."""

    def __init__(self, sdk_key: str) -> None:
        super().__init__()
        self.sdk_key = sdk_key

    def initialize(self, evaluation_context: EvaluationContext) -> None:
        """Fail."""
        raise RuntimeError(f"no licence for the key {self.sdk_key}")


def refuse(sdk_key: str) -> Fixed:
    """Make nothing, and say for which key, where what is said is cut off."""
    raise ValueError(f"{'long ' * 51}no licence for the key {sdk_key}")
