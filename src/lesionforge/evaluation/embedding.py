"""Feature vectors laid out on a plane, and how far such a picture can be believed.

t-SNE (van der Maaten & Hinton 2008, JMLR 9:2579) and UMAP (McInnes et al. 2018, arXiv:1802.03426) keep neighbours
together and little else: distances between islands, their sizes and their density mean nothing. So each picture comes
with two numbers between 0 and 1. *Trustworthiness* (Venna & Kaski 2001, ICANN): whoever is near in the picture is near
in truth. *Neighbours kept*: the share of each point's nearest neighbours that are still among its nearest there; a
picture drawn by chance keeps about k of N.
"""

from dataclasses import dataclass

import numpy as np
from sklearn.manifold import TSNE, trustworthiness
from sklearn.neighbors import NearestNeighbors
from threadpoolctl import threadpool_limits

from lesionforge.errors import LesionForgeError
from lesionforge.evaluation.predictions import FloatArray
from lesionforge.extras import check_extra
from lesionforge.settings import nearest

LAYOUTS = ("t-sne", "umap")
NEIGHBOURS = 10  # that trust and keeping are asked of
PERPLEXITY = 30.0
UMAP_NEIGHBOURS = 15
FEWEST = 2 * NEIGHBOURS + 2  # trustworthiness needs more points than twice the neighbours


@dataclass(frozen=True, eq=False)
class Embedding:
    """Where each point lies, [N, 2], and how well its neighbours were kept."""

    layout: str
    places: FloatArray
    trustworthiness: float
    neighbours_kept: float


def embed(features: FloatArray, *, layout: str = "t-sne", seed: int = 0) -> Embedding:
    """Lay out feature vectors [N, F] on a plane; each feature is first brought to a spread of 1.

    Raises
    ------
    LesionForgeError
        There are too few vectors, some are not finite, all are alike, or UMAP's extra is not installed.
    """
    if features.ndim != 2 or len(features) < FEWEST:
        raise LesionForgeError(
            f"an embedding needs {FEWEST} feature vectors or more, [N, F], but {features.shape} came: add patches."
        )
    if not np.isfinite(features).all():
        raise LesionForgeError("features to embed must be finite, but some are NaN or infinite: look at the network.")
    spread = features.std(axis=0)
    if not (spread > 0).any():
        raise LesionForgeError(f"features to embed must differ, but all {len(features)} vectors are alike.")
    scaled = ((features - features.mean(axis=0)) / np.where(spread > 0, spread, 1))[:, spread > 0]
    check_layout(layout)
    places = (_t_sne if layout == "t-sne" else _umap)(scaled, seed)
    trust = float(trustworthiness(scaled, places, n_neighbors=NEIGHBOURS))
    return Embedding(layout, places, trust, neighbours_kept(scaled, places))


def check_layout(layout: str) -> None:
    """Raise LesionForgeError, with the way out, if a layout is unknown or its extra is not installed."""
    if layout not in LAYOUTS:
        raise LesionForgeError(f"{layout!r} is no layout{nearest(layout, LAYOUTS)}")
    if layout == "umap":
        check_extra("umap", needed_by="UMAP")


def neighbours_kept(features: FloatArray, places: FloatArray, *, count: int = NEIGHBOURS) -> float:
    """Share of each point's ``count`` nearest neighbours by ``features`` that are among its nearest by ``places``."""
    before, after = (
        NearestNeighbors(n_neighbors=count).fit(each).kneighbors(return_distance=False) for each in (features, places)
    )
    return float(np.mean([len(np.intersect1d(*pair)) / count for pair in zip(before, after, strict=True)]))


def _t_sne(scaled: FloatArray, seed: int) -> FloatArray:
    perplexity = min(PERPLEXITY, (len(scaled) - 1) / 3)
    # Begun from principal components, islands lie as they do in the data at large (Kobak & Berens 2019).
    method = TSNE(perplexity=perplexity, init="pca", random_state=seed, n_jobs=1)
    with threadpool_limits(1):  # threads that wait for one another at each of 1000 small steps take far longer than one
        laid_out = method.fit_transform(np.pad(scaled, ((0, 0), (0, 1))))  # two principal components need two columns
    return np.asarray(laid_out, dtype=np.float64)


def _umap(scaled: FloatArray, seed: int) -> FloatArray:
    from umap import UMAP

    laid_out = UMAP(n_neighbors=min(UMAP_NEIGHBOURS, len(scaled) - 1), random_state=seed, n_jobs=1)
    return np.asarray(laid_out.fit_transform(scaled), dtype=np.float64)
