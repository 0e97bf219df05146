"""``export``: the trained model of a run, as weights and config."""

from __future__ import annotations

from thermo_pl.cli.words import Parser


def run(args: list[str]) -> int:
    """Write the model, and print where.

    Args:
        args: the words of the command line, the command first.

    Returns:
        0; every failure is an exception.

    Raises:
        ConfigError: for a mistake in the words, or a run without a model.
    """
    parser = Parser("export", "Write the trained model of a run: model.safetensors, config.yaml.")
    parser.add_argument("run", metavar="RUN", help="a run directory")
    parser.add_argument("--to", metavar="DIRECTORY", required=True, help="where to")
    parser.add_argument("--checkpoint", metavar="FILE", help="which one; the newest if not given")
    given = parser.parse_args(args[1:])
    from thermo_pl.runs.trained import export  # after a mistake in the words: it loads torch

    print(f"model  {export(given.run, given.to, given.checkpoint)}")
    return 0
