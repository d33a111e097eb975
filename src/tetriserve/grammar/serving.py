"""Commands that run a model, and their settings: generate, serve, demo, profile, config."""

from pathlib import Path

from tetriserve.grammar.parser import Commands, Parser
from tetriserve.grammar.settings import add_settings

MODEL_SETTINGS = ("model", "revision", "transformer", "encoders", "lora", "devices", "dtype")
"""What every command reads that runs a model."""


def add_serving_commands(commands: "Commands[Parser]") -> None:
    """Add the grammar of these commands."""
    _add_generate(commands)
    _add_serve(commands)
    _add_demo(commands)
    _add_profile(commands)
    _add_config(commands)


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
    add_settings(parser, *MODEL_SETTINGS)


def _add_serve(commands: "Commands[Parser]") -> None:
    parser = commands.add_parser(
        "serve",
        help="start the HTTP server",
        description="Serve POST /v1/images/generations in the OpenAI shape; `slo_ms` in the body is the deadline.",
    )
    add_settings(parser)


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
    add_settings(parser, without=("host", "port"))


def _add_profile(commands: "Commands[Parser]") -> None:
    parser = commands.add_parser(
        "profile",
        help="measure how long steps take here",
        description="Measure step times at every size and degree, and the stages around them. `serve` finds the "
        "stored result by itself; sizes that are stored and not measured now stay in it.",
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="also write the JSON here")
    parser.add_argument(
        "--extrapolate",
        type=int,
        default=1,
        metavar="N",
        help="in --out, add the degrees up to N that are not to be had here, marked as extrapolated: for simulations",
    )
    parser.add_argument("--repetitions", type=int, default=10, metavar="N", help="chunks per cell (default 10)")
    add_settings(parser, *MODEL_SETTINGS, "sizes")


def _add_config(commands: "Commands[Parser]") -> None:
    parser = commands.add_parser(
        "config",
        help="show all settings and where each comes from",
        description="Print what `serve` with the same options would use, as a TOML file that --config can read, with "
        "the origin of each value. A flag wins over a variable, a variable over the file.",
    )
    parser.add_argument("--reference", action="store_true", help="print what can be set, as in docs/configuration.md")
    add_settings(parser)
