"""Rules of owning the state directory."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from proxy.statedir import MAX_SOCKET_PATH, StartError, claim, write_whole


def test_a_claimed_directory_is_private_and_names_its_owner(tmp_path: Path) -> None:
    """The state directory is made for its owner alone, and the lock names the process."""
    state = claim(str(tmp_path / "a" / "state"))

    assert Path(state.path).stat().st_mode & 0o777 == 0o700
    assert Path(state.place("lock")).read_text() == f"{os.getpid()}\n"
    assert os.listdir(state.path) == ["lock"]
    state.release()


def test_the_lock_lives_as_long_as_a_child_that_inherited_it(tmp_path: Path) -> None:
    """A lock that its owner gave up stays until the last child is gone."""
    state = claim(str(tmp_path))
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=[state.lock_fd]) as child:
        state.release()
        probe = os.open(tmp_path / "lock", os.O_RDWR)
        with pytest.raises(BlockingIOError):
            fcntl.flock(probe, fcntl.LOCK_EX | fcntl.LOCK_NB)
        child.communicate(b"\n")
    fcntl.flock(probe, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(probe)

    claim(str(tmp_path)).release()


def test_a_directory_held_by_a_living_process_is_refused_at_once(tmp_path: Path) -> None:
    """The refusal names the process that holds it."""
    script = (
        "import sys; from proxy.statedir import claim; "
        "claim(sys.argv[1]); print('claimed', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "claimed\n"
        with pytest.raises(StartError, match=f"process id {holder.pid}; stop that one"):
            claim(str(tmp_path))
        holder.communicate("")


def test_a_path_too_long_for_sockets_is_refused(tmp_path: Path) -> None:
    """A state directory in which no socket could be opened is refused before anything is made."""
    path = tmp_path / ("d" * MAX_SOCKET_PATH)

    with pytest.raises(StartError, match="choose a shorter `state_dir`"):
        claim(str(path))
    assert not path.exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_directory_without_write_permission_is_refused(tmp_path: Path) -> None:
    """A directory that this user may not write is refused by name."""
    tmp_path.chmod(0o500)

    with pytest.raises(StartError, match="Permission denied"):
        claim(str(tmp_path))


@pytest.mark.parametrize("durable", [True, False])
def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path, durable: bool) -> None:
    """A failed replacement leaves the old file and no litter."""
    place = tmp_path / "file"
    write_whole(str(place), b"old", durable=durable)
    write_whole(str(place), b"new", durable=durable)
    (tmp_path / "directory" / "full").mkdir(parents=True)

    with pytest.raises(OSError, match="directory"):
        write_whole(str(tmp_path / "directory"), b"x", durable=durable)

    assert place.read_bytes() == b"new"
    assert sorted(os.listdir(tmp_path)) == ["directory", "file"]
    assert place.stat().st_mode & 0o777 == 0o600
