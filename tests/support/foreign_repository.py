"""A DVC repository of another project: templates, two dvc.yaml, an import, a folder, a model that is no ONNX file."""

import os
import subprocess
import sys
from pathlib import Path

DVC_YAML = """
vars:
- rate: 3
stages:
  prepare:
    foreach: [a, b]
    do:
      cmd: cp source.txt ${item}.txt
      deps: [source.txt]
      outs: ['${item}.txt']
  fit:
    matrix:
      kind: [tree, line]
    cmd: mkdir -p ${item.kind} && echo ${rate} > ${item.kind}/model.bin && echo '{"loss":1}' > ${item.kind}.json
    desc: Fit one of two
    meta: {mlflow: {owner: Ada}}
    params: [depth, other.toml: [size]]
    deps: [b.txt, fit.py]
    outs:
    - ${item.kind}: {type: model}
    metrics: ['${item.kind}.json']
  draw:
    cmd: mkdir -p pictures && echo picture > pictures/one.png
    deps: [a.txt]
    outs: [pictures]
  hidden:
    cmd: echo > hidden.txt
    meta: {mlflow: false}
    outs: [hidden.txt]
plots:
- pictures
artifacts:
  best: {path: tree/model.bin, type: model, desc: The tree, labels: [small]}
"""
PART_YAML = """
stages:
  curve:
    cmd: "printf 'step,loss\\\\n1,2\\\\n' > loss.csv"
    deps: [../a.txt]
    plots:
    - loss.csv: {x: step, y: loss, cache: false}
  unfinished:
    cmd: echo > never.txt
    outs: [never.txt]
"""


def make(folder: Path) -> Path:
    """A repository of which all stages but part/dvc.yaml:unfinished have run, in one commit."""
    files = {
        "dvc.yaml": DVC_YAML,
        "part/dvc.yaml": PART_YAML,
        "params.yaml": "depth: 2\n",
        "other.toml": "size = 7\n",
        "fit.py": "",
        "elsewhere.txt": "data\n",
    }
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    git(folder, "init", "--quiet", "--initial-branch", "main")
    dvc(folder, "init", "--quiet")
    dvc(folder, "config", "core.analytics", "false")
    dvc(folder, "import-url", "elsewhere.txt", "source.txt")
    dvc(folder, "repro", "fit", "draw", "hidden", "part/dvc.yaml:curve")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "--message", "all")
    return folder


def git(folder: Path, *arguments: str) -> None:
    identity = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org")
    subprocess.run(("git", *identity, *arguments), cwd=folder, check=True, capture_output=True)


def dvc(folder: Path, *arguments: str) -> None:
    environment = {**os.environ, "DVC_NO_ANALYTICS": "true"}
    subprocess.run((sys.executable, "-m", "dvc", *arguments), cwd=folder, env=environment, check=True)
