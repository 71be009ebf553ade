"""Methods on one ladder: python -m minilte.compare."""

from minilte.commands.signals import early

early(__name__)  # what follows takes long to import

from minilte.commands.compare import main

if __name__ == "__main__":
    main.exit()
