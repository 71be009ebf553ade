"""Topologies as settings: the meeting that each stands for, and which methods go with it."""

import pytest
from tiny import config

from minilte.comm.meetings import EVERYONE, MASTER
from minilte.core.errors import BadInput

NAMES = ("default", "auto", "allgather", "allreduce", "server")
METHODS = ("lte", "full", "lora", "mhlora", "fedavg", "diloco", "fedit", "fedex")


@pytest.mark.parametrize(
    ("name", "meeting", "sums"),
    [
        ("default", EVERYONE, False),
        ("allgather", EVERYONE, False),
        ("allreduce", EVERYONE, True),
        ("server", MASTER, False),
    ],
)
def test_every_topology_has_its_meeting(name, meeting, sums):
    topology = config(topology=name).topology
    assert (topology.meeting, topology.sums, topology.quorum) == (meeting, sums, 0)
    assert topology.among(config(topology=name)) == ()


REFUSED = {  # topology -> methods that it does not go with
    "auto": {"full", "lora", "mhlora", "fedavg", "diloco", "fedit"},
    "allgather": {"full", "lora", "mhlora", "fedavg", "diloco", "fedit"},
    "allreduce": {"fedex"},
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("method", METHODS)
def test_a_topology_goes_with_the_methods_that_say_what_it_carries(name, method):
    if method not in REFUSED.get(name, ()):
        assert config(method=method, topology=name).topology.name == name
        return
    needs = "a method whose merge needs sums alone" if name == "allreduce" else "a method that merges factors"
    with pytest.raises(BadInput, match=f"topology {name}: needs {needs}"):
        config(method=method, topology=name)


def test_codes_need_a_master_where_nothing_else_is_asked_for():
    for name, plain in (("default", ()), ("auto", ("allgather", "allreduce", "server"))):
        assert config(topology=name).topology.among(config(topology=name)) == plain
        coded = config(topology=name, quant="nf4")
        assert coded.topology.among(coded) == ("server",)
    with pytest.raises(BadInput, match="what every head sends"):
        config(topology="allreduce", quant="nf4")


def test_a_quorum_needs_a_guard_that_leaves_heads_out_and_not_more_heads_than_there_are():
    assert config(topology="server", bad_heads="skip", quorum=2).topology.quorum == 2
    for guard in ("stop", None):
        with pytest.raises(BadInput, match="needs --bad-heads skip or clip"):
            config(topology="server", quorum=1, **({"bad_heads": guard} if guard else {}))
    with pytest.raises(BadInput, match="quorum: expected at most the 2 heads"):
        config(topology="server", bad_heads="skip", quorum=3)
    with pytest.raises(BadInput, match="grace: expected a --quorum"):
        config(topology="server", grace=1.0)
