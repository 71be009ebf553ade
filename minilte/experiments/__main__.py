"""The paper's claims, measured: python -m minilte.experiments."""

import sys

from minilte.commands.experiments import main

if __name__ == "__main__":
    sys.exit(main())
