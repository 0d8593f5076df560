"""Batch normalisation put into the convolution before it, in a state dict."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

_BN_STATE = ("bias", "running_mean", "running_var")


def fold_batch_norm(state: Mapping[str, Tensor], *, conv: str, epsilon: float) -> dict[str, Tensor]:
    """The same convolutions with each normalisation put into the convolution before it.

    Args:
        state: ``X.<conv>.weight`` (out, in, ...) with ``X.bn.bias``, ``X.bn.running_mean``,
            ``X.bn.running_var`` and, where the network has a scale, ``X.bn.weight``, all (out,);
            any float dtype. A convolution with a bias of its own has no normalisation.
        conv: what the network calls its convolutions, e.g. ``conv3d``.
        epsilon: what the network adds to the variance.

    Returns:
        ``X.<conv>.weight`` and ``X.<conv>.bias``, float32; nothing of other layers.
    """
    folded: dict[str, Tensor] = {}
    for key, value in state.items():
        unit, _, part = key.rpartition(f".{conv}.")
        if not unit:
            continue
        if f"{unit}.bn.running_var" not in state:
            folded[key] = value.float()
            continue
        bn = {name: state[f"{unit}.bn.{name}"].double() for name in _BN_STATE}
        scale = (bn["running_var"] + epsilon).rsqrt()
        if f"{unit}.bn.weight" in state:
            scale = scale * state[f"{unit}.bn.weight"].double()
        folded[key] = (value.double() * scale.reshape(-1, *[1] * (value.ndim - 1))).float()
        folded[f"{unit}.{conv}.bias"] = (bn["bias"] - bn["running_mean"] * scale).float()
        assert part == "weight"
    return folded
