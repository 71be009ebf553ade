"""Who receives what at a merge, as settings: see `comm.meetings`."""

from minilte.comm.meetings import EVERYONE, MASTER
from minilte.core.errors import BadInput
from minilte.settings.knob import knob
from minilte.settings.part import part


def coded(config) -> bool:
    """Do the workers hold W as codes? Then none of them can merge."""
    return "quant" in config.parts and config.quant.coded


def itself(topology, config) -> tuple[str, ...]:
    """It stands for no other topologies."""
    return ()


@part("topology", "default", gives={"each", "codes"})
class Default:
    """An all-gather of all heads, or their sum where that is enough; a master where W is quantized."""

    meeting, sums, quorum = EVERYONE, False, 0

    def among(self, config) -> tuple[str, ...]:
        return ("server",) if coded(config) else ()


@part("topology", "auto", needs={"factors"}, gives={"each", "codes"})
class Auto:
    """The fewest bytes with a head on every process: by the heads, so that processes do not change a run's numbers."""

    quorum = 0

    def among(self, config) -> tuple[str, ...]:
        return ("server",) if coded(config) else ("allgather", "allreduce", "server")


@part("topology", "allgather", needs={"factors"}, gives={"each", "codes"})
class Allgather:
    """Every process gets every head's factors and makes the same merge."""

    meeting, sums, quorum, among = EVERYONE, False, 0, itself


@part("topology", "allreduce", needs={"sums"})
class Allreduce:
    """Dense changes or gradients are added in head order, slice by slice."""

    meeting, sums, quorum, among = EVERYONE, True, 0, itself


@part("topology", "server", gives={"each", "codes"}, because="quorum")
class Server:
    """A master on process 0 gathers all heads, merges, and broadcasts a view."""

    quorum: int = knob(0, "heads that suffice for a merge; who misses it is left out; 0: all", least=0, most=100_000)
    grace: float = knob(5.0, "seconds to wait for the others once a quorum is there", least=0.0, most=1e6)

    meeting, sums, among = MASTER, False, itself

    @property
    def needs(self):
        return frozenset({"leaves out"} if self.quorum else ())

    def check(self):
        if not self.quorum and self.grace != 5.0:
            raise BadInput("grace: expected a --quorum, without which all are waited for")

    def check_with(self, config):
        if self.quorum > config.heads:
            raise BadInput(f"quorum: expected at most the {config.heads} heads there are, got {self.quorum}")
