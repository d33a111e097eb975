"""One file per subcommand, each with one function `run(args)`."""
