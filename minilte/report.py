"""Runs as one page: python -m minilte.report."""

import sys

from minilte.commands.report import main

if __name__ == "__main__":
    sys.exit(main())
