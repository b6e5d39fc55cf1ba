"""A task's report: a page with tabs, tables and pictures that is written while the task runs, and also when it fails.

$ python examples/report.py
$ flyte run examples/report.py main --epochs 5
"""

import asyncio

import flyte
import flyte.report

env = flyte.TaskEnvironment(name="report")


def curve(losses: list[float]) -> bytes:
    """A small picture; a figure of matplotlib or plotly goes into a report with flyte.report.figure(...)."""
    points = " ".join(f"{2 + 196 * i / len(losses):.0f},{98 - 96 * loss:.0f}" for i, loss in enumerate(losses))
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 200 100" width="400" height="200">'
        f'<polyline points="{points}" fill="none" stroke="slateblue" stroke-width="2"/></svg>'
    ).encode()


@env.task(report=True)
async def train(epochs: int) -> str:
    """Fit something, and let readers watch."""
    losses: list[float] = []
    for epoch in range(epochs):
        await asyncio.sleep(0.01)
        losses.append(1 / (epoch + 1))
        # The page is written at each flush, in one step; reload it to see how far the task is.
        html = flyte.report.image(curve(losses), alt="loss by epoch")
        await flyte.report.replace.aio(f"<p>Epoch {epoch + 1} of {epochs}</p>{html}", do_flush=True)

    rows = [{"epoch": epoch, "loss": f"{loss:.3f}"} for epoch, loss in enumerate(losses, 1)]
    flyte.report.get_tab("Losses").log(flyte.report.table(rows, caption="Loss after each epoch"))
    # What is logged is HTML; text() shows anything as the text it is.
    flyte.report.get_tab("Settings").log(flyte.report.text("optimizer = <none>"))
    return flyte.ctx().output_path


@env.task(report=True)
async def fails() -> None:
    """A report is most wanted here."""
    flyte.report.log("<p>Row 17 is the last that was read.</p>")
    raise ValueError("row 18 has no date")


@env.task
async def main(epochs: int = 3) -> str:
    """Train, and give the folder of the report.

    :param epochs: how often to go over the data.
    """
    try:
        await fails()
    except ValueError as error:
        print(f"{error}; its report says how far it came")
    return await train(epochs)


if __name__ == "__main__":
    folder = flyte.run(main, epochs=3).result
    with open(f"{folder}/report.html") as page:
        text = page.read()
    print(f"{text.count('<section')} tabs, {text.count('<img')} picture, {text.count('<td class=')} epochs")
    print(f"open {folder}/report.html")
