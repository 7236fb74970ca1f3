"""Mistakes in a `pipeline.config`: what the parser refuses, and what it lets through.

`syntax_findings` lists every unknown field, wrong value and field that is there twice, where
protobuf's parser stops at the first. `lint` adds what `lint_rules` says of the parsed message.
"""

import dataclasses
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from google.protobuf import text_format

from replicate.config import fixes, lint_rules, paths, syntax, templates, textproto
from replicate.errors import UserError

if TYPE_CHECKING:
    from google.protobuf.descriptor import Descriptor, FieldDescriptor


ERROR, WARNING = "error", "warning"


@dataclasses.dataclass(frozen=True)
class Finding:
    """One mistake.

    Attributes:
      level: "error" (the API refuses it, or it cannot be meant) or "warning".
      line, column: from 1; the start of the text where a field is missing.
      path: the field.
      message: what is wrong and what to do.
      fix: what `fixed` puts in its place, or None.
    """

    level: str
    line: int
    column: int
    path: str
    message: str
    fix: fixes.Replacement | None = None


def lint(text: str, origin: str) -> list[Finding]:
    """All findings of a config's text, in the order of the lines.

    Args:
      text: protobuf text format.
      origin: what it came from, for the message of a text that has no structure at all.

    Raises:
      UserError: braces that do not close, and the like; the message gives line and column.
    """
    if templates.fragments(text):
        raise UserError(
            f"{origin}: a template, which is complete only once rendered; check what "
            "tools/render_config.py writes"
        )
    try:
        tree = syntax.Text(text)
    except syntax.NotTextFormat as error:
        textproto.parse(text, origin, hint=False)  # says why not
        raise UserError(f"{origin}: not understood at '{error}'") from error
    findings = syntax_findings(tree)
    if not findings:
        message = textproto.parse(text, origin)
        findings = [
            Finding(problem.level, *position(tree, problem.path), problem.path, problem.message)
            for problem in lint_rules.check(message)
        ]
    return sorted(findings, key=lambda finding: (finding.line, finding.column))


def fixed(text: str, findings: Iterable[Finding]) -> str:
    """The text with every fix of `findings` in place."""
    for fix in sorted((f.fix for f in findings if f.fix), key=lambda fix: -fix.start):
        text = text[: fix.start] + fix.text + text[fix.end :]
    return text


def syntax_findings(tree: syntax.Text) -> list[Finding]:
    """What protobuf would refuse in a `syntax.Text`: all of it, not the first alone."""
    return list(_message(tree, tree.fields, textproto.pipeline_class().DESCRIPTOR))


def _message(
    tree: syntax.Text, nodes: Iterable[syntax.Node], descriptor: "Descriptor"
) -> Iterator[Finding]:
    by_name: dict[str, syntax.Node] = {}
    members: dict[str, str] = {}
    for node in nodes:
        field = descriptor.fields_by_name.get(node.name)
        if field is None:
            yield _unknown(tree, node, descriptor)
            continue
        oneof = field.containing_oneof
        if not field.is_repeated and node.name in by_name:
            yield _error(tree, node, f"'{node.name}' is given twice; it takes one value")
        elif oneof is not None and members.get(oneof.name, node.name) != node.name:
            yield _error(
                tree,
                node,
                f"'{node.name}' and '{members[oneof.name]}' exclude each other; keep one of them",
            )
        by_name[node.name] = node
        if oneof is not None:
            members.setdefault(oneof.name, node.name)
        if node.children is not None and field.type == field.TYPE_MESSAGE:
            yield from _message(tree, node.children, field.message_type)
        else:
            yield from _value(tree, node, field)


def _unknown(tree: syntax.Text, node: syntax.Node, descriptor: "Descriptor") -> Finding:
    copied = fixes.copied_mistake(tree, node, descriptor)
    if copied is not None:
        message, fix = copied
        return Finding(ERROR, *tree.line_column(node.start), node.path, message, fix)
    return _error(tree, node, textproto.unknown_field(descriptor, node.name))


def _value(tree: syntax.Text, node: syntax.Node, field: "FieldDescriptor") -> Iterator[Finding]:
    """A scalar (or a message's missing braces), judged by protobuf's own parser."""
    holder = textproto.message_class(field.containing_type)()
    if node.children is not None:
        yield _error(tree, node, f"'{node.name}' takes {paths.kind(field)}, not a message")
        return
    try:
        text_format.Parse(f"{field.name}: {node.literal}", holder)
    except text_format.ParseError as error:
        problem = textproto.explain(textproto.problem_of(error))
        yield _error(tree, node, f"{problem} ('{node.name}' takes {paths.kind(field)})")


def _error(tree: syntax.Text, node: syntax.Node, message: str) -> Finding:
    return Finding(ERROR, *tree.line_column(node.start), node.path, message)


def position(tree: syntax.Text, path: str) -> tuple[int, int]:
    """Line and column of a field; of the nearest message around it where it is not written."""
    while path:
        node = tree.find(path)
        if node is not None:
            return tree.line_column(node.start)
        path = path.rpartition(".")[0]
    return 1, 1
