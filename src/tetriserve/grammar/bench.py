"""`tetriserve bench`: a load on a server, or one step on this machine's GPUs."""

from pathlib import Path

from tetriserve.grammar.laboratory import add_csv_options, add_workload_options
from tetriserve.grammar.parser import Commands, Parser
from tetriserve.stepbench.cells import CONTENDERS

STEP_SIZES = "256x256,512x512,1024x1024,2048x2048"


def add_bench_command(commands: "Commands[Parser]") -> None:
    """Add the grammar of `bench` and what it can measure."""
    parser = commands.add_parser("bench", help="measure a server under load, or single steps", description="Measure.")
    kinds = parser.add_subparsers(dest="kind", required=True, metavar="WHAT")
    _add_serve(kinds)
    _add_step(kinds)


def _add_serve(kinds: "Commands[Parser]") -> None:
    parser = kinds.add_parser(
        "serve",
        help="open-loop load on any image server in OpenAI's shape",
        description="Send a workload to POST /v1/images/generations of a server (this one, vLLM-Omni, SGLang, others), "
        "each request at its own time whatever became of the others. Latency counts from that time.",
    )
    parser.set_defaults(command="bench_serve")
    _add_server_options(parser)
    group = parser.add_argument_group("results")
    group.add_argument("--name", metavar="TEXT", help="of the run (default: the server's policy, else its model)")
    group.add_argument("--json", type=Path, metavar="FILE", help="write totals and every request here")
    group.add_argument("--plots", type=Path, metavar="DIR", help="draw charts there")
    group.add_argument(
        "--compare", type=Path, nargs=2, metavar="FILE", help="send nothing; show two results beside each other"
    )
    parser.add_argument("--trace", type=Path, metavar="FILE", help="requests (default: made up, see below)")
    parser.add_argument(
        "--slo", metavar="WxH=S,...", help="deadlines by size, times --slo-scale (default: the trace's, or the paper's)"
    )
    add_workload_options(parser)
    add_csv_options(parser)


def _add_step(kinds: "Commands[Parser]") -> None:
    parser = kinds.add_parser(
        "step",
        help="one denoising step beside other engines, on GPUs",
        description="Time single steps of FLUX.1-dev with random weights: this engine, diffusers, xDiT, and the floor.",
    )
    parser.set_defaults(command="bench_step")
    parser.add_argument("--sizes", default=STEP_SIZES, metavar="WxH,...", help=f"default {STEP_SIZES}")
    parser.add_argument("--gpus", default="1", metavar="N,...", help="powers of two (default 1)")
    parser.add_argument("--contenders", default=",".join(CONTENDERS), metavar="NAME,...", help="default: all")
    parser.add_argument("--steps", type=int, default=20, metavar="N", help="timed steps of each (default 20)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results here")


def _add_server_options(parser: Parser) -> None:
    group = parser.add_argument_group("server")
    group.add_argument("--url", default="http://127.0.0.1:8000", help="default: http://127.0.0.1:8000")
    group.add_argument("--model", metavar="NAME", help="default: the first that the server lists, if it does")
    group.add_argument("--api-key-file", type=Path, metavar="FILE", help="sent as bearer (or OPENAI_API_KEY)")
    group.add_argument("--extra-body", metavar="JSON", help="an object whose fields are added to every body")
    group.add_argument("--no-slo", action="store_true", help="do not tell the server the deadlines")
    group.add_argument("--wait-s", type=float, default=0.0, metavar="S", help="for the server to be up (default 0)")
    group.add_argument("--warm-up", type=int, default=1, metavar="N", help="requests of each size first (default 1)")
    group.add_argument(
        "--max-connections", type=int, default=1024, metavar="N", help="who finds none waits, and late (default 1024)"
    )
    group.add_argument(
        "--timeout-s", type=float, default=3600.0, metavar="S", help="after the intended start (default 3600)"
    )
