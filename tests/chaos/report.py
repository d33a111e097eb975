"""What a run has shown: tables for people, one line of JSON for programs."""

import json
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table

from chaos.checks import Check, counts_of
from chaos.history import HUNG, LOST, History
from chaos.recovery import recoveries

FACTS = ("acknowledged", "lost", "duplicated", "wrong image", "hung")


def report_of(history: History, checks: Sequence[Check], about: dict[str, Any]) -> dict[str, Any]:
    """The whole run as JSON can hold it."""
    attempts, by_name = history.attempts, {check.name: check for check in checks}
    return about | {
        "faults": len(history.injections),
        "hit": dict(Counter(one.fault.kind for one in history.injections if one.hit)),
        "sent": len(attempts),
        "sent_by_kind": dict(Counter(one.kind for one in attempts)),
        "ended": counts_of(history),
        "acknowledged": sum(one.acknowledged for one in attempts),
        "lost": sum(one.ending == LOST for one in attempts),
        "duplicated": by_name["every request ends once"].num_broken + by_name["no job is listed twice"].num_broken,
        "wrong image": by_name["no image is wrong"].num_broken,
        "hung": sum(one.ending in {None, HUNG} for one in attempts),
        "without_progress": recoveries(history),
        "invariants": [asdict(check) | {"holds": check.holds} for check in checks],
        "load": round(os.getloadavg()[0], 1),
        "ok": all(check.holds for check in checks),
    }


def show(console: Console, found: dict[str, Any]) -> None:
    """Three tables, and the JSON."""
    requests = Table("requests", "")
    requests.add_row("sent", str(found["sent"]))
    for name, count in found["ended"].items():
        requests.add_row(f"  {name}", str(count))
    for name in FACTS:
        requests.add_row(name, str(found[name]))
    times = Table("seconds without progress after", "faults", "p50", "p90", "p99")
    for kind, row in found["without_progress"].items():
        times.add_row(kind, str(row["num"]), *(f"{row[f'p{share}_s']:.2f}" for share in (50, 90, 99)))
    invariants = Table("invariant", "", "seen")
    for check in found["invariants"]:
        verdict = "[green]holds[/]" if check["holds"] else f"[red]broken by {check['num_broken']}[/]"
        invariants.add_row(check["name"], verdict, "\n".join([check["seen"], *check["broken"]]).strip())
    for table in (requests, times, invariants):
        console.print(table)


def as_line(found: dict[str, Any]) -> str:
    """JSON."""
    return json.dumps(found) + "\n"
