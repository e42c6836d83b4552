"""State dicts: extraction from a checkpoint, and removal of prefixes of names."""

from collections.abc import Mapping
from typing import Any

# Keys of the weights in checkpoints of training scripts.
_INSIDE = ("state_dict", "model_state_dict", "model", "net", "network", "weights", "params")
# Prefixes that DataParallel and torch.compile put before every name.
_PREFIXES = ("module.", "_orig_mod.")


def unwrapped(content: Mapping[str, Any]) -> Mapping[str, Any]:
    """Extract the state dict of a checkpoint.

    Args:
        content: The state dict itself, or a mapping that has it under `"state_dict"`, `"model"` or
            another usual name.

    Example:
        >>> unwrapped({"epoch": 90, "state_dict": {"fc.bias": 0.0}})
        {'fc.bias': 0.0}
    """
    for _ in range(3):
        inner = next((content[key] for key in _INSIDE if _is_mapping(content.get(key))), None)
        if inner is None:
            break
        content = inner
    return content


def without_prefix(names: list[str]) -> dict[str, str]:
    """Map each name to the network's own, without prefixes.

    Example:
        >>> without_prefix(["module.fc.weight", "module.fc.bias"])
        {'module.fc.weight': 'fc.weight', 'module.fc.bias': 'fc.bias'}
    """
    short = {name: name for name in names}
    while short:
        values = list(short.values())
        prefix = next((p for p in _PREFIXES if all(v.startswith(p) for v in values)), None)
        if prefix is None:
            break
        short = {name: value[len(prefix) :] for name, value in short.items()}
    return short


def _is_mapping(value: Any) -> bool:
    return isinstance(value, Mapping) and len(value) > 0
