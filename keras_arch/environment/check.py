"""One line of what is found in an environment."""

import dataclasses
from typing import Literal

Status = Literal["ok", "info", "warning", "error"]
# In the order of their weight.
STATUSES: tuple[Status, ...] = ("ok", "info", "warning", "error")


@dataclasses.dataclass(frozen=True)
class Check:
    """What was found, and what to do about it.

    Attributes:
        section: The group that it belongs to, such as `"packages"`.
        name: What was looked at.
        status: `"ok"`; `"info"`, where nothing follows; `"warning"`, where it works but slowly or
            not as tested; `"error"`, where something will not work.
        message: One line.

    Example:
        >>> Check("packages", "keras", "ok", "3.15.1").works
        True
    """

    section: str
    name: str
    status: Status
    message: str

    @property
    def works(self) -> bool:
        """Whether nothing is in the way of training."""
        return self.status != "error"
