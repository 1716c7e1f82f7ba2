"""Have a comparer judge a pair of answers: hostile bodies are looked into where they can be killed, never here."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from typing import Final

import msgspec

from config.errors import MatapaloError
from shadow import link

JUDGE_S: Final = 20.0
"""A pair may wait for another one, which a comparer kills after 10 s, and then has as long itself."""

MAX_FRAME: Final = 8 << 20
"""A Finding holds both decoded bodies at most, each within the comparer's caps, and fragments."""


class JudgingError(MatapaloError):
    """No comparer has judged the pair; the sentence says why."""


async def judge(
    state_dir: str, comparers: int, policy: link.Policy, pair: link.Pair, *bodies: bytes
) -> tuple[link.Verdict, link.Finding | None]:
    """Send a pair over a link of its own and wait for its verdict and what was found.

    Shape: *pair* has the purpose ``recheck``; its number and that of the policy are set here.
    Bound: 20 s.
    Raises: JudgingError when no comparer is up, or the one that took the pair died over it.
    """
    number, wishes = link.policy_frame(policy)
    try:
        async with asyncio.timeout(JUDGE_S):
            reader, writer = await _connect(state_dir, comparers)
            try:
                hello = link.Hello(
                    protocol=link.PROTOCOL, role="control", slot=0, epoch=f"control-{os.getpid()}", pid=os.getpid()
                )
                numbered = msgspec.structs.replace(pair, sequence=1, policy=number)
                writer.write(link.frame(hello) + wishes + link.frame(numbered, *bodies))
                return await _verdict(reader)
            finally:
                writer.close()
                with suppress(OSError):
                    await writer.wait_closed()
    except TimeoutError as error:
        raise JudgingError(f"no comparer has judged the answers within {JUDGE_S:g} s") from error
    except (OSError, link.LinkError) as error:
        raise JudgingError(f"the link to the comparer broke: {error}") from error


async def _connect(state_dir: str, comparers: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    for slot in range(comparers):
        with suppress(OSError):
            return await asyncio.open_unix_connection(os.path.join(state_dir, f"pairs-{slot}.sock"))
    raise JudgingError(f"none of {comparers} comparers takes a pair; look at status")


async def _verdict(reader: asyncio.StreamReader) -> tuple[link.Verdict, link.Finding | None]:
    frames, finding = link.FrameReader(MAX_FRAME), None
    while data := await reader.read(1 << 16):
        for message, _ in frames.feed(data):
            if isinstance(message, link.Finding):
                finding = message
            elif isinstance(message, link.Verdict):
                return message, finding
    raise JudgingError("the comparer ended over this pair: it took too long or too much memory")
