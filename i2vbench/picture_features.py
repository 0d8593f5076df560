"""Features of the pictures that models are given, made when a metric asks for them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from i2vbench.clip import Clip, Picture
from i2vbench.feature_store import FeatureStore
from i2vbench.metric import Extractor, Features


class PictureFeatures(Mapping[str, Features]):
    """Extractor name -> features of one picture, kept in the extractor's store.

    The takes of a sample, and samples of the same picture, share one pass.
    """

    def __init__(
        self, picture: Picture, places: Mapping[str, tuple[Extractor, FeatureStore]]
    ) -> None:
        """Takes the name that the metric reads -> (extractor, its store)."""
        self._picture = picture
        self._places = places

    def __getitem__(self, name: str) -> Features:
        extractor, store = self._places[name]
        # Not the key of a one-frame clip: an extractor may read a picture otherwise.
        key = f"picture-{Clip(frames=self._picture[None], fps=1.0).sha256[:32]}"
        if not store.has(key):
            store.put(key, extractor.extract_picture(self._picture))
        return store.get(key)

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)
