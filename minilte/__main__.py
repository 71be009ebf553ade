"""What there is to run: python -m minilte."""

import sys

from minilte import __version__

COMMANDS = {
    "train": "train a network; under mpirun, heads as MPI processes",
    "report": "runs as one page",
    "verify": "the laws of the method, tried on random cases",
    "experiments": "the paper's claims, measured",
    "cost": "memory and traffic before a run",
    "export": "the weights of a run, for other programs",
    "bench": "ratios against other code",
}


def main() -> int:
    """List the commands; returns 2, since none was named."""
    print(f"minilte {__version__}: python -m minilte.COMMAND, with --help for its options", file=sys.stderr)
    for name, words in COMMANDS.items():
        print(f"  {name:12} {words}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
