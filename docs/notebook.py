"""Executes docs/ten_steps.ipynb and stores its outputs: `python -m docs.notebook`. No network; a minute.

Reads, writes  docs/ten_steps.ipynb. Metadata of editors, times and versions are not stored.
A cell that fails is an error, and the file stays as it was.
"""

from pathlib import Path
from typing import Final

import nbformat
from nbclient import NotebookClient
from traitlets.config import Config

from pipeline.core.files import write_text

PATH: Final = Path(__file__).parent / "ten_steps.ipynb"
METADATA: Final = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def main() -> None:
    notebook = nbformat.read(PATH, as_version=4)
    NotebookClient(
        notebook,
        kernel_name="python3",
        timeout=None,
        startup_timeout=600,  # seconds
        record_timing=False,
        resources={"metadata": {"path": str(PATH.parent)}},
        extra_arguments=["--HistoryManager.enabled=False"],
        config=Config(KernelManager={"transport_encryption": "auto"}),  # else the kernel prints a warning
    ).execute()
    notebook.metadata = METADATA
    for cell in notebook.cells:
        cell.metadata = {}
    write_text(PATH, nbformat.writes(notebook) + "\n")


if __name__ == "__main__":
    main()
