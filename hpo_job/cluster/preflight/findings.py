"""What the checks before a submission find."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Findings:
    """What the checks found; whatever would be fatal is raised as a ClusterError instead.

    Attributes:
        checked: what was looked at, and is in order.
        warnings: lines for the user.
    """

    checked: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def line(self) -> str:
        """What was checked, as one line."""
        return "preflight  " + "; ".join(self.checked)
