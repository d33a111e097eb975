"""The checks of a chaos run see what they are there for."""

from collections.abc import Callable

import numpy as np
import pytest

from chaos.checks import Final, Resources, checks_of, counts_of
from chaos.history import CANCELLED, CONNECTION, DROPPED, HUNG, IMAGE, LOST, Attempt, History, Injection
from chaos.images import Picture, pixels_of
from chaos.plan import Fault, Kind, draw_plan
from chaos.recovery import silence_s
from chaos.rules import rule_of
from tetriserve.core.image import Image
from tetriserve.runtime.image_file import encode


def attempt(ending: str | None, **how: object) -> Attempt:
    """A job that was acknowledged, from 10 s to 20 s."""
    made = Attempt("job", 10.0, job_id="job-1", acknowledged=True, ending=ending, ended_s=20.0)
    if ending == IMAGE:
        made.num_images, made.difference = 1, 0
    for name, value in how.items():
        setattr(made, name, value)
    return made


def history(*attempts: Attempt, faults: tuple[Kind, ...] = (), at_s: float = 15.0) -> History:
    injections = [Injection(Fault(i, 0.0, kind, 0.0), at_s, at_s, "worker 1") for i, kind in enumerate(faults)]
    return History(list(attempts), injections)


def broken(found: History, final: Final | None = None) -> list[str]:
    jobs = [{"id": one.job_id, "status": "completed"} for one in found.attempts if one.acknowledged]
    return [check.name for check in checks_of(found, final or Final(jobs=jobs)) if not check.holds]


def test_a_run_in_which_all_went_well_breaks_nothing() -> None:
    found = history(attempt(IMAGE), attempt(DROPPED, kind="stream", acknowledged=False))
    assert broken(found) == []
    assert counts_of(found) == {"completed": 1, "its client went away": 1}


@pytest.mark.parametrize(
    ("bad", "name"),
    [
        (attempt(None), "every request ends in bounded time"),
        (attempt(HUNG), "every request ends in bounded time"),
        (attempt(LOST), "no acknowledged job is lost"),
        (attempt(IMAGE, num_images=2), "every request ends once"),
        (attempt(IMAGE, num_images=0), "every request ends once"),
        (attempt("out_of_memory", num_images=1), "every request ends once"),
        (attempt(IMAGE, difference=2), "no image is wrong"),
        (attempt("engine_error"), "every failure has a rule"),
        (attempt("out_of_memory"), "every failure has a rule"),
    ],
)
def test_what_breaks_the_promise_to_one_request_is_seen(bad: Attempt, name: str) -> None:
    assert name in broken(history(bad))


@pytest.mark.parametrize(
    ("final", "name"),
    [
        (Final(jobs=[{"id": "job-1", "status": "completed"}] * 2), "no job is listed twice"),
        (Final(jobs=[{"id": "job-2", "status": "completed"}]), "no job that nobody has asked for"),
        (Final(jobs=[{"id": "job-1", "status": "queued"}]), "no job is left unfinished"),
        (Final(changed_results=["job-1"]), "a result does not change"),
        (Final(stray_files=["one"]), "every file of results belongs to a job"),
        (Final(orphans=["process 1"]), "no process outlives its server"),
        (Final(in_flight=1), "at rest the server has nothing in flight"),
        (Final(resources=Resources(files_before=20, files_after=31)), "the server's open files don't grow"),
        (Final(resources=Resources(worker_files_after=101)), "a worker's open files are bounded"),
        (Final(resources=Resources(shared_memory_after=frozenset({"x"}))), "no shared memory is left"),
        (Final(resources=Resources(peak_mb=401.0)), "the server's memory is bounded"),
        (Final(exit_status=1), "SIGTERM ends it well"),
    ],
)
def test_what_is_left_behind_is_seen(final: Final, name: str) -> None:
    assert broken(history(attempt(IMAGE)), final) == [name]


@pytest.mark.parametrize(
    ("ending", "faults"),
    [
        ("out_of_memory", ("memory",)),
        ("worker_lost", ("kill_worker", "hang", "memory")),
        ("server_died", ("kill_server",) * 5),
    ],
)
def test_a_failure_has_a_rule_only_if_what_it_needs_has_happened_meanwhile(
    ending: str, faults: tuple[Kind, ...]
) -> None:
    one = attempt(ending)
    assert rule_of(one, history(one, faults=faults)) is not None
    assert rule_of(one, history(one, faults=faults[1:])) is None
    assert rule_of(one, history(one, faults=faults, at_s=21.0)) is None
    assert rule_of(one, history(one, faults=faults, at_s=4.0)) is None


def test_a_job_outlives_its_server_and_its_clients_connection_and_is_cancelled_by_its_client_alone() -> None:
    died = History(server_down=[(12.0, 14.0)])
    assert rule_of(attempt(CONNECTION), died) is None
    assert rule_of(attempt(CONNECTION, acknowledged=False), died) is not None
    assert rule_of(attempt(CONNECTION, acknowledged=False), History()) is None
    assert rule_of(attempt(CANCELLED), History()) is None
    assert rule_of(attempt(CANCELLED, cancel_asked=True), History()) is not None


def test_another_image_is_told_from_the_same_one() -> None:
    def png(change: Callable[[bytearray], None]) -> bytes:
        rgb = bytearray(range(192))
        change(rgb)
        return encode(Image(8, 8, bytes(rgb)))

    picture = Picture({}, pixels_of(png(lambda rgb: None)))
    assert picture.difference(png(lambda rgb: None)) == 0
    assert picture.difference(png(lambda rgb: rgb.__setitem__(7, 9))) == 2
    assert Picture({}, np.zeros((4, 4, 3), np.uint8)).difference(png(lambda rgb: None)) == 255


def test_the_silence_after_a_fault_is_the_longest_that_begins_in_its_window() -> None:
    assert silence_s([9.0, 10.5, 11.5, 15.0, 30.0], 10.0) == 3.5
    assert silence_s([9.0, 14.0], 10.0) == 4.0
    assert silence_s([9.0], 10.0) is None


def test_a_plan_is_drawn_from_its_seed_alone() -> None:
    assert draw_plan(1, 20) == draw_plan(1, 40)[:20]
    assert draw_plan(1, 20) != draw_plan(2, 20)
    assert {fault.kind for fault in draw_plan(1, 400)} == set(Kind.__args__)
