"""A decision about a candidate with all its reasons, as it is printed and as MLflow stores it."""

from typing import NamedTuple


class Criterion(NamedTuple):
    name: str
    passed: bool
    text: str
    """The figures."""


class Verdict(NamedTuple):
    name: str
    version: str
    champion: str | None
    """The version with which it was compared; None if there was no champion."""
    criteria: list[Criterion]
    images: str
    """On what it was decided."""
    force: str | None
    """Why it becomes champion whatever the criteria say."""

    @property
    def failed(self) -> list[str]:
        return [criterion.name for criterion in self.criteria if not criterion.passed]

    @property
    def outcome(self) -> str:
        """`promoted`, `refused` or `forced`."""
        return "promoted" if not self.failed else "forced" if self.force else "refused"

    @property
    def is_promoted(self) -> bool:
        return self.outcome != "refused"

    @property
    def title(self) -> str:
        against = f"compared with the champion, version {self.champion}" if self.champion else "there was no champion"
        reason = f" ({self.force})" if self.outcome == "forced" else ""
        return f"{self.name} version {self.version}: {self.outcome}{reason}; {against}"

    def text(self) -> str:
        """For a terminal: the title, and a line for each reason."""
        width = max(len(criterion.name) for criterion in self.criteria)
        lines = [
            f"  {'passed' if criterion.passed else 'FAILED'}  {criterion.name:<{width}}  {criterion.text}"
            for criterion in self.criteria
        ]
        return "\n".join([self.title, *lines, f"  on      {self.images}"])

    def markdown(self) -> str:
        """For MLflow, which shows an artifact of a run as it is meant to look."""
        rows = [
            f"| {'passed' if criterion.passed else '**failed**'} | {criterion.name} | {criterion.text} |"
            for criterion in self.criteria
        ]
        table = ["| | criterion | figures |", "|---|---|---|", *rows]
        return "\n".join([f"# {self.title}", "", *table, "", f"On {self.images}.", ""])

    def tags(self, date: str) -> dict[str, str]:
        """Of the model version, decided on `date`."""
        return {
            "promotion": self.outcome,
            "promotion.reasons": self.text(),
            "promotion.champion": self.champion or "none",
            "promotion.date": date,
        }
