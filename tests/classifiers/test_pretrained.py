import hashlib
import pickle
import urllib.error

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from lesionforge.classifiers import pretrained
from lesionforge.classifiers.pretrained import imagenet_weights, put_in, read_weights
from lesionforge.errors import LesionForgeError, StorageError


class Small(nn.Module):
    """Something with a norm, and a dense layer at its end."""

    def __init__(self, classes=2, width=4):
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 3)
        self.bn1 = nn.BatchNorm2d(width)
        self.fc = nn.Linear(width, classes)


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


@pytest.fixture
def weights():
    torch.manual_seed(0)
    return {name: torch.rand(tensor.shape) for name, tensor in Small(classes=1000).state_dict().items()}


@pytest.mark.parametrize("wrap", [lambda w: w, lambda w: {"epoch": 3, "arch": "resnet-50", "state_dict": w}])
@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("legacy", [False, True])
def test_files_of_torch_are_read_however_they_are_wrapped(weights, tmp_path, wrap, prefix, legacy):
    named = {prefix + name: tensor for name, tensor in weights.items()}
    torch.save(wrap(named), tmp_path / "w.pth", _use_new_zipfile_serialization=not legacy)
    assert same(read_weights(tmp_path / "w.pth"), weights)


def test_safetensors_are_read(weights, tmp_path):
    save_file(weights, tmp_path / "w.safetensors")
    assert same(read_weights(tmp_path / "w.safetensors"), weights)


def test_all_but_the_last_dense_layer_is_taken(weights):
    network = Small()
    before = network.fc.weight.detach().clone()
    put_in(network, weights, of="small")
    assert torch.equal(network.conv1.weight, weights["conv1.weight"])
    assert torch.equal(network.bn1.running_var, weights["bn1.running_var"])
    assert torch.equal(network.fc.weight, before)


def test_files_from_before_norms_counted_batches_fit(weights):
    del weights["bn1.num_batches_tracked"]
    put_in(Small(), weights, of="small")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.pop("bn1.weight"), "1 of its 7 tensors are missing .* first is 'bn1.weight': 4 wanted, none came"),
        (lambda w: w.update({"layer1.weight": torch.zeros(2)}), "1 of 8 in the file .* 'layer1.weight': none wanted"),
        (lambda w: w.update({"conv1.weight": torch.zeros(4, 1, 3, 3)}), "4×3×3×3 wanted, 4×1×3×3 came"),
    ],
)
def test_weights_of_another_network_are_refused_unless_asked_for_in_part(weights, change, message):
    change(weights)
    network = Small()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    with pytest.raises(StorageError, match=message):
        put_in(network, weights, of="small")
    assert same(network.state_dict(), before)
    put_in(network, weights, of="small", partly=True)
    assert torch.equal(network.bn1.bias, weights["bn1.bias"])


def test_even_in_part_something_must_fit():
    with pytest.raises(StorageError, match="none of the file's 1 tensors fits small"):
        put_in(Small(), {"encoder": torch.zeros(3)}, of="small", partly=True)


def test_a_file_that_is_not_there_is_named(tmp_path):
    for name in ("w.pth", "w.safetensors"):
        with pytest.raises(StorageError, match=name):
            read_weights(tmp_path / name)
    with pytest.raises(StorageError, match="no file"):
        read_weights(tmp_path)


@pytest.mark.parametrize("legacy", [False, True])
def test_damaged_files_are_refused(weights, tmp_path, legacy):
    """Cut short at, or with a byte changed at, places all over the file: one error, or what still can be read."""
    file = tmp_path / "w.pth"
    torch.save(weights, file, _use_new_zipfile_serialization=not legacy)
    whole = file.read_bytes()
    rng = np.random.default_rng(0)
    refused = 0
    for place in [*rng.integers(0, len(whole), 80), *range(0, 200, 7)]:
        changed = bytearray(whole)
        changed[place] ^= 1 << rng.integers(8)
        for content in (whole[:place], bytes(changed)):
            file.write_bytes(content)
            try:
                read_weights(file)
            except StorageError:
                refused += 1
    assert refused > 100


class Intruder:
    def __reduce__(self):
        return (print, ("code ran",))


def test_no_code_in_a_file_is_run(tmp_path, capsys):
    for content in ({"conv1.weight": Intruder()}, Intruder()):
        torch.save(content, tmp_path / "w.pth")
        with pytest.raises(StorageError, match="no other objects"):
            read_weights(tmp_path / "w.pth")
    (tmp_path / "w.pth").write_bytes(pickle.dumps(Intruder()))
    with pytest.raises(StorageError, match="cannot be read"):
        read_weights(tmp_path / "w.pth")
    assert "code ran" not in capsys.readouterr().out


@pytest.mark.parametrize("content", [[torch.zeros(2)], {"epoch": 3}, {}, {0: torch.zeros(2)}, torch.zeros(2)], ids=str)
def test_what_is_no_set_of_weights_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(StorageError, match="something else"):
        read_weights(tmp_path / "w.pth")


@pytest.fixture
def cache(tmp_path):
    before = torch.hub.get_dir()
    torch.hub.set_dir(str(tmp_path))
    yield tmp_path / "checkpoints"
    torch.hub.set_dir(before)


def test_weights_in_the_cache_are_not_downloaded_again(weights, cache, monkeypatch):
    monkeypatch.setattr(torch.hub, "download_url_to_file", pytest.fail)
    cache.mkdir()
    torch.save(weights, cache / "small-00000000.pth")
    assert same(imagenet_weights("small-00000000.pth"), weights)


def test_without_a_network_the_ways_out_are_named(cache, monkeypatch):
    def offline(*_arguments, **_keywords):
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr(torch.hub, "download_url_to_file", offline)
    with pytest.raises(LesionForgeError, match=r"no route to host.*fetch https:.*small-1\.pth .*pretrained=FILE.*none"):
        imagenet_weights("small-1.pth")


def test_what_is_not_what_was_published_is_refused(cache, monkeypatch):
    cache.mkdir()
    (cache / "small-00000000.pth").write_bytes(b"not weights at all")
    with pytest.raises(StorageError, match="delete it"):
        imagenet_weights("small-00000000.pth")


def test_a_download_is_held_against_the_checksum_in_its_name(weights, cache, monkeypatch, tmp_path):
    torch.save(weights, tmp_path / "published")
    monkeypatch.setattr(pretrained, "IMAGENET", tmp_path.as_uri() + "/")
    (tmp_path / "small-00000000.pth").write_bytes((tmp_path / "published").read_bytes())
    with pytest.raises(StorageError, match="not what was published"):
        imagenet_weights("small-00000000.pth")
    digest = hashlib.sha256((tmp_path / "published").read_bytes()).hexdigest()[:8]
    (tmp_path / f"small-{digest}.pth").write_bytes((tmp_path / "published").read_bytes())
    assert same(imagenet_weights(f"small-{digest}.pth"), weights)
