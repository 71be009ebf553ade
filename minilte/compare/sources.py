"""The data of a ladder's runs: read once, and standardised once for all runs that hold out the same rows."""

from minilte.data.border import admitted
from minilte.data.dataset import Dataset, prepared
from minilte.run.inputs import sha256
from minilte.settings.config import Config


class Sources:
    """What the settings name, or a data set of the caller's. All runs have the same test rows, unless the seed draws the problem."""

    def __init__(self, given: Dataset | None = None):
        self.given = given
        self.read: dict[tuple, tuple[Dataset, str]] = {}
        self.made: dict[tuple, Dataset] = {}

    def raw(self, config: Config) -> tuple[Dataset, str]:
        """(the data as they were read, their SHA-256). Raises BadInput."""
        place = (self.given is not None or config.data, config.seed if config.data.drawn else 0)
        if place not in self.read:
            data = admitted(self.given if self.given is not None else config.data.load(place[1]))
            self.read[place] = data, sha256(data)
        return self.read[place]

    def of(self, config: Config) -> tuple[Dataset, str]:
        """(the data as the run takes them, their SHA-256 as they were read). Raises BadInput."""
        data, source = self.raw(config)
        place = (source, config.dtype, config.validate, config.validate and config.seed)
        if place not in self.made:
            if not config.validate:  # rows that the caller holds out are for tuning alone
                data = data._replace(x_valid=None, y_valid=None)
            self.made[place] = prepared(data, config.dtype, config.seed, config.validate)
        return self.made[place], source
