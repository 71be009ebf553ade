"""Try the laws of the method on random cases: python -m minilte.verify."""

from minilte.commands.signals import early

early(__name__)  # what follows takes long to import

from minilte.commands.verify import main

if __name__ == "__main__":
    main.exit()
