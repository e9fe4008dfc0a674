"""Write the API reference when the documentation is built: one page for each package, from its docstrings."""

from __future__ import annotations

import ast
import re
import shutil
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ROOT / "build" / "docs" / "equiact"
"""Copy of the package alone: mkdocstrings would read everything beside it, .venv included."""
FOLDERS = ("envs", "representations", "agents", "scripts")


def on_startup(command: str, dirty: bool) -> None:
    """Copy the sources before mkdocstrings looks for them: it ignores folders that do not exist yet."""
    _copy_sources()


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """List the reference pages in the navigation."""
    pages: list[Any] = [{"Public names": "reference/index.md"}]
    for folder in FOLDERS:
        pages.append(
            {folder: [{package: _page(package)} for package in _packages() if package.split(".")[0] == folder]}
        )
    (config.nav or []).insert(-2, {"API reference": pages})
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add a page for each package, one for the public names, and the figures of the results."""
    for figure in sorted((ROOT / "results").glob("*.png")):
        files.append(File.generated(config, f"images/{figure.name}", abs_src_path=str(figure)))
    files.append(File.generated(config, "reference/index.md", content=_public_names()))
    for package, modules in _packages().items():
        files.append(File.generated(config, _page(package), content=_reference(package, modules)))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Point to the copies of the figures; the pages name the originals, so that they also show in the repository."""
    return re.sub(r"\]\((?:\.\./)+results/", f"]({'../' * page.file.src_uri.count('/')}images/", markdown)


def _copy_sources() -> None:
    shutil.rmtree(SOURCES, ignore_errors=True)
    paths = [ROOT / "__init__.py", *(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))]
    for path in paths:
        target = SOURCES / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(_as_sections(path.read_text()))


def _as_sections(source: str) -> str:
    """Return the source with ``Example:`` as ``Examples:``, which mkdocstrings shows as code."""
    return re.sub(r"^( *)Example:$", r"\1Examples:", source, flags=re.MULTILINE)


def _packages() -> dict[str, list[str]]:
    """Return the modules of each package that has any, in the order of the data flow."""
    found: dict[str, list[str]] = {}
    for folder in FOLDERS:
        for init in sorted((ROOT / folder).rglob("__init__.py")):
            names = sorted(path.stem for path in init.parent.glob("*.py") if path.stem != "__init__")
            if names:
                found[".".join(init.parent.relative_to(ROOT).parts)] = names
    return found


def _page(package: str) -> str:
    return f"reference/{package}.md"


def _reference(package: str, modules: list[str]) -> str:
    docstring = ast.get_docstring(ast.parse((ROOT / package.replace(".", "/") / "__init__.py").read_text())) or ""
    parts = [f"# equiact.{package}", docstring]
    for module in modules:
        parts += [f"## {module}", f"`equiact.{package}.{module}`", f"::: equiact.{package}.{module}"]
    return "\n\n".join(parts) + "\n"


def _public_names() -> str:
    """Return a table of the names that ``from equiact import …`` offers, with links and summaries."""
    tree = ast.parse((ROOT / "__init__.py").read_text())
    rows = ["# Public names", "Import these from `equiact`.", "", "| name | summary |", "|---|---|"]
    for node in tree.body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "_EXPORTS":
            for name, module in ast.literal_eval(node.value).items():
                summary = _summary(module, name)
                link = f"[`{name}`][equiact.{module}.{name}]" if summary else f"`{name}`"  # no entry without docstring
                rows.append(f"| {link} | {summary} |")
    return "\n".join(rows) + "\n"


def _summary(module: str, name: str) -> str:
    """Return the first sentence of the docstring of a class, a function, or an assigned name."""
    body = ast.parse((ROOT / f"{module.replace('.', '/')}.py").read_text()).body
    docstring = ""
    for node, following in zip(body, [*body[1:], None], strict=True):
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == name:
            docstring = ast.get_docstring(node) or ""
        elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name and isinstance(following, ast.Expr):
            docstring = ast.literal_eval(following.value)
    return docstring.split("\n\n")[0].replace("\n", " ").replace("|", "\\|")
