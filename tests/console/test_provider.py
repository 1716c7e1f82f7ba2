"""Rules of a provider's thread: whatever the provider does, control gets an answer or a sentence in time."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from config.spec import OpenFeatureSpec
from console.provider import Look, Provider, ProviderError, Question
from tests.support import providers

pytestmark = pytest.mark.anyio
HERE = "tests.support.providers"
ASKED = [Question(key="orders", attributes={"route": "orders"})]


@pytest.fixture(scope="module", autouse=True)
def events_have_their_threads() -> None:
    """What the SDK keeps for good is there before the first test looks what it leaves behind."""
    providers.start_event_threads()


async def looked(provider: str, *, timeout_ms: int = 20_000, **options: Any) -> Look:  # Any: the provider's arguments
    """Look once at one provider."""
    spec = OpenFeatureSpec(provider=provider, options=tuple(options.items()), timeout_ns=timeout_ms * 1_000_000)
    one = Provider(spec, lambda: None)
    try:
        return await one.look(ASKED)
    finally:
        one.close()


async def test_flagd_reads_objects_and_texts_from_its_file(tmp_path: Path) -> None:
    """With the resolver `file` flagd's flags are read, objects and texts alike; a flag it lacks is named as missing."""
    path = tmp_path / "flags.json"
    flag = {"state": "ENABLED", "variants": {"on": {"stage": "canary", "percent": 5}}, "defaultVariant": "on"}
    path.write_text(json.dumps({"flags": {"orders": flag}}))

    found = await looked("flagd", resolver="file", offline_flag_source_path=str(path))
    path.write_text(json.dumps({"flags": {"orders": flag | {"variants": {"on": "shadow"}}}}))
    text = await looked("flagd", resolver="file", offline_flag_source_path=str(path))
    path.write_text(json.dumps({"flags": {}}))
    none = await looked("flagd", resolver="file", offline_flag_source_path=str(path))

    assert found.values == {"orders": {"stage": "canary", "percent": 5}}
    assert text.values == {"orders": "shadow"}
    assert (none.values, none.missing) == ({}, {"orders": "FLAG_NOT_FOUND"})


async def test_any_factory_makes_a_provider() -> None:
    """`module:factory` is called with the options; a text in place of an object is asked for as one."""
    assert (await looked(f"{HERE}:Fixed", value="canary 5")).values == {"orders": "canary 5"}


@pytest.mark.parametrize("value", ["", {}], ids=["text", "object"])
async def test_an_empty_value_is_no_value(value: str | dict[str, str]) -> None:
    """A provider that answers with nothing, and calls that no error, has not said `legacy`: the flag has no value."""
    found = await looked(f"{HERE}:Fixed", value=value)

    assert found.values == {}
    assert found.missing["orders"].startswith("the provider gave no value")


@pytest.mark.parametrize(
    ("provider", "said"),
    [
        (f"{HERE}:Broken", "no licence"),
        (f"{HERE}:Absent", "cannot be imported"),
        ("no_such_module:make", "cannot be imported"),
    ],
)
async def test_a_provider_that_cannot_start_is_a_sentence(provider: str, said: str) -> None:
    """Whatever goes wrong when a provider is made is one error with its reason."""
    with pytest.raises(ProviderError, match=said):
        await looked(provider)


@pytest.mark.parametrize("provider", ["Talkative", "refuse"])
async def test_a_provider_that_repeats_its_secret_is_not_quoted(provider: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a provider says of its failure is told without the secrets that it was given, not even a part of one."""
    monkeypatch.setenv("FLAGS_KEY", "hunter2-" + "x" * 40)
    one = Provider(
        OpenFeatureSpec(provider=f"{HERE}:{provider}", secrets=(("sdk_key", "env:FLAGS_KEY"),)), lambda: None
    )
    try:
        with pytest.raises(ProviderError, match="no licence for the key") as caught:
            await one.look(ASKED)
    finally:
        one.close()

    assert "hunter" not in str(caught.value)


async def test_a_provider_that_hangs_is_left_alone() -> None:
    """A look ends at its deadline; while the provider hangs nothing more is asked of it; afterwards it is."""
    providers.RELEASE.clear()
    one = Provider(OpenFeatureSpec(provider=f"{HERE}:Hanging", timeout_ns=200_000_000), lambda: None)
    try:
        began = time.monotonic()
        with pytest.raises(ProviderError, match=r"did not answer within 0\.2 s"):
            await one.look(ASKED)
        with pytest.raises(ProviderError, match="has not come back"):
            await one.look(ASKED)
        assert time.monotonic() - began < 10
        providers.RELEASE.set()

        assert (await _patiently(one)).values == {"orders": {"stage": "live"}}
    finally:
        providers.RELEASE.set()
        one.close()


async def _patiently(one: Provider) -> Look:
    import anyio

    with anyio.fail_after(60):
        while True:
            try:
                return await one.look(ASKED)
            except ProviderError:
                await anyio.sleep(0.01)
