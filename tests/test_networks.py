import ctypes
import errno
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
from torch import nn

from lesionforge.errors import LesionForgeError, StorageError
from lesionforge.networks import (
    choose_device,
    derived_seed,
    listening,
    load_state,
    load_tensors,
    parameter_count,
    save_tensors,
    seeded,
    torch_generator,
)


def test_a_device_is_chosen_or_refused():
    assert choose_device("cpu") == torch.device("cpu")
    assert choose_device().type == ("cuda" if torch.cuda.is_available() else "cpu")
    for name in ("gpu", "cuda:99", "meta:x"):
        with pytest.raises(LesionForgeError, match="use 'cpu' or 'auto'"):
            choose_device(name)


def test_derived_seeds_depend_on_every_part_and_are_the_same_everywhere():
    assert derived_seed(0, "latent", 1) == 896_786_428_154_918_548
    seeds = {derived_seed(*parts) for parts in ((0, 1), (1, 0), ("01",), (0, 1, ""), (0,), ())}
    assert len(seeds) == 6
    assert all(0 <= seed < 2**63 for seed in seeds)


KEEPING = """
import resource
from pathlib import Path

import torch
from torch import nn

from lesionforge.networks import memory_kept

torch.set_num_threads(1)
network = nn.Sequential(nn.Conv2d(1, 32, 3), nn.ReLU(), nn.Conv2d(32, 32, 3), nn.AdaptiveAvgPool2d(1))


def pages_asked_for():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    network(torch.zeros(32, 1, 64, 64)).mean().backward()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def resident_mib():
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20


with memory_kept():
    steps, kept = [pages_asked_for() for _ in range(12)], resident_mib()
assert sum(steps[6:]) < 0.1 * steps[0], steps  # else about a third of them in every step
assert resident_mib() < kept - 50
"""


@pytest.mark.skipif(
    sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "mallopt"), reason="memory is glibc's to keep"
)
def test_memory_is_kept_between_steps_and_let_go_after_them():
    """In a process of its own, whose heap nobody has used before."""
    done = subprocess.run([sys.executable, "-c", KEEPING], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_seeding_is_undone_after_the_block():
    torch.manual_seed(1)
    expected = torch.rand(2)
    torch.manual_seed(1)
    with seeded("weights", 3):
        first = torch.rand(2)
    assert torch.equal(torch.rand(2), expected)
    with seeded("weights", 3):
        assert torch.equal(torch.rand(2), first)


def test_random_numbers_follow_their_parts():
    drawn = [
        torch.rand(3, generator=torch_generator(torch.device("cpu"), *parts)) for parts in ((1, 2), (1, 2), (2, 1))
    ]
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


def test_parameters_that_are_not_trained_are_not_counted():
    layer = nn.Linear(3, 2)
    assert parameter_count(layer) == 8
    layer.bias.requires_grad_(False)
    assert parameter_count(layer) == 6


def test_tensors_come_back_whatever_their_layout(tmp_path):
    image = torch.rand(2, 3, 4, 5).contiguous(memory_format=torch.channels_last)
    tensors = {"a": image, "b": image, "count": torch.tensor(3)}
    save_tensors(tmp_path / "t.safetensors", tensors)
    found = load_tensors(tmp_path / "t.safetensors")
    assert all(torch.equal(found.pop(name), tensor) for name, tensor in tensors.items())
    assert not found


def test_files_that_are_no_tensors_are_refused(tmp_path):
    file = tmp_path / "t.safetensors"
    with pytest.raises(StorageError):
        load_tensors(file)
    save_tensors(file, {"a": torch.zeros(9)})
    for content in (b"", b"hello", file.read_bytes()[:-1]):
        file.write_bytes(content)
        with pytest.raises(StorageError, match="must be a safetensors file"):
            load_tensors(file)


def test_weights_must_be_exactly_those_of_the_network():
    layer = nn.Linear(3, 2)
    for tensors in ({}, {"weight": torch.zeros(2, 3)}, {"weight": torch.zeros(3, 3), "bias": torch.zeros(2)}):
        with pytest.raises(StorageError, match="do not fit a layer"):
            load_state(layer, tensors, of="a layer")


def test_a_full_disk_keeps_its_number():
    """The number is what `storage` explains a full disk by."""
    if not Path("/dev/full").exists():
        pytest.skip("needs the device that is always full")
    with pytest.raises(OSError, match="No space") as error:
        save_tensors(Path("/dev/full"), {"a": torch.zeros(9)})
    assert error.value.errno == errno.ENOSPC


def test_one_listens_to_its_own_thread_alone():
    layer, heard = nn.Linear(2, 3), []
    rows = {number: torch.ones(number, 2) for number in (1, 2)}

    def listen(number):
        mine = []
        with listening([layer], lambda _layer, inputs, output: mine.append((len(inputs[0]), len(output)))):
            both.wait()
            for _ in range(50):
                layer(rows[number])
            both.wait()
        heard.append((number, set(mine), len(mine)))

    both = threading.Barrier(2)
    threads = [threading.Thread(target=listen, args=(number,)) for number in rows]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(heard) == [(1, {(1, 1)}, 50), (2, {(2, 2)}, 50)]
    layer(rows[1])  # no one listens any more
    assert len(heard) == 2
