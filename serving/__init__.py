"""Models loaded for use: `load_predictor` from Python, the server with its requests and answers."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from serving.loading import load_predictor

__all__ = ["load_predictor"]


def __getattr__(name: str) -> Any:
    """Load the predictor, and torch with it, when it is first asked for."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from serving import loading

    return getattr(loading, name)
