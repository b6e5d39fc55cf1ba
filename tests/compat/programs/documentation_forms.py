"""Documentation, given and taken from docstrings."""

import flyte
from flyte.models import Docstring, NativeInterface
from transcript import attempt, show

env = flyte.TaskEnvironment("docs", description="environment")


@env.task(docs=flyte.Documentation(description="given"))
async def given(x: int) -> int:
    """Own docstring."""
    return x


@env.task
async def google(x: int, y: str = "a") -> int:
    """Short line.

    Longer text.

    Args:
        x: the number
        y: the text

    Returns:
        what comes out
    """
    return x


@env.task
async def sphinx(x: int, y: str = "a") -> int:
    """Short line.

    :param x: the number
    :param y: the text
    :return: what comes out
    """
    return x


@env.task
async def numpy(x: int, y: str = "a") -> int:
    """Short line.

    Parameters
    ----------
    x : int
        the number
    y : str
        the text

    Returns
    -------
    int
        what comes out
    """
    return x


@env.task
async def none(x: int) -> int:
    return x


for task in (given, google, sphinx, numpy, none):
    show(task.short_name, task.docs)
    doc = task.interface.docstring
    attempt("  short", lambda: doc.short_description if doc else None)
    attempt("  long", lambda: doc.long_description if doc else None)
    attempt("  inputs", lambda: doc.input_descriptions if doc else None)
    attempt("  outputs", lambda: doc.output_descriptions if doc else None)
show("Docstring", [Docstring(docstring="One.\n\n:param a: x").short_description,
                   Docstring(docstring="One.\n\n:param a: x").input_descriptions])
show("Docstring callable", Docstring(callable_=google.func).short_description)
