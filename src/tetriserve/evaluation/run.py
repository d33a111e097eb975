"""Runs what is missing of a study: server after server, task after task, each result written at once.

Nothing that fails ends the run: it is written down, and tried again by the next call, after all that was never tried.
"""

import asyncio
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from types import MappingProxyType
from typing import Any

from tetriserve.bench.target import Target, meet
from tetriserve.core.errors import TetriServeError
from tetriserve.engine.devices import resolve_devices
from tetriserve.evaluation.budget import Budget
from tetriserve.evaluation.equality import equality_groups
from tetriserve.evaluation.load_task import load_groups
from tetriserve.evaluation.machine import machine_name, provenance
from tetriserve.evaluation.program import Running
from tetriserve.evaluation.results import DONE, FAILED, Results
from tetriserve.evaluation.servers import Wanted, serving
from tetriserve.evaluation.study import Study, peer_of
from tetriserve.evaluation.task import Group, Site, Task

Say = Callable[[str], None]
MAX_ERROR_CHARS = 3000


def groups_of(study: Study, patterns: Sequence[str] = ()) -> list[Group]:
    """All groups, of tasks whose ids fit one of the patterns (`*/default/*`); without patterns all tasks."""
    merged: dict[tuple[Wanted, Study], list[Task]] = {}
    for group in (*load_groups(study), *equality_groups(study)):
        chosen = [task for task in group.tasks if _fits(task.id, patterns)]
        if chosen:
            merged.setdefault((group.wanted, group.study), []).extend(chosen)
    return [Group(wanted, same, tasks) for (wanted, same), tasks in merged.items()]


def run_study(
    study: Study,
    root: Path,
    budget: Budget,
    patterns: Sequence[str],
    say: Say,
    known: Mapping[str, str] = MappingProxyType({}),
) -> int:
    """Run what is not done yet and fits into the budget. Returns how many tasks are still to be done.

    `known` goes before what can be found out about the machine and the program.

    Raises ConfigurationError if the devices are not there.
    """
    results = Results.of(root, study.name, machine_name(study.devices))
    site = Site(study, results, len(resolve_devices(study.devices)), budget)
    about = {"study": study.name, "command": _command(), **provenance(study.devices), **known}
    groups = groups_of(study, patterns)
    for group in _in_order(groups, results):
        _run_group(replace(site, study=group.study), group, about, say)
    return sum(results.status(task.id) != DONE for group in groups for task in group.tasks)


def _in_order(groups: Sequence[Group], results: Results) -> Iterator[Group]:
    """First what was never tried, then what failed before this call."""
    status = {task.id: results.status(task.id) for group in groups for task in group.tasks}
    for wanted in (None, FAILED):
        for group in groups:
            tasks = [task for task in group.tasks if status[task.id] == wanted]
            if tasks:
                yield replace(group, tasks=tasks)


def _run_group(site: Site, group: Group, about: dict[str, Any], say: Say) -> None:
    what = f"{group.wanted.log_name}: {len(group.tasks)} to do"
    needed_s = site.study.start_s
    if needed_s <= site.budget.left_s:  # else simulating its tasks is not worth the time
        needed_s += min(_seconds(site, group, task) for task in group.tasks)
    if needed_s > site.budget.left_s:
        say(f"{what}, and not enough time for the first ({needed_s:.0f} of {site.budget.left_s:.0f} s)")
        return
    if peer_of(group.wanted.contender) is not None and site.results.profile(group.wanted.profile_name) is None:
        say(f"{what}, and no profile to choose rates by: run a policy of this model first")
        return
    say(f"{what}; starting the server")
    tried: set[str] = set()
    try:
        with serving(site.study, group.wanted, site.results, site.budget.left_s) as server:
            say(f"  ready after {server.start_s:.0f} s")
            run_tasks(site, group, server, about, say, tried)
    except Exception as error:  # noqa: BLE001  (the next server may do better)
        say(f"  failed: {_first_line(error)}")
        if tried or site.budget.left_s <= 0:
            return  # what is left was never looked at, or had too little time: nobody's failure
        for task in group.tasks:
            _write(site, task, about, {"status": FAILED, "error": _text(error)})


def run_tasks(site: Site, group: Group, server: Running, about: dict[str, Any], say: Say, tried: set[str]) -> None:
    """Every task there is time for, on a server that is ready; `tried` gets the ids of those that were looked at.

    Raises what ends the server's usefulness: no answer, no warm-up.
    """
    profile = site.results.profile(group.wanted.profile_name)
    assert profile is not None, "servers of ours have left one, and peers are started after those"
    cost = site.cost(profile)
    target, _ = asyncio.run(meet(Target(server.url)))
    asyncio.run(_within(site.budget, group.tasks[0].warm_up(site, cost, target)))
    for task in group.tasks:
        seconds = _seconds(site, group, task)
        tried.add(task.id)
        if seconds > site.budget.left_s:
            say(f"  {task.id}: left for the next call ({seconds:.0f} of {site.budget.left_s:.0f} s)")
            continue
        begin_s = time.monotonic()
        try:
            found = asyncio.run(_within(site.budget, task.run(site, cost, target, server)))
            asyncio.run(meet(target))
        except Exception as error:  # noqa: BLE001  (is a result)
            _write(site, task, about, {"status": FAILED, "error": _text(error)})
            say(f"  {task.id}: failed: {_first_line(error)}")
            asyncio.run(meet(target))  # raises if the server is gone
            continue
        found["seconds"] = round(time.monotonic() - begin_s, 1)
        _write(site, task, about, {"status": DONE, "error": None, **found})
        say(f"  {task.id}: {found['seconds']:.0f} s (expected {seconds:.0f}), {_outcome(found)}")


async def _within(budget: Budget, work: Any) -> Any:
    async with asyncio.timeout(budget.limit_s):
        return await work


def _seconds(site: Site, group: Group, task: Task) -> float:
    """0 where there is no profile to tell from, and for what can't be: the server will say why."""
    profile = site.results.profile(group.wanted.profile_name)
    try:
        return 0.0 if profile is None else task.seconds(site, site.cost(profile))
    except TetriServeError:
        return 0.0


def _write(site: Site, task: Task, about: dict[str, Any], found: dict[str, Any]) -> None:
    before = site.results.read(task.id) or {}
    site.results.write(task.id, {"id": task.id, **about, "attempts": before.get("attempts", 0) + 1, **found})


def _outcome(found: dict[str, Any]) -> str:
    run = found.get("run")
    if run is None:
        return f"{len(found.get('images', ()))} images compared"
    return f"{run['sar']:.0%} on time, {run['num_failed']} failed, mean {run['mean_latency_s'] or float('nan'):.2f} s"


def _fits(task_id: str, patterns: Sequence[str]) -> bool:
    return not patterns or any(fnmatchcase(task_id, pattern) for pattern in patterns)


def _command() -> str:
    return f"tetriserve {' '.join(sys.argv[1:])}"


def _text(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "cut off: it did not fit into the minutes of this call"
    return f"{type(error).__name__}: {error}"[:MAX_ERROR_CHARS]


def _first_line(error: BaseException) -> str:
    return _text(error).strip().splitlines()[0]
