"""Commands of the scheduler's laboratory, which need no model and no GPU: workload, simulate, sweep, plan, plot."""

import argparse
from pathlib import Path

from tetriserve.configuration.declared import declared
from tetriserve.grammar.parser import Commands, Parser
from tetriserve.grammar.settings import add_settings
from tetriserve.scheduler.config import SchedulerConfig


def add_laboratory_commands(commands: "Commands[Parser]") -> None:
    """Add the grammar of these commands."""
    _add_workload(commands)
    _add_simulate(commands)
    _add_sweep(commands)
    _add_plan(commands)
    _add_plot(commands)


def _add_workload(commands: "Commands[Parser]") -> None:
    parser = commands.add_parser(
        "workload",
        help="write a trace of requests",
        description="Write requests as JSON Lines: made up from a seed, or with the arrivals of a CSV file.",
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="default: standard output")
    add_workload_options(parser)
    add_csv_options(parser)


def _add_simulate(commands: "Commands[Parser]") -> None:
    parser = commands.add_parser(
        "simulate",
        help="run policies on virtual time",
        description="Run the server's own scheduler and policies on a virtual clock, with step times from a profile.",
    )
    parser.add_argument("--policy", default="default", metavar="NAME,...", help="policies (default: default)")
    _add_machine_options(parser)
    parser.add_argument("--trace", type=Path, metavar="FILE", help="requests (default: made up, see below)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results here")
    parser.add_argument("--schedule", type=Path, metavar="FILE", help="write every request and chunk here, for plot")
    add_workload_options(parser)
    _add_fault_options(parser)
    _add_bound_options(parser)
    _add_scheduler_settings(parser)


def _add_sweep(commands: "Commands[Parser]") -> None:
    parser = commands.add_parser(
        "sweep",
        help="simulate many workloads on all cores",
        description="Simulate every combination of mix, rate, SLO scale, seed and policy. Called again, a sweep that "
        "was stopped goes on where it was.",
    )
    parser.add_argument("--json", type=Path, required=True, metavar="FILE", help="write the results here")
    parser.add_argument("--jobs", type=int, default=0, metavar="N", help="processes (default: one a core)")
    parser.add_argument("--policy", default="rssp,default", metavar="NAME,...", help="default: rssp,default")
    _add_machine_options(parser)
    group = parser.add_argument_group("workloads")
    group.add_argument("--mix", default="uniform/skewed", metavar="MIX/...", help="default: uniform/skewed")
    group.add_argument("--rate", default="6,12,18,24", metavar="X,...", help="per minute (default 6,12,18,24)")
    group.add_argument("--slo-scale", default="1.0,1.2,1.5", metavar="X,...", help="default 1.0,1.2,1.5")
    group.add_argument("--seed", type=int, default=0, metavar="N", help="the first seed (default 0)")
    group.add_argument("--seeds", type=int, default=5, metavar="N", help="how many (default 5)")
    group.add_argument("--arrivals", default="poisson", help="poisson, bursty or constant (default poisson)")
    group.add_argument("--num-requests", type=int, default=300, metavar="N", help="default 300")
    group.add_argument("--steps", type=int, default=28, metavar="N", help="denoising steps (default 28)")
    _add_fault_options(parser)
    _add_bound_options(parser)
    _add_scheduler_settings(parser)


PLAN = """\
Simulate a trace on machines of several sizes under several policies, and answer three questions:

  how many GPUs?     the fewest on which the target share of requests is on time
  which policy?      the one that needs fewest; among equals, the one that allows the tightest deadlines
  which SLO?         the least multiple of the trace's deadlines at which the target is still kept

'on time' is the share at the trace's own deadlines; 'at most' is what no policy can exceed, even if it knew all
arrivals beforehand: below the target, only more GPUs or longer deadlines help.
"""

PLAN_EXAMPLES = """\
examples:
  tetriserve workload --mix skewed --rate 20 --num-requests 1000 --out trace.jsonl
  tetriserve plan --trace trace.jsonl --target-sar 0.99 --chart plan.png
  tetriserve plan --rate 30 --target-sar 0.95 --gpus 8,16 --policy default --json plan.json

A share is as sure as its trace is long: of 300 requests, 0.99 is three late ones, and the next day may have eight.
Plan with a thousand requests or more, at your busiest hour's rate. Numbers of GPUs are powers of two.
"""


def _add_plan(commands: "Commands[Parser]") -> None:
    parser = commands.add_parser(
        "plan",
        help="how many GPUs, which policy, which SLO can be promised",
        description=PLAN,
        epilog=PLAN_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--target-sar", type=float, default=0.99, metavar="X", help="share on time (default 0.99)")
    parser.add_argument("--trace", type=Path, metavar="FILE", help="requests (default: made up, see below)")
    _add_profile_option(parser)
    parser.add_argument("--gpus", default="1,2,4,8,16", metavar="N,...", help="machines to try (default 1,2,4,8,16)")
    parser.add_argument(
        "--policy", default="default,tetriserve,rssp", metavar="NAME,...", help="default: default,tetriserve,rssp"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write answer, rows and every simulation here")
    parser.add_argument("--chart", type=Path, metavar="FILE", help="draw share on time against deadlines: .png or .svg")
    parser.add_argument("--jobs", type=int, default=0, metavar="N", help="processes (default: one a core)")
    parser.add_argument("--noise-cv", type=float, default=0.0, metavar="X", help="variation of step times (default 0)")
    add_workload_options(parser)


def _add_plot(commands: "Commands[Parser]") -> None:
    parser = commands.add_parser(
        "plot",
        help="draw charts of results",
        description="Draw what the files hold. Of a sweep: SLO attainment against SLO scale and against rate, and by "
        "size. Of simulate --schedule: the schedule itself, attainment over time, latencies, degrees over time, sizes. "
        "Of plan: attainment against deadlines, a panel a machine. Of bench: attainment over time, latencies, sizes.",
    )
    parser.add_argument(
        "files", nargs="+", type=Path, metavar="FILE", help="JSON of sweep, simulate --schedule, plan or bench"
    )
    parser.add_argument("--out", type=Path, default=Path("charts"), metavar="DIR", help="default: charts")
    parser.add_argument("--format", default="png,svg", metavar="EXT,...", help="png, svg or both (default both)")
    parser.add_argument("--from-s", type=float, metavar="S", help="the schedule: first second shown (default: busiest)")
    parser.add_argument(
        "--for-s", type=float, default=60.0, metavar="S", help="the schedule: seconds shown (default 60)"
    )


def _add_fault_options(parser: Parser) -> None:
    group = parser.add_argument_group("what goes otherwise than the profile says")
    group.add_argument("--noise-cv", type=float, default=0.0, metavar="X", help="variation of step times (default 0)")
    group.add_argument(
        "--extrapolated", type=float, default=1.0, metavar="X", help="extrapolated times of the profile times X"
    )
    group.add_argument("--failures-per-hour", type=float, default=0.0, metavar="X", help="of workers (default 0)")
    group.add_argument("--recovery-s", type=float, default=10.0, metavar="S", help="until new ones work (default 10)")


def _add_profile_option(parser: Parser) -> None:
    parser.add_argument(
        "--profile",
        metavar="NAME|FILE",
        default="flux1-dev.h100",
        help="step times: a packaged profile or a file (default flux1-dev.h100: ours)",
    )


def _add_machine_options(parser: Parser) -> None:
    _add_profile_option(parser)
    parser.add_argument("--no-timing", action="store_true", help="leave decision times out: equal seeds, equal bytes")
    parser.add_argument("--gpus", type=int, default=8, metavar="N", help="a power of two (default 8)")


def _add_scheduler_settings(parser: Parser) -> None:
    """The same flags as `serve` has; switched off one by one, they are the ablation of the policy tetriserve."""
    add_settings(parser, *(setting.key for setting in declared(SchedulerConfig)))


def add_csv_options(parser: Parser) -> None:
    """Arrivals that come from a file."""
    group = parser.add_argument_group(
        "arrivals from a CSV file",
        "Each row is a request. What has no column comes from the options above; --rate stretches time to that mean. "
        "Alibaba's GenAI trace: --csv lora_request_trace.csv --arrival-column gmt_create "
        "--steps-column num_inference_steps --where predict_type=TXT_2_IMG",
    )
    group.add_argument("--csv", type=Path, metavar="FILE", help="read arrivals from here")
    group.add_argument("--arrival-column", default="arrival_s", metavar="NAME", help="a number or an ISO date and time")
    group.add_argument("--time-unit", default="s", choices=("s", "ms", "us"), help="of arrivals that are numbers")
    group.add_argument("--size-column", metavar="NAME", help="WIDTHxHEIGHT")
    group.add_argument("--width-column", metavar="NAME", help="pixels")
    group.add_argument("--height-column", metavar="NAME", help="pixels")
    group.add_argument("--steps-column", metavar="NAME", help="denoising steps")
    group.add_argument("--prompt-column", metavar="NAME", help="prompt")
    group.add_argument("--where", action="append", default=[], metavar="NAME=VALUE", help="only such rows; repeatable")


def add_workload_options(parser: Parser) -> None:
    """A workload that is made up from a seed."""
    group = parser.add_argument_group("workload")
    group.add_argument(
        "--mix",
        default="uniform",
        help="uniform, skewed, homogeneous:1024 or weights like 256x256=3,1024x1024=1 (default uniform)",
    )
    group.add_argument("--rate", type=float, metavar="X", help="requests per minute (default 12)")
    group.add_argument("--arrivals", default="poisson", help="poisson, bursty or constant (default poisson)")
    group.add_argument("--num-requests", type=int, metavar="N", help="default 300; of a CSV file: all")
    group.add_argument("--steps", type=int, default=28, metavar="N", help="denoising steps (default 28)")
    group.add_argument("--slo-scale", type=float, default=1.0, metavar="X", help="deadlines times X (default 1)")
    group.add_argument("--seed", type=int, default=0, metavar="N", help="same seed, same bytes (default 0)")


def _add_bound_options(parser: Parser) -> None:
    group = parser.add_argument_group("what is possible at all")
    group.add_argument("--bound", action="store_true", help="the clairvoyant bound: a linear programme")
    group.add_argument("--hindsight", action="store_true", help="a tighter one: whole requests, integer programme")
    group.add_argument("--time-limit", type=float, default=60.0, metavar="S", help="of --hindsight (default 60)")
