"""Runs as one page: python -m minilte.report."""

from minilte.commands.signals import early

early(__name__)  # what follows takes long to import

from minilte.commands.report import main

if __name__ == "__main__":
    main.exit()
