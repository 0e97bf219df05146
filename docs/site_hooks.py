"""Makes pages of the site from the scripts in docs/tutorials."""

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files


def page(script: str) -> str:
    """A script in percent format, as Jupytext knows it: text cells are prose, others code."""
    parts = []
    for cell in re.split(r"^# %%", script, flags=re.MULTILINE)[1:]:
        kind, _, body = cell.partition("\n")
        if "[markdown]" in kind:
            parts.append(re.sub(r"^# ?", "", body, flags=re.MULTILINE).strip())
        else:
            parts.append(f"```python\n{body.strip()}\n```")
    return "\n\n".join(parts)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add a page for each script; MkDocs calls this once it has found all files."""
    for script in sorted(Path(config.docs_dir, "tutorials").glob("*.py")):
        name = f"tutorials/{script.stem}.md"
        files.append(File.generated(config, name, content=page(script.read_text("utf-8"))))
    return files
