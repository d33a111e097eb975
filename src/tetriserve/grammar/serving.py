"""Commands that run a model: generate, serve, demo, profile."""

from pathlib import Path

from tetriserve.grammar.parser import Commands, Parser


def add_serving_commands(commands: "Commands[Parser]") -> None:
    """Add the grammar of these commands."""
    _add_generate(commands)
    _add_serve(commands)
    _add_demo(commands)
    _add_profile(commands)


def _add_generate(commands: "Commands[Parser]") -> None:
    parser = commands.add_parser(
        "generate", help="make images without a server", description="Make images of a prompt and save them as PNG."
    )
    parser.add_argument("prompt", help="what to draw, like 'a red apple'")
    parser.add_argument("--size", default="auto", metavar="WxH", help="pixels, multiples of 16 (default: the model's)")
    parser.add_argument("--steps", type=int, dest="num_inference_steps", metavar="N", help="denoising steps")
    parser.add_argument("--seed", type=int, metavar="N", help="same seed, same image (default: drawn at random)")
    parser.add_argument("--guidance-scale", type=float, metavar="X", help="how closely to follow the prompt")
    parser.add_argument("--negative-prompt", default="", metavar="TEXT", help="what to avoid")
    parser.add_argument("-n", type=int, default=1, metavar="N", help="images, with seeds SEED, SEED+1, ... (default 1)")
    parser.add_argument("--out", type=Path, default=Path("image.png"), metavar="FILE", help="default: image.png")
    _add_engine_options(parser, default_devices="one GPU, else cpu:1")


def _add_serve(commands: "Commands[Parser]") -> None:
    parser = commands.add_parser(
        "serve",
        help="start the HTTP server",
        description="Serve POST /v1/images/generations in the OpenAI shape; `slo_ms` in the body is the deadline.",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this machine only)")
    parser.add_argument("--port", type=int, default=8000, help="0 takes any free port (default 8000)")
    _add_serving_options(parser)


def _add_demo(commands: "Commands[Parser]") -> None:
    parser = commands.add_parser(
        "demo",
        help="serve a mixed load and show how it went",
        description="Start a server, send twelve requests of mixed sizes with deadlines over HTTP, and print what "
        "each one got beside what other policies would have reached.",
    )
    parser.add_argument("--out", type=Path, default=Path("out/demo"), metavar="DIR", help="where the images go")
    parser.add_argument("--seed", type=int, default=26, help="of the workload (default 26)")
    parser.add_argument(
        "--load", type=float, default=0.8, metavar="X", help="offered work over the machine's capacity (default 0.8)"
    )
    parser.add_argument("--compare", action="store_true", help="also serve it with the other policies")
    _add_serving_options(parser)


def _add_profile(commands: "Commands[Parser]") -> None:
    parser = commands.add_parser(
        "profile",
        help="measure how long steps take here",
        description="Measure step times at every size and degree, and the stages around them. `serve` finds the "
        "stored result by itself.",
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="also write the JSON here")
    parser.add_argument("--repetitions", type=int, default=10, metavar="N", help="chunks per cell (default 10)")
    _add_engine_options(parser)
    _add_sizes_option(parser)


def _add_engine_options(parser: Parser, default_devices: str = "all GPUs, else cpu:2") -> None:
    group = parser.add_argument_group("model and devices")
    group.add_argument(
        "--model", metavar="DIR", help="a directory in the diffusers layout (default: the embedded model)"
    )
    group.add_argument(
        "--devices",
        default="auto",
        metavar="KIND[:N]",
        help=f"cpu:N or cuda or cuda:N (default: {default_devices})",
    )
    group.add_argument(
        "--dtype", default="auto", choices=("auto", "float32", "bfloat16"), help="default: bfloat16 on GPUs"
    )


def _add_serving_options(parser: Parser) -> None:
    _add_engine_options(parser)
    _add_sizes_option(parser)
    group = parser.add_argument_group("scheduling")
    group.add_argument(
        "--policy",
        default="default",
        help="default (ours), tetriserve (the paper's), edf, rssp, fixed-spK with K = 1, 2, 4, 8, others in "
        "docs/policies.md, or your own as package.module:factory (default: default)",
    )
    group.add_argument(
        "--round-s",
        type=float,
        metavar="S",
        help="tetriserve's round (default: five steps of the largest size)",
    )
    group.add_argument(
        "--slo",
        metavar="WxH=S,...",
        help="deadlines in seconds of requests that name none, interpolated in between, and never less than 1.5 times "
        "the fastest possible (default: 256x256=1.5,512x512=2,1024x1024=3,2048x2048=5)",
    )
    group.add_argument(
        "--profile", type=Path, metavar="FILE", help="step times (default: the stored ones, or measured at start)"
    )


def _add_sizes_option(parser: Parser) -> None:
    parser.add_argument(
        "--sizes", metavar="WxH,...", help="sizes to measure; the largest is the limit (default: the model's own)"
    )
