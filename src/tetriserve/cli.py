"""The command line: `grammar` says what can be typed; work is done in `commands`, imported when needed."""

import argparse
import importlib
import logging
import sys

from tetriserve.core.errors import ConfigurationError, InvalidRequestError, TetriServeError
from tetriserve.grammar.bench import add_bench_command
from tetriserve.grammar.evaluate import add_evaluate_command
from tetriserve.grammar.laboratory import add_laboratory_commands
from tetriserve.grammar.parser import Parser, fail
from tetriserve.grammar.serving import add_serving_commands

DESCRIPTION = "Serve diffusion transformers by their deadlines: degrees of parallelism change between steps."
EXAMPLES = """\
examples:
  tetriserve generate "a red apple" --out apple.png     one image, no server
  tetriserve demo                                       a server under a mixed load, and how it went
  tetriserve serve --port 8000                          the OpenAI Images API with deadlines
  tetriserve serve --model /models/FLUX.1-dev --devices cuda
  tetriserve simulate --policy rssp,default --bound     policies against each other and the possible; no GPU
"""


def main(argv: list[str] | None = None) -> None:
    """Entry point. Exits with 0, with 2 on bad input, with 1 when the work failed, with 130 on Ctrl-C."""
    args = build_parser().parse_args(argv)
    logging.basicConfig(
        level=logging.DEBUG if args.verbose else logging.WARNING,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    try:
        importlib.import_module(f"tetriserve.commands.{args.command}").run(args)
    except (InvalidRequestError, ConfigurationError) as error:
        fail(str(error))
    except (TetriServeError, OSError) as error:
        fail(str(error), 1)
    except KeyboardInterrupt:
        sys.exit(130)


def build_parser() -> Parser:
    """The whole grammar."""
    parser = Parser(
        prog="tetriserve",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--verbose", action="store_true", help="log what is decided and done")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    add_serving_commands(commands)
    add_bench_command(commands)
    add_laboratory_commands(commands)
    add_evaluate_command(commands)
    return parser
