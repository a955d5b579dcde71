"""What `dvc repro` and `track` print, and the git commands that they suggest."""

import re

from tests.support.project_clone import Clone


def stages_run(printed: str) -> list[str]:
    return re.findall(r"^Running stage '(\w+)'", printed, re.MULTILINE)


def commit_as_advised(clone: Clone, printed: str) -> None:
    """Run the commands that `track` prints when results are not committed yet."""
    (command,) = re.findall(r"^  (git add .+)$", printed, re.MULTILINE)
    clone.check_output("bash", "-c", command)


def uncommitted(clone: Clone) -> str:
    """git's list of changed and untracked files; empty if there are none."""
    return clone.check_output("git", "status", "--porcelain")
