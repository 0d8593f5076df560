"""The schedulers of Diffusers by name, on the schedule of the checkpoint.

The published one is DDIM; any other changes the clips, and the card says so.
"""

from __future__ import annotations

import inspect
from functools import lru_cache
from typing import Any, Final

from i2vbench.errors import UserError, did_you_mean

PUBLISHED: Final = "ddim"
SCHEDULERS: Final = {
    "ddim": "DDIMScheduler",
    "ddpm": "DDPMScheduler",
    "deis": "DEISMultistepScheduler",
    "dpmpp": "DPMSolverMultistepScheduler",
    "dpmpp_single": "DPMSolverSinglestepScheduler",
    "euler": "EulerDiscreteScheduler",
    "euler_a": "EulerAncestralDiscreteScheduler",
    "heun": "HeunDiscreteScheduler",
    "lms": "LMSDiscreteScheduler",
    "pndm": "PNDMScheduler",
    "unipc": "UniPCMultistepScheduler",
}


def scheduler_class(name: object) -> str:
    """The name of the Diffusers class; ``name`` is a key of :data:`SCHEDULERS` or the class itself.

    Raises:
        UserError: neither.
    """
    if isinstance(name, str) and (name in SCHEDULERS or name.endswith("Scheduler")):
        return SCHEDULERS.get(name, name)
    raise UserError(
        f"scheduler={name!r}: {did_you_mean(str(name), list(SCHEDULERS))}, "
        "or a Diffusers class such as 'DDIMScheduler'"
    )


def build_scheduler(name: str, published: Any) -> Any:  # noqa: ANN401
    """A fresh scheduler ``name`` with the betas and the prediction type of ``published``.

    Args:
        name: as for :func:`scheduler_class`.
        published: the DDIM scheduler of the checkpoint.

    Raises:
        UserError: no such class in the installed Diffusers, or one for another kind of network.
    """
    return _class(scheduler_class(name)).from_config(published.config)


@lru_cache(maxsize=16)
def _class(class_name: str) -> Any:  # noqa: ANN401
    import diffusers

    found = getattr(diffusers, class_name, None)
    if found is None:
        raise UserError(
            f"scheduler={class_name!r} is not in diffusers {diffusers.__version__}; "
            f"accepted: {', '.join(SCHEDULERS)}, or another of its classes"
        )
    accepted = inspect.signature(found.__init__).parameters
    # Those with a seed of their own would ignore the generators of the samples.
    if not {"beta_start", "prediction_type"} <= set(accepted) or "noise_sampler_seed" in accepted:
        raise UserError(
            f"scheduler={class_name!r} is for another kind of network, or draws noise that a seed "
            f"does not fix; accepted: {', '.join(SCHEDULERS)}"
        )
    return found


def draws_noise(scheduler: Any) -> bool:  # noqa: ANN401
    """Whether its steps take generators."""
    return "generator" in inspect.signature(scheduler.step).parameters
