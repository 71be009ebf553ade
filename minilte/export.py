"""The weights of a run in other formats: python -m minilte.export."""

from minilte.commands.signals import early

early(__name__)  # what follows takes long to import

from minilte.commands.export import main

if __name__ == "__main__":
    main.exit()
