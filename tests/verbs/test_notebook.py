"""flyte.run in a real Jupyter kernel, whose main thread runs an event loop."""

from pathlib import Path

import nbclient
import nbformat
import pytest

TASKS = """
@env.task
async def square(x: int) -> int:
    return x * x
@env.task
def cube(x: int) -> int:
    return x ** 3
@env.task
async def total(n: int) -> int:
    return sum(await asyncio.gather(*[square(i) for i in range(n)])) + await cube.aio(2)
"""
CELLS = [
    "import asyncio, flyte\nenv = flyte.TaskEnvironment(name='notebook')",
    TASKS,
    "flyte.run(total, n=4).result",
    "(await flyte.run.aio(total, n=4)).result",
    "await square(5), cube(2)",
    # Running a cell again redefines the task.
    "@env.task\nasync def square(x: int) -> int:\n    return -x",
    "flyte.run(total, n=4).result",
]


@pytest.mark.filterwarnings("ignore")  # Jupyter's own
def test_cells(tmp_path: Path):
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in CELLS])
    nbclient.NotebookClient(notebook, timeout=60, resources={"metadata": {"path": str(tmp_path)}}).execute()
    shown = [
        output["data"]["text/plain"]
        for cell in notebook.cells
        for output in cell.outputs
        if output["output_type"] == "execute_result"
    ]
    assert shown == ["22", "22", "(25, 8)", "2"]
