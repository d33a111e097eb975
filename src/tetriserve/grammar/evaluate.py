"""`tetriserve evaluate`: the paper's experiment on this machine."""

from pathlib import Path

from tetriserve.evaluation.study import STUDIES
from tetriserve.grammar.parser import Commands, Parser


def add_evaluate_command(commands: "Commands[Parser]") -> None:
    """Add the grammar of `evaluate` and what it can do."""
    parser = commands.add_parser(
        "evaluate", help="serve a study's loads for real, policy after policy", description="Run and report studies."
    )
    kinds = parser.add_subparsers(dest="action", required=True, metavar="WHAT")
    run = kinds.add_parser(
        "run",
        help="measure what is missing",
        description="Start a server for every policy and peer of the study, send it every load, and write a file for "
        "each. What is there already is left alone, what failed is tried again, after all that was never tried.",
    )
    _add_study_options(run)
    run.add_argument("--minutes", type=float, metavar="M", help="begin nothing that would not end by then")
    run.add_argument("--commit", metavar="HASH", help="what is measured, where git can't tell")
    _add_study_options(kinds.add_parser("list", help="show what is done, failed and missing"))
    report = kinds.add_parser("report", help="write tables and charts of what is there", description="Write a page.")
    report.add_argument("--results", type=Path, default=RESULTS, metavar="DIR", help=f"default: {RESULTS}")
    report.add_argument("--out", type=Path, default=PAGE, metavar="FILE", help=f"default: {PAGE}")
    for one in (run, report, *kinds.choices.values()):
        one.set_defaults(command="evaluate")


RESULTS = Path("docs/evaluation")
PAGE = Path("docs/evaluation.md")


def _add_study_options(parser: Parser) -> None:
    names = [study.name for study in STUDIES]
    parser.add_argument("--study", required=True, choices=names, help="what to run")
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="DIR", help=f"default: {RESULTS}")
    parser.add_argument(
        "--only",
        default="",
        metavar="PATTERN,...",
        help="ids like '*/default/skewed/*' (default: all; `list` shows ids)",
    )
