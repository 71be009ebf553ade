"""What methods send: bytes counted on processes played by threads, held to the closed forms, and the bits beside."""

from collections import Counter

from minilte.comm import threads
from minilte.comm.buffers import cat, kinds
from minilte.comm.communicator import Communicator
from minilte.comm.meetings import EVERYONE, MASTER
from minilte.core import tree
from minilte.core.method import rounds
from minilte.cost.meetings import merge_bytes

MEETINGS = {"everyone": EVERYONE, "master": MASTER}
PROCESSES = (1, 2, 3, 5)


def trained(method, meeting, heads, processes, steps):
    """Of every process the bits and losses of every merge (the bits of process 0 alone), and what it sent by kind."""

    def work(transport):
        comm, along = Communicator(transport, heads), []
        for done in rounds(method, comm, meeting, method.begin(), [method.enter(n) for n in comm.mine], steps):
            weights = tree.leaves(method.weights(done.main)) if comm.process == 0 else []
            along.append((cat(weights).tobytes(), done.losses))
        return along, comm.sent

    return threads.run(processes, work)


def total(sent):
    """kind -> bytes over all processes, headers left out."""
    every = {kind for one in sent for kind, size in one.items() if size and kind != "headers"}
    return {kind: sum(one[kind] for one in sent) for kind in every}


def expected(method, meeting, heads, processes, steps):
    """kind -> bytes by the closed forms: of every merge up to `steps`, and under a master of the first view."""
    first = kinds(method.frame()) if meeting is MASTER else {}
    sizes = Counter({kind: (processes - 1) * size for kind, size in first.items()})
    for step in merges(method, steps):
        sizes.update(merge_bytes(method, meeting, method.begin(), heads, processes, step))
    return {kind: size for kind, size in sizes.items() if size}


def merges(method, steps):
    """The steps after which a run of so many merges; a method may say more at some than at others."""
    return [min(start + method.every, steps) for start in range(0, steps, method.every)]


def assert_the_same_anywhere(method, heads, steps, meetings=MEETINGS):
    """The same bits on any number of processes and by any meeting, and the bytes of the closed forms."""
    ((alone, _),) = trained(method, EVERYONE, heads, 1, steps)
    for meeting in meetings.values():
        for processes in PROCESSES:
            everyone = trained(method, meeting, heads, processes, steps)
            assert everyone[0][0] == alone
            assert all([losses for _, losses in along] == [losses for _, losses in alone] for along, _ in everyone)
            assert total([sent for _, sent in everyone]) == expected(method, meeting, heads, processes, steps)
