"""A run with a quorum: who misses a merge is left out of it, and all that is said of the run stays true."""

import threading

import numpy as np
import pytest
import tiny

from minilte.comm import threads
from minilte.commands import train
from minilte.core import tree
from minilte.core.errors import BadInput
from minilte.job import elastic, job
from minilte.run.session import advance, first_state

RUN = dict(heads=3, batch=9, steps=20, bad_heads="skip", topology="server", quorum=2, grace=0.0, dtype="float64")
LATE, AWAY, BACK = 2, 8, 14  # the process, and the steps after which it is away and back


def a_stall(resume=True, **changes):
    """By process: (session, [(record, state, shown)]), of a run in which one stops for some merges, or for good."""
    away = threading.Event()

    def work(transport):
        (session, views), seen = viewed(tiny.session(transport, **RUN | changes)), []
        processes = session.comm.transport
        processes.grace = 60.0  # until someone is to be missed
        for record, state in advance(session, first_state(session)):
            seen.append((record, state, views[-1] if views else None))
            if transport.process == LATE and record.step == AWAY:
                away.wait(60)
                if not resume:
                    break
            if transport.process == 0 and record.step == AWAY:
                processes.grace = 0.0
            if transport.process == 0 and record.step == BACK and resume:
                processes.grace = 60.0
                away.set()
                transport.wait(lambda: transport.letters[LATE, 0])
        away.set()
        return session, seen

    return threads.run(3, work)


def viewed(session):
    """The same session, and all that its heads will see of the main state, one view after the other."""
    views, method = [], session.built.method

    def view(*given):
        views.append(method.view(*given))
        return views[-1]

    return session._replace(built=session.built._replace(method=method._replace(view=view))), views


KINDS = {"lte": {}, "reset": dict(reset="ab"), "momentum": dict(reset_optimizer=True, momentum=0.9, optimizer="sgd", alpha=2.0),
         "nf4": dict(quant="nf4", quant_block=16), "frozen": dict(replicas="frozen", bad_heads="clip")}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_the_records_say_who_was_left_out_and_the_others_train_on(kind):
    (_, seen), *_ = a_stall(**KINDS[kind])
    for record, *_ in seen[1:]:
        absent = AWAY < record.step <= BACK + 2  # at the last of these it is heard of, and sits it out
        assert (record.losses[LATE] is None) == absent and None not in record.losses[:LATE]
        assert (record.trust or {}).get(str(LATE)) == (0.0 if absent else None)


def test_a_late_process_takes_no_steps_for_merges_that_are_over():
    (_, late) = a_stall()[LATE]
    loss = {record.step: state.heads[0].loss for record, state, _ in late}
    stale = loss[AWAY + 2]  # of the round it came late with
    assert all(loss[step] == stale for step in range(AWAY + 4, BACK + 3, 2))
    assert stale not in (loss[AWAY], loss[BACK + 4])


@pytest.mark.parametrize("kind", ["lte", "nf4", "frozen", "momentum"])
def test_the_sum_telescopes_over_what_was_merged(kind):  # law L1, its second form
    (session, seen), *others = a_stall(**KINDS[kind])
    start, scale = session.built.task.weights, session.config.alpha / session.config.rank
    for _, state, _ in seen[1:]:
        main = state.main.main  # inside the guard
        for name, layer in main.weights.items():
            moved = sum(scale / 3 * V[name].B @ V[name].A for V in main.then)
            np.testing.assert_allclose(layer.W, start[name].W + moved, rtol=0, atol=1e-12)  # rounding of ten merges
    for n, (_, theirs) in enumerate(others, 1):  # and every process knows its own V
        assert_same(theirs[-1][2].main.then[n], seen[-1][1].main.main.then[n])


def assert_same(a, b):
    """Equal trees, bit by bit."""
    a, b = dict(tree.named(a)), dict(tree.named(b))
    assert a.keys() == b.keys() and all(np.array_equal(a[path], b[path]) for path in a)


@pytest.mark.parametrize("kind", KINDS)
def test_a_checkpoint_has_the_late_heads_as_they_will_be(kind):
    (session, seen), _, (_, late) = a_stall(**KINDS[kind])
    (_, state, _), (_, theirs, shown) = (
        next(one for one in run if one[0].step == BACK - session.config.merge_every) for run in (seen, late)
    )
    known, own = job.left_out(session, state, LATE)[0], theirs.heads[0]
    assert_same(known.now, own.now)
    assert_same(known.opt, own.opt)
    V, theirs_V = (main.then and main.then[LATE] for main in (state.main.main, shown.main))
    assert_same(V, theirs_V)
    assert (V is None) == (kind == "reset")
    biases = {name: layer.c for name, layer in state.main.main.weights.items()}  # it will hear of them first
    assert known.replica.keys() == own.replica.keys() == (set() if kind == "frozen" else biases.keys())
    assert_same({name: replica.c for name, replica in known.replica.items()}, {n: biases[n] for n in known.replica})


BASED = {
    "whole": dict(wire="full"),
    "thin": dict(wire="bfloat16"),
    "at home": dict(send_momentum=False, wire="bfloat16"),
}


@pytest.mark.parametrize("kind", BASED)
def test_a_checkpoint_has_late_heads_of_the_shared_basis_as_they_will_be(kind):
    """Also what they have still to send of their factors."""
    settings = dict(method="shared-basis", basis_rank=2, keep_basis=100) | BASED[kind]
    (session, seen), (_, present), (_, late) = a_stall(**settings)
    for record, *_ in seen[1:]:
        absent = AWAY < record.step <= BACK + 2
        assert (record.trust or {}).get(str(LATE)) == (0.0 if absent else None)
    (_, state, _), (_, theirs, _), (_, others, _) = (
        next(one for one in run if one[0].step == BACK - session.config.merge_every) for run in (seen, late, present)
    )
    known, own = (dict(tree.named(head)) for head in (job.left_out(session, state, LATE)[0], theirs.heads[0]))
    assert known.keys() == own.keys()
    for path in known:  # but for its last loss, and the newest biases, of which it will hear first
        assert np.array_equal(known[path], own[path]) or path.endswith("loss") or "replica" in path, path
    if kind != "whole":
        assert others.heads[0].owed.any() and not theirs.heads[0].owed.any()


def test_a_process_that_never_comes_back_does_not_keep_the_others_from_the_end():
    (_, seen), *_ = a_stall(resume=False)
    assert seen[-1][0].step == RUN["steps"] and seen[-1][0].trust == {str(LATE): 0.0}


def test_a_run_is_saved_and_stopped_without_a_late_process_and_goes_on_with_all(tmp_path):
    path, ended = tmp_path / "run", threading.Event()

    def work(transport):
        session, said, calls = job.opened(tiny.config(**RUN, save_every=6), transport), [], []
        job.begin(path, session.config, transport)
        processes = session.comm.transport
        processes.grace = 60.0

        def wish():  # asked after every merge, and at step 0
            calls.append(1)
            if transport.process == LATE and len(calls) == 1 + AWAY // 2:
                ended.wait(60)
            if transport.process == 0 and len(calls) == 1 + AWAY // 2:
                processes.grace = 0.0
            return 15 if transport.process == 0 and len(calls) == 1 + BACK // 2 else 0

        try:
            done = job.run(path, session, job.Watch(said.append, lambda *_: None, wish))
        except threading.BrokenBarrierError:
            return None
        if transport.process == 0:
            transport.barrier.abort()  # nobody is left to answer the late one
            ended.set()
        return done, said

    (done, said), _, late = threads.run(3, work)
    assert done == job.Stopped(15, BACK + 2) and late is None
    assert said == [f"note: process {LATE} (head {LATE}) missed the merge at step {AWAY + 2}"]
    assert tiny.steps_saved(path)[-1] == done.step
    assert tiny.go_on(path)["steps"] == RUN["steps"]


def test_a_run_goes_on_with_fewer_heads_than_its_quorum():
    assert elastic.with_heads(tiny.config(**RUN), 1).quorum == 1


def test_the_wait_for_late_heads_ends_before_that_for_a_hung_process(tmp_path, capsys):
    flags = tiny.flags(topology="server", bad_heads="skip", quorum=1, grace=4.0)
    assert train.main([*flags, "--patience=4", f"--out={tmp_path / 'run'}"]) == 2
    assert "patience: expected more than the --grace of 4 s, got 4" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("given", "word"),
    [
        (dict(quorum=3), "^quorum: belongs to --topology server"),
        (dict(quorum=3, topology="server"), "^quorum: needs --bad-heads skip or clip"),
        (dict(quorum=9, topology="server", bad_heads="skip"), "8 heads"),
        (dict(quorum=3, topology="allgather", bad_heads="skip"), "^quorum: belongs to --topology server"),
        (dict(quorum=3, topology="server", bad_heads="skip", versus="full"), "^versus: "),
        (dict(grace=1.0, topology="server"), "^grace: expected a --quorum"),
        (dict(quorum=3, topology="server", method="full"), "^quorum: needs --bad-heads skip or clip"),
    ],
)
def test_what_a_quorum_cannot_go_with_is_refused(given, word):
    with pytest.raises(BadInput, match=word):
        tiny.config(**dict(heads=8, batch=16) | given)
