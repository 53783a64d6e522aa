#!/usr/bin/env python3
"""Holds the Markdown documents to three rules.

1. Prose is at most 100 columns wide. Tables, code blocks, and what only a link makes longer are exempt.
2. Relative links lead to a file, and to a heading in it where they name one.
3. What ARCHITECTURE.md and CONTRIBUTING.md name exists: paths, rooms, items such as
   `hub::Hub::post`. The table of rooms in ARCHITECTURE.md is complete.

    tests/docs/check.py [ROOT]
"""

import pathlib
import re
import subprocess
import sys

COLUMNS = 100
FENCE = re.compile(r"^\s*(```|~~~)")
LINK = re.compile(r"\]\(([^)\s]+)\)")
URL = re.compile(r"https?://\S+")
CODE = re.compile(r"`([^`]+)`")
# `room::module::Item`, `room::Type::method` or `Type::method`.
PATH_OF_ITEM = re.compile(r"^[A-Za-z_]+(::[A-Za-z_]+)+$")
# A path inside the repository: it has a slash or a suffix that files here have.
PATH_OF_FILE = re.compile(r"^[\w.{},*/-]+$")
SUFFIXES = (".rs", ".py", ".md", ".toml", ".lua", ".mjs", ".json")


def documents(root):
    """Every Markdown file that Git tracks or would track."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"]
    listed = subprocess.run(command, cwd=root, check=True, capture_output=True, text=True).stdout
    return [root / line for line in sorted(set(listed.splitlines())) if (root / line).exists()]


def prose(text):
    """Lines outside code blocks, with their numbers."""
    fenced = False
    for number, line in enumerate(text.splitlines(), 1):
        if FENCE.match(line):
            fenced = not fenced
        elif not fenced:
            yield number, line


def width(line):
    """Columns, without what cannot be broken: the targets of links, and addresses."""
    return len(URL.sub("", LINK.sub("]()", line)))


def too_wide(text):
    for number, line in prose(text):
        if not line.lstrip().startswith("|") and len(line) > COLUMNS and width(line) > COLUMNS:
            yield number, f"{len(line)} columns; at most {COLUMNS}"


def anchors(text):
    """The anchors of a document's headings, as GitHub makes them."""
    seen = {}
    for _, line in prose(text):
        heading = re.match(r"^#+\s+(.*)$", line)
        if heading:
            title = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading[1]).lower()
            slug = re.sub(r"[^\w\- ]", "", title).strip().replace(" ", "-")
            count = seen.get(slug, 0)
            seen[slug] = count + 1
            yield f"{slug}-{count}" if count else slug


def dead_links(document, text):
    for number, line in prose(text):
        # An example in backticks is no link.
        for target in LINK.findall(CODE.sub("", line)):
            if re.match(r"^[a-z]+:", target):
                continue
            path, _, anchor = target.partition("#")
            file = (document.parent / path).resolve() if path else document
            if not file.exists():
                yield number, f"dead link: {target}"
            elif anchor and anchor not in set(anchors(file.read_text())):
                yield number, f"no such heading: {target}"


def module_files(source, segments):
    """The Rust files of a module, and the segments of the path that are left: items in it."""
    folder, rest, files = source, list(segments), []
    while rest:
        file, below = folder / f"{rest[0]}.rs", folder / rest[0]
        if not file.exists() and not below.is_dir():
            break
        files = [file] if file.exists() else []
        files += sorted(below.rglob("*.rs")) if below.is_dir() else []
        folder, rest = below, rest[1:]
    return files, rest


def rooms_of_type(source, name):
    """The files of every room that declares the type."""
    declared = re.compile(rf"\b(?:struct|enum|trait|type)\s+{name}\b")
    homes = [file for file in source.rglob("*.rs") if declared.search(file.read_text())]
    rooms = {file.relative_to(source).parts[0] for file in homes}
    return [
        file for room in sorted(rooms) for file in module_files(source, [room.split(".")[0]])[0]
    ]


def defines(files, name):
    """Whether one of the files has the item, or a variant of this name."""
    pattern = rf"\b(?:fn|struct|enum|trait|const|static|type|mod|union)\s+{name}\b"
    if name[0].isupper():
        pattern += rf"|^\s+{name}\s*(?:[{{(,]|$)"
    return any(re.search(pattern, file.read_text(), re.MULTILINE) for file in files)


def unknown_item(root, path):
    """What is wrong with a path such as `hub::Hub::post`, or None."""
    source, segments = root / "src", path.split("::")
    if path[0].isupper():
        files, items = rooms_of_type(source, segments[0]), segments
    else:
        files, items = module_files(source, segments)
    if not files:
        return f"no such room or type: {path}"
    missing = [item for item in items if not defines(files, item)]
    return f"{path}: no {missing[0]}" if missing else None


def unknown_names(root, text):
    for number, line in prose(text):
        for code in CODE.findall(line):
            problem = None
            if PATH_OF_ITEM.match(code):
                problem = unknown_item(root, code)
            elif code.endswith("/") and PATH_OF_FILE.match(code):
                problem = None if (root / code).is_dir() else f"no such folder: {code}"
            elif code.endswith(SUFFIXES) and PATH_OF_FILE.match(code):
                # A bare name may be anywhere; one with a folder is from the root.
                found = root.glob(code) if "/" in code else root.glob(f"src/**/{code}")
                exists = any(found) or (root / code).exists()
                problem = None if exists else f"no such file: {code}"
            if problem:
                yield number, problem


def unlisted_rooms(root, text):
    """The table of rooms has each room of `src` once, and nothing else."""
    table = re.search(r"^\| room .*?(?=^$)", text, re.MULTILINE | re.DOTALL)
    if not table:
        yield 1, "no table whose first column is `room`"
        return
    number = text[: table.start()].count("\n") + 1
    cells = [row.split("|")[1] for row in table[0].splitlines()[2:]]
    listed = [room for cell in cells for room in CODE.findall(cell)]
    names = {entry.stem for entry in (root / "src").iterdir()}
    for room in sorted(names - set(listed)):
        yield number, f"the table lacks the room {room}"
    for room in sorted(set(listed) - names):
        yield number, f"the table has a room that is not there: {room}"


def problems(root):
    for document in documents(root):
        text = document.read_text()
        found = [*too_wide(text), *dead_links(document, text)]
        if document.name in ("ARCHITECTURE.md", "CONTRIBUTING.md"):
            found += unknown_names(root, text)
        if document.name == "ARCHITECTURE.md":
            found += unlisted_rooms(root, text)
        for number, problem in sorted(found):
            yield f"{document.relative_to(root)}:{number}: {problem}"


def main():
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else __file__).resolve()
    found = list(problems(root if root.is_dir() else root.parents[2]))
    print(*found, sep="\n", end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
