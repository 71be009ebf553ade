"""What a run remarks on, and what it keeps to itself."""

import tiny

from minilte.job import job, remarks
from minilte.run.build import make_method
from minilte.run.observe import Record


def test_a_run_that_was_better_before_says_so():
    said, seen = [], [Record(step, 8 * step, 0.1, [1.0], 1.0, loss) for step, loss in ((0, 2.0), (2, 1.0), (4, 1.2))]
    remarks.of_a_better(seen, said.append)
    assert said == [
        "note: the held-out loss was 1.0000 at step 2 and is 1.2000 now; the best checkpoint is kept in ckpt"
    ]
    remarks.of_a_better(seen[:2], said.append)
    remarks.of_a_better([], said.append)
    assert len(said) == 1


def test_processes_without_heads_are_missed_by_nobody():
    session = tiny.session(heads=3, batch=9)
    session.comm.blocks = [range(0, 2), range(2, 3), range(3, 3)]
    session.comm.transport.late, said = {1, 2}, []
    late = remarks.of_the_late(frozenset(), session, 4, said.append)
    assert said == ["note: process 1 (head 2) missed the merge at step 4"] and late == {1, 2}


def test_a_late_process_is_named_with_its_first_and_its_last_head():
    session = tiny.session(heads=5, batch=15)
    session.comm.blocks = [range(0, 3), range(3, 5)]
    session.comm.transport.late, said = {1}, []
    late = remarks.of_the_late(frozenset(), session, 4, said.append)
    session.comm.transport.late = {0}
    remarks.of_the_late(late, session, 6, said.append)
    assert said == [
        "note: process 1 (heads 3 to 4) missed the merge at step 4",
        "note: process 0 (heads 0 to 2) missed the merge at step 6",
        "note: process 1 (heads 3 to 4) is back, in time for the merge at step 6",
    ]


def test_a_leap_is_told_against_the_largest_round_before():
    records = [
        Record(2 * i, 8 * i, 0.1, [1.0], 1.0, 1.0, update_norm=norm) for i, norm in enumerate([None, 2.0, 1.0, 30.0])
    ]
    said, seen = [], []
    for record in records:
        remarks.of_health(seen, record, 8, said.append)
    assert seen == records
    assert said == ["note: the weights moved by 30 in the round before step 6, 15 times as far as ever before"]


def test_a_leap_of_the_weights_is_said(tmp_path):
    settings, said = dict(steps=40, eval_every=2, optimizer="sgd", alpha=2.0, lr=1e-3), []
    tiny.begin(tmp_path / "run", **settings)
    session = tiny.session(**settings)
    wild = session.built.task._replace(rate=lambda step: 1e-3 * (30 if step >= 30 else 1))
    method = make_method(session.config, wild)
    session = session._replace(built=session.built._replace(task=wild, method=method))
    job.run(tmp_path / "run", session, job.Watch(said.append, lambda *_: None, lambda: 0))
    assert ["step 32" in line for line in said if "as far as ever before" in line] == [True]
