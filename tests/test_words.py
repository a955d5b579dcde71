"""Words of an earlier vocabulary that the repository's names and texts no longer use; CHANGELOG.md lists some."""

import re
from fnmatch import fnmatch

import pytest

from tests.support.project_clone import ROOT, tracked

EXCEPT = ("CHANGELOG.md", "tests/test_words.py", "data/*", "*.lock", "*.png", "*.svg")
CODE = ("*.py",)
TEXT = ("*",)
# Regular expressions with the files in which they are looked for: a word may be innocent elsewhere.
WORDS: dict[str, tuple[str, ...]] = {
    # tracking
    r"set_manners": TEXT,
    r"\bmanners\b": TEXT,
    r"talking_to": TEXT,
    r"\bRecord\b": CODE,
    r"note_stage": TEXT,
    r"\.decide\b": CODE,
    r"\.settled\b": CODE,
    r"\btold\.json": TEXT,
    r"tells? (its own |its |their )?(own )?MLflow": TEXT,
    # training
    r"\b_?go_on\b": CODE,
    r"(?<!study)\.tell\(|\bdef _?tell\b|\bimport .*\btell\b": CODE,
    r"\b_learn\b": CODE,
    r"[Oo]ptimiser": ("pipeline/*", "serving/*", "benchmarks/*", "docs/*", "README.md", "params.yaml", "dvc.yaml"),
    r"\bdrawn\(|\bimport .*\bdrawn\b": ("pipeline/*.py",),
    r"\bRecipe\b": CODE,
    r"\bclass Training\b|\bTraining\(|\btrainer\.Training\b": CODE,
    r"\b(joined|agree|part|parallel)\(|\bdef (joined|agree|part|parallel)\b": ("pipeline/*.py",),
    # serving
    r"\b[Dd]oor\b": TEXT,
    r"\bVisit\b": CODE,
    r"\b[Pp]atience\b|\bPATIENCE\b": TEXT,
    r"\bserving[./](rows[./])?(pieces|cuts|several)\b": TEXT,
    r"\b_?(ODD|FAR|MOST)\b": CODE,
    r"\b_cheapest\b": CODE,
    # tests
    r"\btests[./](pen|strokes|standins|workplace|whole)\b": TEXT,
    r"\b[Ww]orkplace\b": TEXT,
    r"\btest-whole\b": TEXT,
    # the page
    r"\b[Aa]sker\b": TEXT,
    r"\b([Vv]oice|words|[Ss]heet)\b": ("serving/page/*",),
    # phrases
    r"wants to know who asks": TEXT,
    r"\ban empty word\b": TEXT,
    r"\bclassifier on its way\b": TEXT,
    r"\b[Aa]n URL\b": TEXT,
    r"\bwaits for (his|her) turn\b": TEXT,
    r"so that it can be said twice": TEXT,
    r"\b(for it is|that is so)\b": TEXT,
    r"\b(bring|brings|brought)\b.*\binto agreement\b": TEXT,
    r"\b(take|takes|taken|took) apart\b": TEXT,
}
MODULES = (
    *("ranks", "stages", "record", "live", "progress", "architecture", "optimisation"),
    *(
        "door",
        "answers",
        "body",
        "protocol",
        "trial",
        "problems",
        "pieces",
        "cuts",
        "several",
        "pen",
        "strokes",
        "standins",
        "workplace",
    ),
    *("asker", "voice", "words", "sheet"),
)


def texts() -> dict[str, str]:
    """The tracked text files by path."""
    paths = [path for path in tracked() if not any(fnmatch(path, pattern) for pattern in EXCEPT)]
    return {path: (ROOT / path).read_text(encoding="utf-8") for path in paths if (ROOT / path).is_file()}


@pytest.mark.parametrize("word", WORDS)
def test_no_text_uses_a_replaced_word(word: str) -> None:
    found = [
        f"{path}:{number}: {line.strip()}"
        for path, text in texts().items()
        if any(fnmatch(path, pattern) for pattern in WORDS[word])
        for number, line in enumerate(text.splitlines(), 1)
        if re.search(word, line)
    ]

    assert not found, "\n".join(found)


def test_no_module_has_a_replaced_name() -> None:
    named = {path for path in tracked() if path.endswith((".py", ".js")) and (ROOT / path).is_file()}

    assert not [path for path in named if path.rpartition("/")[2].partition(".")[0] in MODULES]
