"""The places of a Python file that a mutant changes, and what makes each change."""

from __future__ import annotations

import ast
import copy
from collections.abc import Callable

COMPARISONS: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
}
OPERATORS: dict[type[ast.operator], tuple[type[ast.operator], ...]] = {
    ast.Add: (ast.Sub,),
    ast.Sub: (ast.Add,),
    ast.Mult: (ast.Div, ast.Add),
    ast.Div: (ast.Mult,),
    ast.FloorDiv: (ast.Mult, ast.Add),
    ast.Mod: (ast.FloorDiv,),
    ast.Pow: (ast.Mult,),
    ast.BitAnd: (ast.BitOr,),
    ast.BitOr: (ast.BitAnd,),
    ast.BitXor: (ast.BitAnd,),
}
# In whatever order their arguments come.
COMMUTATIVE = {"min", "max", "gcd", "equal", "dot"}
# Their arguments are words for people: errors, logs, warnings, descriptions.
WORDY_CALLS = {"warning", "info", "debug", "error", "warn", "echo", "write", "option", "command"}


class Sites(ast.NodeVisitor):
    """Collects the places of a file that can be changed, each with what makes the change.

    A site is (line, description, change); ``change`` alters the tree that was visited, in place.
    """

    def __init__(self) -> None:
        self.found: list[tuple[int, str, Callable[[], None]]] = []
        self._skipped: set[int] = set()

    def add(self, node: ast.AST, description: str, change: Callable[[], None]) -> None:
        """Keeps a site."""
        self.found.append((getattr(node, "lineno", 0), description, change))

    def _replace(self, parent: ast.AST, old: ast.AST, new: ast.AST) -> None:
        def change() -> None:
            for name, value in ast.iter_fields(parent):
                if value is old:
                    setattr(parent, name, new)
                elif isinstance(value, list):
                    value[:] = [new if item is old else item for item in value]

        ast.copy_location(new, old)
        shown = [ast.unparse(ast.fix_missing_locations(node)) for node in (old, new)]
        self.add(old, f"{shown[0]} -> {shown[1]}", change)

    def generic_visit(self, node: ast.AST) -> None:
        """Visits the children, with the node as their parent."""
        for child in ast.iter_child_nodes(node):
            if id(child) in self._skipped:
                continue
            self._look(node, child)
            self.visit(child)

    def _look(self, parent: ast.AST, node: ast.AST) -> None:
        if isinstance(node, ast.Constant):
            self._constant(parent, node)
        elif isinstance(node, ast.BoolOp):
            other = ast.Or() if isinstance(node.op, ast.And) else ast.And()
            self._replace(parent, node, ast.BoolOp(op=other, values=node.values))
        elif isinstance(node, ast.UnaryOp):
            if isinstance(node.op, ast.Not | ast.USub):
                self._replace(parent, node, node.operand)
        elif isinstance(node, ast.BinOp):
            for kind in OPERATORS.get(type(node.op), ()):
                changed = ast.BinOp(left=node.left, op=kind(), right=node.right)
                self._replace(parent, node, changed)
        elif isinstance(node, ast.Compare):
            for place, operator in enumerate(node.ops):
                for kind in COMPARISONS.get(type(operator), ()):
                    operators = [*node.ops]
                    operators[place] = kind()
                    changed = ast.Compare(
                        left=node.left, ops=operators, comparators=node.comparators
                    )
                    self._replace(parent, node, changed)
        elif isinstance(node, ast.Slice):
            self._slice(parent, node)
        elif isinstance(node, ast.Call):
            self._call(parent, node)
        elif isinstance(node, ast.If | ast.While | ast.IfExp) and not isinstance(
            node.test, ast.Compare
        ):
            self._replace(node, node.test, ast.UnaryOp(op=ast.Not(), operand=node.test))
        elif isinstance(node, ast.Return) and not isinstance(node.value, ast.Constant | None):
            self._replace(parent, node, ast.Return(value=ast.Constant(value=None)))

    def _constant(self, parent: ast.AST, node: ast.Constant) -> None:
        value = node.value
        if isinstance(value, bool):
            self._replace(parent, node, ast.Constant(value=not value))
        elif isinstance(value, int):
            self._replace(parent, node, ast.Constant(value=value + 1))
            if value > 1:
                self._replace(parent, node, ast.Constant(value=value - 1))
        elif isinstance(value, float):
            self._replace(parent, node, ast.Constant(value=value * 1.5 or 0.5))
        elif isinstance(value, str) and value and " " not in value:
            self._replace(parent, node, ast.Constant(value=""))

    def _slice(self, parent: ast.AST, node: ast.Slice) -> None:
        for name in ("lower", "upper"):
            bound = getattr(node, name)
            if bound is not None and not isinstance(bound, ast.Constant):
                later = ast.BinOp(left=bound, op=ast.Add(), right=ast.Constant(value=1))
                changed = copy.copy(node)
                setattr(changed, name, later)
                self._replace(parent, node, changed)

    def _call(self, parent: ast.AST, node: ast.Call) -> None:
        name = getattr(node.func, "attr", getattr(node.func, "id", ""))
        if name in WORDY_CALLS:
            return
        if name not in COMMUTATIVE and not any(isinstance(a, ast.Starred) for a in node.args):
            for place in range(len(node.args) - 1):
                first, second = node.args[place : place + 2]
                if ast.dump(first) != ast.dump(second):
                    swapped = [*node.args]
                    swapped[place : place + 2] = [second, first]
                    changed = ast.Call(func=node.func, args=swapped, keywords=node.keywords)
                    self._replace(parent, node, changed)
        for keyword in node.keywords:
            if keyword.arg not in (None, "strict"):
                rest = [other for other in node.keywords if other is not keyword]
                self._replace(parent, node, ast.Call(func=node.func, args=node.args, keywords=rest))

    def visit_Expr(self, node: ast.Expr) -> None:
        """Skips docstrings."""
        if not isinstance(node.value, ast.Constant):
            self.generic_visit(node)

    def visit_keyword(self, node: ast.keyword) -> None:
        """Skips values that were marked."""
        if id(node.value) not in self._skipped:
            self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        """Skips words for people."""
        name = getattr(node.func, "attr", getattr(node.func, "id", ""))
        # No test can tell zip(..., strict=True) from a plain one.
        self._skipped.update(id(word.value) for word in node.keywords if word.arg == "strict")
        if name not in WORDY_CALLS:
            self.generic_visit(node)

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        """Goes into the values of an f-string only."""
        for part in node.values:
            if isinstance(part, ast.FormattedValue):
                self._look(part, part.value)
                self.visit(part.value)

    def visit_Raise(self, node: ast.Raise) -> None:
        """Skips the words of errors."""

    def visit_Subscript(self, node: ast.Subscript) -> None:
        """Skips the words of a type, which nothing reads."""
        if getattr(node.value, "id", "") != "Literal":
            self.generic_visit(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        """Skips decorators, such as that of a dataclass."""
        self._skipped.update(id(decorator) for decorator in node.decorator_list)
        self.generic_visit(node)

    def visit_Assert(self, node: ast.Assert) -> None:
        """Skips invariants, which no test can break."""

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        """Skips imports."""

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        """Skips annotations."""
        if node.value is not None:
            self._skipped.update((id(node.annotation), id(node.target)))
            self.generic_visit(node)

    def visit_arg(self, node: ast.arg) -> None:
        """Skips annotations."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        """Visits defaults and body."""
        self._skipped.update(id(decorator) for decorator in node.decorator_list)
        if node.returns is not None:
            self._skipped.add(id(node.returns))
        self.generic_visit(node)

    def visit(self, node: ast.AST) -> None:
        """Adds the deletion of statements, then visits as usual."""
        for name in ("body", "orelse", "finalbody"):
            block = getattr(node, name, None)
            if isinstance(block, list) and not isinstance(node, ast.Module | ast.ClassDef):
                for statement in block:
                    self._deletion(node, statement)
        super().visit(node)

    def _deletion(self, parent: ast.AST, node: ast.stmt) -> None:
        is_call = isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
        is_store = isinstance(node, ast.Assign | ast.AugAssign) and isinstance(
            node.targets[0] if isinstance(node, ast.Assign) else node.target,
            ast.Attribute | ast.Subscript,
        )
        again = isinstance(node, ast.AugAssign | ast.Raise | ast.Continue | ast.Break)
        if is_call or is_store or again:
            self._replace(parent, node, ast.Pass())


def sites(source: str) -> list[tuple[int, str, Callable[[], None]]]:
    """Line, description and change of every site; the changes are of this call's own tree."""
    return parsed(source)[1]


def parsed(source: str) -> tuple[ast.Module, list[tuple[int, str, Callable[[], None]]]]:
    """The tree, and the sites whose changes alter it."""
    tree = ast.parse(source)
    # A block of `if TYPE_CHECKING` never runs.
    tree.body = [n for n in tree.body if not (isinstance(n, ast.If) and "TYPE_CHE" in ast.dump(n))]
    visitor = Sites()
    visitor.visit(tree)
    return tree, visitor.found
