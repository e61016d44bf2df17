import pytest
import torch

from lesionforge.errors import LesionForgeError
from lesionforge.tasks.running import Running


def test_gpus_cores_and_memory_are_shared_out(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert Running(0).at_once == 2
    assert Running(0).resources.gpus == 1
    assert Running(4).resources.gpus == 0.5
    assert Running(0, gpus=1).at_once == 1
    with pytest.raises(LesionForgeError, match="2 GPUs here, but 3"):
        Running(gpus=3)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr("lesionforge.tasks.running.cores", lambda: 8)
    assert Running(0, cpus_per_task=2).at_once == 4
    assert Running(0, cpus_per_task=99).at_once == 1
    assert Running(3).resources.gpus == 0
