"""Optional extras: packages that some features need and a plain installation does without."""

import importlib.util

from lesionforge.errors import LesionForgeError

EXTRAS = {  # and the module by which each is known to be there
    "radiomics": "radiomics",
    "web": "fastapi",
    "cluster": "ray",
    "tensorboard": "tensorboard",
    "mlflow": "mlflow",
    "tune": "optuna",
    "onnx": "onnxruntime",
    "umap": "umap",
}


def check_extra(extra: str, *, needed_by: str) -> None:
    """Raise LesionForgeError, with the way out, if an optional extra is not installed."""
    if importlib.util.find_spec(EXTRAS[extra]) is None:
        raise LesionForgeError(
            f"{needed_by} needs the optional extra {extra!r}, which is not installed: pip install "
            f"'lesionforge[{extra}]'; see `lesionforge doctor`."
        )
