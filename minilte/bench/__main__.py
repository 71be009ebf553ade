"""Ratios against other code: python -m minilte.bench."""

from minilte.commands.signals import early

early(__name__)  # what follows takes long to import

from minilte.commands.bench import main

if __name__ == "__main__":
    main.exit()
