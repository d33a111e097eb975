"""`python -m tetriserve`."""

from tetriserve.cli import main

main()
