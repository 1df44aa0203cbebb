"""One writer at a time among processes and threads, in turn, whatever becomes of the others."""

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.store.conftest import Child, until
from vaultctl.domain.errors import VaultUnavailable
from vaultctl.store.turnstile import Turnstile

StartChild = Callable[..., Child]

HOLD = """
with Turnstile(database, 10).turn():
    say("held")
    sys.stdin.readline()
say("left")
"""


@pytest.fixture
def held(child: StartChild) -> Child:
    """Another process that holds the lock."""
    holder = child(HOLD)
    holder.expect("held")
    return holder


def has_opened_the_gate(process: int) -> bool:
    """Whether a process has the gate's file open, so that it is at the gate or past it."""
    links = list(Path(f"/proc/{process}/fd").iterdir())
    return any(str(link.readlink()).endswith("-gate") for link in links if link.is_symlink())


def test_processes_that_all_want_the_lock_get_it_about_equally_often(child: StartChild) -> None:
    contender = """
    turnstile = Turnstile(database, 10)
    wait_for_go()
    turns, worst, end = 0, 0.0, time.monotonic() + float(sys.argv[2])
    while (asked := time.monotonic()) < end:
        with turnstile.turn():
            worst = max(worst, time.monotonic() - asked)
            turns += 1
            until = time.monotonic() + 0.001
            while time.monotonic() < until:
                pass
    say(turns, worst)
    """
    contenders = [child(contender, "1.5") for _ in range(3)]
    for one in contenders:
        one.expect("ready")
    for one in contenders:
        one.go()
    said = [one.rest().split() for one in contenders]
    turns = [int(count) for count, _ in said]
    assert min(turns) > 0.4 * max(turns)
    assert max(float(worst) for _, worst in said) < 0.5


def test_nothing_is_between_two_processes_in_their_turn(child: StartChild, tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.write_text("0")
    contender = """
    turnstile, shared = Turnstile(database, 10), Path(sys.argv[2])
    wait_for_go()
    for _ in range(150):
        with turnstile.turn():
            shared.write_text(str(int(shared.read_text()) + 1))
    """
    contenders = [child(contender, str(shared)) for _ in range(3)]
    for one in contenders:
        one.expect("ready")
    for one in contenders:
        one.go()
    for one in contenders:
        one.rest()
    assert shared.read_text() == "450"


def test_who_waits_too_long_is_told_for_how_long_and_what_to_look_for(database: Path, held: Child) -> None:
    started = time.monotonic()
    with pytest.raises(VaultUnavailable) as refused, Turnstile(database, 0.3).turn():
        raise AssertionError
    assert 0.25 < time.monotonic() - started < 3
    assert "0.3 seconds" in refused.value.message
    assert refused.value.hint
    held.go()
    held.expect("left")


def test_threads_of_one_process_wait_no_longer_either(database: Path) -> None:
    turnstile = Turnstile(database, 0.2)
    inside, leave = threading.Event(), threading.Event()

    def hold() -> None:
        with turnstile.turn():
            inside.set()
            leave.wait(30)

    holder = threading.Thread(target=hold)
    holder.start()
    assert inside.wait(30)
    with pytest.raises(VaultUnavailable), turnstile.turn():
        raise AssertionError
    leave.set()
    holder.join()
    with turnstile.turn():
        pass
    turnstile.close()


def test_who_gave_up_at_the_lock_lets_others_through_the_gate(database: Path, held: Child) -> None:
    for _ in range(2):
        with pytest.raises(VaultUnavailable), Turnstile(database, 0.1).turn():
            raise AssertionError
    held.go()
    held.expect("left")
    with Turnstile(database, 5).turn():
        pass


def test_a_holder_that_is_killed_leaves_no_lock_behind(database: Path, held: Child) -> None:
    held.kill()
    with Turnstile(database, 5).turn():
        pass


def test_one_that_is_killed_while_it_waits_leaves_no_gate_behind(
    database: Path, held: Child, child: StartChild
) -> None:
    waiting = child("say('waiting')\n" + HOLD)
    waiting.expect("waiting")
    until(lambda: has_opened_the_gate(waiting.process.pid))
    waiting.kill()
    held.go()
    held.expect("left")
    with Turnstile(database, 5).turn():
        pass


def test_a_stopped_holder_is_an_error_and_not_a_hang(database: Path, held: Child) -> None:
    os.kill(held.process.pid, signal.SIGSTOP)
    try:
        with pytest.raises(VaultUnavailable), Turnstile(database, 0.1).turn():
            raise AssertionError
    finally:
        os.kill(held.process.pid, signal.SIGCONT)


def test_an_exception_in_the_turn_ends_the_turn(database: Path) -> None:
    turnstile = Turnstile(database, 0.5)
    with pytest.raises(KeyboardInterrupt), turnstile.turn():
        raise KeyboardInterrupt
    with turnstile.turn():
        pass
    with Turnstile(database, 0.5).turn():
        pass
    turnstile.close()


def test_after_closing_it_is_closed_for_good_and_others_are_not_held_up(database: Path) -> None:
    turnstile = Turnstile(database, 0.5)
    with turnstile.turn():
        pass
    turnstile.close()
    turnstile.close()
    with pytest.raises(VaultUnavailable, match="closed"), turnstile.turn():
        raise AssertionError
    with Turnstile(database, 0.5).turn():
        pass


def test_closing_waits_for_the_thread_that_has_the_lock(database: Path) -> None:
    turnstile = Turnstile(database, 5)
    inside, leave, steps = threading.Event(), threading.Event(), []

    def hold() -> None:
        with turnstile.turn():
            inside.set()
            leave.wait(30)
            steps.append("left")

    def close() -> None:
        turnstile.close()
        steps.append("closed")

    threads = [threading.Thread(target=hold), threading.Thread(target=close)]
    threads[0].start()
    assert inside.wait(30)
    threads[1].start()
    with pytest.raises(VaultUnavailable), Turnstile(database, 0.1).turn():
        raise AssertionError
    leave.set()
    for thread in threads:
        thread.join()
    assert steps == ["left", "closed"]


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077])
def test_lock_files_are_private_whatever_the_umask(
    tmp_path: Path, with_umask: Callable[[int], None], mask: int
) -> None:
    with_umask(mask)
    turnstile = Turnstile(tmp_path / "vault.db", 1)
    with turnstile.turn():
        pass
    turnstile.close()
    for name in ("gate", "lock"):
        assert (tmp_path / f"vault.db-{name}").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("name", ["gate", "lock"])
def test_a_symbolic_link_in_place_of_a_lock_file_is_not_followed(tmp_path: Path, name: str) -> None:
    elsewhere = tmp_path / "elsewhere"
    (tmp_path / f"vault.db-{name}").symlink_to(elsewhere)
    with pytest.raises(VaultUnavailable), Turnstile(tmp_path / "vault.db", 1).turn():
        raise AssertionError
    assert not elsewhere.exists()


@pytest.mark.parametrize("name", ["gate", "lock"])
def test_a_directory_in_place_of_a_lock_file_is_an_error_of_ours(tmp_path: Path, name: str) -> None:
    (tmp_path / f"vault.db-{name}").mkdir()
    with pytest.raises(VaultUnavailable), Turnstile(tmp_path / "vault.db", 1).turn():
        raise AssertionError


def test_lock_files_are_not_handed_to_programs_that_are_started(database: Path) -> None:
    turnstile = Turnstile(database, 1)
    with turnstile.turn():
        for link in list(Path("/proc/self/fd").iterdir()):
            if link.is_symlink() and str(link.readlink()).startswith(str(database)):
                assert not os.get_inheritable(int(link.name))
    turnstile.close()
