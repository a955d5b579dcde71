"""The training loop, its settings and its state; augmentation, optimizers, device, processes, checkpoints; `fit`."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline.training.fitting import fit as fit
else:

    def __getattr__(name: str) -> object:
        """`fit`, imported when it is used: a stage imports single modules, and its result depends on those alone."""
        if name != "fit":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from pipeline.training.fitting import fit

        return fit
