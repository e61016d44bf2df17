import importlib
import sys
from dataclasses import dataclass

import pytest

from lesionforge import registry
from lesionforge.classifiers import methods as classifiers
from lesionforge.classifiers.contract import Classifier
from lesionforge.classifiers.methods.small_cnn import SmallCNN
from lesionforge.errors import LesionForgeError
from lesionforge.experiments import protocols
from lesionforge.generators import methods as generators
from lesionforge.generators.contract import GenerativeMethod
from lesionforge.generators.methods.dcgan import DCGAN


def test_the_files_of_a_folder_are_its_methods():
    assert "dcgan" in registry.names(generators)
    assert {"small_cnn", "lesion_cnn"} <= set(registry.names(classifiers))
    assert registry.names(protocols) == tuple(sorted(registry.names(protocols)))


def test_a_file_gives_its_own_class_and_not_those_that_it_imports():
    assert registry.class_named(generators, "dcgan", GenerativeMethod) is DCGAN
    assert registry.class_named(classifiers, "small_cnn", Classifier) is SmallCNN


def test_a_methods_name_is_its_files():
    assert registry.name_of(DCGAN()) == "dcgan"
    assert registry.name_of(SmallCNN()) == "small_cnn"


@pytest.mark.parametrize("name", ["dcgna", "", "os", "..dcgan", "dcgan.DCGAN"])
def test_an_unknown_name_is_answered_by_those_there_are(name):
    with pytest.raises(LesionForgeError, match=r"is not among the generators methods.*There are:.*dcgan"):
        registry.module_named(generators, name)


def test_a_misspelt_name_is_answered_by_the_nearest():
    with pytest.raises(LesionForgeError, match="did you mean 'small_cnn'"):
        registry.module_named(classifiers, "small_cn")


def test_a_new_file_is_found_without_being_registered(tmp_path, monkeypatch):
    package = tmp_path / "house" / "methods"
    package.mkdir(parents=True)
    (tmp_path / "house" / "__init__.py").touch()
    (package / "__init__.py").touch()
    (package / "fresh.py").write_text(f"from {__name__} import Base\nclass Fresh(Base): pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(sys.modules, __name__, sys.modules.get(__name__) or importlib.import_module(__name__))
    folder = importlib.import_module("house.methods")
    assert registry.names(folder) == ("fresh",)
    assert registry.class_named(folder, "fresh", Base).__name__ == "Fresh"


@dataclass
class Base:
    """What the fresh file's class is a subclass of."""
