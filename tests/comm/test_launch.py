"""What is looked at before MPI starts."""

import os
from collections import namedtuple

import pytest

from minilte.comm import launch
from minilte.core.errors import BadInput


def test_too_little_shared_memory_is_named_before_mpi_ends_in_a_bus_error(tmp_path, monkeypatch):
    (tmp_path / "left").touch()
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(launch.shutil, "disk_usage", lambda place: usage(int(8e6)))
    with pytest.raises(BadInput, match="8 MB are free, 3 processes need up to 12; it holds 1 files"):
        launch.refuse_full_memory(3, tmp_path)
    assert launch.refuse_full_memory(2, tmp_path) is None
    assert launch.refuse_full_memory(3, tmp_path / "nowhere") is None


@pytest.mark.parametrize(
    ("name", "yes"), [("PMI_SIZE", True), ("OMPI_COMM_WORLD_SIZE", True), ("SLURM_STEP_ID", True), ("HOME", False)]
)
def test_a_launcher_is_known_by_its_variables(monkeypatch, name, yes):
    for other in [other for other in os.environ if other.startswith(launch.MARKS)]:
        monkeypatch.delenv(other)
    monkeypatch.setenv(name, "1")
    assert launch.launched() is yes and (launch.promised()[0] >= 1)


def test_a_job_needs_an_mpirun(monkeypatch):
    monkeypatch.setattr(launch.shutil, "which", lambda *_, **__: None)
    with pytest.raises(BadInput, match="no mpirun is on PATH"):
        launch.job(2, "minilte.train")
    monkeypatch.setattr(launch.shutil, "which", lambda *_, **__: "/bin/mpirun")
    assert launch.job(2, "minilte.train")[:3] == ["/bin/mpirun", "-n", "2"]
