"""Makes the one file that `groupcast init django` writes out of the package.

Its modules follow each other in one file: their imports are merged, those among each other dropped.

    python single.py            writes single/groupcast.py
    python single.py --check    fails if that file is not what the package gives
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
PACKAGE = HERE / "src/groupcast"
OUTPUT = HERE / "single/groupcast.py"
# In this order: a module uses at import only what stands before it.
MODULES = [
    "_configuration",
    "_signature",
    "_handlers",
    "_gateway",
    "_sending",
    "_children",
    "_tasks",
    "_progress",
    "_views",
    "_logout",
    "_group_send",
    "_recording",
    "celery",
    "_checks",
    "_app",
]
COLUMNS = 100
FOREIGN = ("asgiref", "django")  # what is imported after the standard library
NOTE = """
Written by `groupcast init django`, and updated by it with `--force`: keep your own code elsewhere.
"""
# What the package has in modules of their own.
END = '''

# ===== What the package has in modules of their own =====

celery = SimpleNamespace(install=install, is_installed=is_installed)


def __getattr__(name: str) -> Any:
    """`from groupcast import groupcast_recorder` in conftest.py gives a pytest fixture."""
    if name not in ("groupcast_recorder", "groupcast_sent"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import pytest

    def record() -> Iterator[RecordingLayer]:
        with RecordingLayer() as recorder:
            yield recorder

    return pytest.fixture(name=name)(record)
'''
Imports = dict[str, set[str]]


def read(module: str, imports: Imports) -> tuple[str, str, list[str]]:
    """A module's first line of documentation, its code, and the names that it defines.

    What it imports from elsewhere is added to `imports`: names by module, "" for the module itself.
    """
    text = (PACKAGE / f"{module}.py").read_text("utf-8")
    body = ast.parse(text).body
    first = ast.get_docstring(ast.parse(text)) or ""
    rest = body[1:]
    while isinstance(node := rest[0], (ast.Import, ast.ImportFrom)):
        rest.pop(0)
        origin = node.module or "" if isinstance(node, ast.ImportFrom) else ""
        if origin == "__future__":
            continue
        for alias in node.names:
            if alias.asname:
                raise ValueError(f"{module}: {alias.name} is imported by another name")
            if origin == "groupcast" or origin.startswith("groupcast."):
                continue
            if origin:
                imports.setdefault(origin, set()).add(alias.name)
            else:
                imports.setdefault(alias.name, set()).add("")
    # Comments above the first statement belong to it.
    after = body[len(body) - len(rest) - 1].end_lineno or 0
    code = "\n".join(text.splitlines()[after:]).strip("\n")
    return first.splitlines()[0].rstrip("."), code, [name for node in rest for name in named(node)]


def named(node: ast.stmt) -> list[str]:
    """The names that a statement defines."""
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    return [target.id for target in targets if isinstance(target, ast.Name)]


def lines_of(imports: Imports) -> list[str]:
    """Import statements: the standard library's, then the others."""
    groups: tuple[list[str], list[str], list[str], list[str]] = [], [], [], []
    for module, names in sorted(imports.items()):
        is_foreign = 2 * (module.split(".")[0] in FOREIGN)
        if "" in names:
            groups[is_foreign].append(f"import {module}")
        if wanted := sorted(names - {""}, key=lambda name: (not name.isupper(), name)):
            line = f"from {module} import {', '.join(wanted)}"
            if len(line) > COLUMNS:
                listed = "".join(f"    {name},\n" for name in wanted)
                line = f"from {module} import (\n{listed})"
            groups[is_foreign + 1].append(line)
    return [*groups[0], *groups[1], "", *groups[2], *groups[3]]


def single() -> str:
    """The text of the file. Raises ValueError if two modules define one name."""
    start = (PACKAGE / "__init__.py").read_text("utf-8")
    public = sorted(
        alias.name
        for node in ast.walk(ast.parse(start))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("groupcast")
        for alias in node.names
        if alias.name != "groupcast_sent"
    )
    imports: Imports = {"collections.abc": {"Iterator"}, "types": {"SimpleNamespace"}}
    sections = []
    owner: dict[str, str] = {}
    for module in MODULES:
        title, code, names = read(module, imports)
        for name in names:
            if owner.setdefault(name, module) != module:
                raise ValueError(f"{name} is in {owner[name]} and in {module}")
        # As ruff formats it: two lines before what is indented.
        space = "\n" if code.startswith(("def ", "class ", "async ", "@")) else ""
        sections.append(f"\n\n# ===== {title} =====\n\n{space}{code}\n")
    for origin, wanted in imports.items():
        for name in wanted:
            if owner.setdefault(name or origin, origin) != origin:
                raise ValueError(f"{name or origin} is in {owner[name or origin]} and in {origin}")
    documentation = ast.get_docstring(ast.parse(start), clean=False) or ""
    title, rest = documentation.split("\n", 1)
    rest = rest.replace(
        'INSTALLED_APPS = [..., "groupcast"]', 'INSTALLED_APPS = [..., "groupcast.GroupcastConfig"]'
    )
    exported = "".join(f'    "{name}",\n' for name in public)
    head = f'"""{title}\n{NOTE}{rest}"""\n\nfrom __future__ import annotations\n\n'
    head += "\n".join(lines_of(imports)) + f"\n\n__all__ = [\n{exported}]\n"
    return head + "".join(sections) + END


def main() -> int:
    """Writes or compares; returns the exit status."""
    text = single()
    if "--check" not in sys.argv[1:]:
        OUTPUT.write_text(text, "utf-8")
        return 0
    if OUTPUT.read_text("utf-8") == text:
        return 0
    print(f"{OUTPUT} is not what the package gives: run {Path(__file__).name}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
