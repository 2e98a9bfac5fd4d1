"""What is generated in the chart: its copies of dashboards and rules, and the README's tables of values.

values.yaml is read as it is written: `# ## Title` begins a section, with perhaps a paragraph; the comment right above
a key says what it means.
"""

import json
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "helm/fanfare"
README = CHART / "README.md"
BEGIN, END = "<!-- generated from values.yaml -->", "<!-- end -->"
HEADING = "# ## "


class Undocumented(Exception):
    """A value without a comment."""


def copies():
    """Where each copy lies in the chart, and what it is a copy of."""
    files = {CHART / "files/rules.yml": ROOT / "deploy/prometheus/rules.yml"}
    for board in (ROOT / "deploy/grafana").glob("*.json"):
        files[CHART / "files/dashboards" / board.name] = board
    return files


def text_of(comment):
    return " ".join(line.strip().lstrip("#").strip() for line in comment).strip()


def comment_above(lines, line):
    begin = line
    while begin and lines[begin - 1].lstrip().startswith("#"):
        begin -= 1
    return text_of(lines[begin:line])


def values(lines, pairs, above=()):
    """Path, default and meaning of each value. A map with a comment is one value."""
    for key, node in pairs:
        path = [*above, key.value]
        meaning = comment_above(lines, key.start_mark.line)
        if meaning:
            yield ".".join(path), yaml.safe_load(yaml.serialize(node)), meaning
        elif isinstance(node, yaml.MappingNode) and node.value:
            yield from values(lines, node.value, path)
        else:
            raise Undocumented(".".join(path))


def sections(lines):
    """Title, paragraph, first and last line of each section."""
    begins = [number for number, line in enumerate(lines) if line.startswith(HEADING)]
    for begin, end in zip(begins, [*begins[1:], len(lines)], strict=True):
        blank = lines.index("", begin)
        yield lines[begin].removeprefix(HEADING), text_of(lines[begin + 1 : blank]), blank, end


def tables(text):
    lines = text.splitlines()
    pairs = yaml.compose(text).value
    written = []
    for title, paragraph, begin, end in sections(lines):
        written += [f"### {title}", "", *([paragraph, ""] if paragraph else [])]
        written += ["| value | default | meaning |", "| --- | --- | --- |"]
        within = [pair for pair in pairs if begin <= pair[0].start_mark.line < end]
        for path, default, meaning in values(lines, within):
            shown = "none" if default in (None, "", [], {}) else f"`{json.dumps(default)}`"
            written.append(f"| `{path}` | {shown} | {meaning} |")
        written.append("")
    return "\n".join(written)


def readme():
    """The README with its tables as they should be."""
    before, rest = README.read_text().split(BEGIN)
    text = (CHART / "values.yaml").read_text()
    return f"{before}{BEGIN}\n\n{tables(text)}\n{END}{rest.split(END)[1]}"


def update():
    wanted = copies()
    for copy in (CHART / "files").rglob("*.*"):
        if copy not in wanted:
            copy.unlink()
    for copy, original in wanted.items():
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(original.read_bytes())
    README.write_text(readme())


if __name__ == "__main__":
    update()
