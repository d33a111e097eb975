"""`tetriserve evaluate`."""

import argparse
import signal
import sys

from tetriserve.core.errors import ConfigurationError
from tetriserve.evaluation.budget import Budget
from tetriserve.evaluation.report.page import write_page
from tetriserve.evaluation.results import Results
from tetriserve.evaluation.run import groups_of, run_study
from tetriserve.evaluation.study import study_named


def run(args: argparse.Namespace) -> None:
    """Run, list or report."""
    match args.action:
        case "run":
            _run(args)
        case "list":
            _list(args)
        case "report":
            write_page(args.results, args.out)


def _run(args: argparse.Namespace) -> None:
    if args.minutes is not None and not args.minutes > 0:
        raise ConfigurationError(f"--minutes {args.minutes:g}: must be above 0")
    budget = Budget(args.minutes)
    # Whoever ends this command ends its servers with it: they would go on to hold the GPUs.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))

    def say(text: str) -> None:
        print(f"[{budget.used_s:4.0f} s] {text}", flush=True)  # noqa: T201  (a log of hours, read from afar)

    study, about = study_named(args.study), {"commit": args.commit} if args.commit else {}
    num_left = run_study(study, args.results, budget, _patterns(args), say, about)
    say(f"{num_left} left to do" if num_left else "all done")


def _list(args: argparse.Namespace) -> None:
    study = study_named(args.study)
    found = Results.all(args.results, study.name)
    for group in groups_of(study, _patterns(args)):
        for task in group.tasks:
            statuses = [results.status(task.id) or "-" for results in found] or ["-"]
            sys.stdout.write(f"{' '.join(statuses):8} {task.id}\n")


def _patterns(args: argparse.Namespace) -> list[str]:
    return [pattern for pattern in args.only.split(",") if pattern]
