"""The fault proxy does to a connection exactly what it was told."""

from __future__ import annotations

import contextlib
import time

import pytest

from tests.support.faultproxy import FaultProxy, Faults
from tests.support.rawclient import ConnectionEndedError, RawClient, ask, request_bytes
from tests.support.recorder import Recorder, answer

BODY = b"0123456789" * 1000


def test_without_faults_nothing_changes() -> None:
    """Requests and answers pass unchanged, in slices of any size, and are counted."""
    with Recorder(answer(BODY)) as backend, FaultProxy(backend.address) as network:
        for faults in (Faults(), Faults(slice_bytes=7)):
            network.to_client = network.to_server = faults
            assert ask(network.address, request_bytes("POST", body=BODY)).body == BODY

        assert [request.body for request in backend.wait_requests(2)] == [BODY, BODY]
        assert network.connections == 2
        assert network.passed["to_client"] == 2 * len(answer(BODY))


@pytest.mark.parametrize(("cut", "ending"), [("close", "eof"), ("half_close", "eof"), ("reset", "reset")])
def test_an_answer_is_cut_after_so_many_bytes(cut: str, ending: str) -> None:
    """The client gets the asked number of bytes and then the asked end."""
    with Recorder(answer(BODY)) as backend, FaultProxy(backend.address) as network:
        network.to_client = Faults(cut_after=100, cut=cut)  # type: ignore[arg-type]  # parametrised text
        with RawClient(network.address) as client:
            client.send(request_bytes())

            with pytest.raises(ConnectionEndedError) as caught:
                client.read_response()

    assert caught.value.ending == ending


def test_a_black_hole_takes_bytes_and_says_nothing() -> None:
    """After the cut the connection stays open and silent, and so does a black-hole accept."""
    with Recorder(answer(BODY)) as backend, FaultProxy(backend.address) as network:
        network.to_client = Faults(cut_after=0, cut="blackhole")
        with RawClient(network.address) as client:
            client.send(request_bytes())
            backend.wait_requests(1)
            assert client.ending(0.1) == "open"

        network.accept = "blackhole"
        with RawClient(network.address) as client:
            client.send(request_bytes())
            assert client.ending(0.1) == "open"

        assert len(backend.requests) == 1


def test_refused_and_reset_connections_reach_the_client() -> None:
    """A proxy that refuses, resets on accept or resets what is open shows it, and resumes on its port."""
    with Recorder() as backend, FaultProxy(backend.address) as network:
        network.accept = "reset"
        # The reset may overtake the end of connect() itself: Linux then reports it there.
        with contextlib.suppress(ConnectionResetError), RawClient(network.address) as client:
            assert client.ending() == "reset"
        assert network.connections == 1
        network.accept = "connect"

        network.refuse()
        with pytest.raises(ConnectionRefusedError):
            RawClient(network.address)
        network.resume()

        with RawClient(network.address) as client:
            client.exchange(request_bytes())
            network.end_all(reset=True)
            assert client.ending() == "reset"
        assert backend.wait_ended().ending == "reset"


def test_delay_and_throttle_take_their_time() -> None:
    """A delay stands in front of each slice; a throttle spreads the bytes."""
    for faults in (Faults(delay_s=0.1), Faults(bytes_per_s=100_000, slice_bytes=1000)):
        with Recorder(answer(BODY)) as backend, FaultProxy(backend.address) as network:
            network.to_client = faults
            started = time.monotonic()

            assert ask(network.address, request_bytes()).body == BODY
            assert time.monotonic() - started >= 0.09


def test_the_end_of_one_side_reaches_the_other() -> None:
    """A client's FIN and RST arrive at the backend as what they were."""
    with Recorder() as backend, FaultProxy(backend.address) as network:
        for index, (leave, ending) in enumerate(((RawClient.close, "eof"), (RawClient.reset, "reset"))):
            client = RawClient(network.address)
            client.exchange(request_bytes())

            leave(client)

            assert backend.wait_ended(index).ending == ending
