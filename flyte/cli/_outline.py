"""Tasks and parameters of a file, read from its source without running it: for shell completion.

Pressing TAB must not execute a user's module, so this knows only what is written: functions decorated with
``@something.task``.
"""

import ast


def outline(path: str) -> dict[str, list[str]]:
    """Task name -> parameter names, in the order of the file; empty if it cannot be read."""
    try:
        with open(path, "rb") as file:
            tree = ast.parse(file.read())
    except (OSError, SyntaxError, ValueError):
        return {}
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    return {
        f.name: [a.arg for a in (*f.args.posonlyargs, *f.args.args, *f.args.kwonlyargs)]
        for f in functions
        if any(_is_task(decorator) for decorator in f.decorator_list)
    }


def _is_task(decorator: ast.expr) -> bool:
    called = decorator.func if isinstance(decorator, ast.Call) else decorator
    return isinstance(called, ast.Attribute) and called.attr == "task"
