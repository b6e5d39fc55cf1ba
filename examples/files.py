"""Files and folders between tasks: what crosses is a reference, so size does not matter.

A file appears when its ``with`` block ends well, so a half-written file is never seen.

$ python examples/files.py
$ flyte run examples/files.py main --parts 2
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import flyte
from flyte.io import Dir, File, HashlibAccumulator

env = flyte.TaskEnvironment(name="files")


@dataclass
class Report:
    summary: File
    longest: File


@env.task
async def produce(parts: int) -> Dir:
    with tempfile.TemporaryDirectory() as folder:
        for number in range(parts):
            Path(folder, f"part-{number}.txt").write_text("a line\n" * 1000 * (number + 1))
        return await Dir.from_local(folder)  # copied to the run's own storage before the folder goes


@env.task
async def count(part: File) -> int:
    lines = 0
    async with part.open("r") as text:
        async for _ in text:
            lines += 1
    return lines


@env.task
def summarize(folder: Dir, lines: dict[str, int]) -> Report:
    longest = max(lines, key=lambda name: lines[name])
    # The hash stands for the content wherever the file is a task's input.
    summary: File = File.new_remote("summary.txt", hash_method=HashlibAccumulator("sha256"))
    with summary.open_sync("w") as out:
        out.write(f"{len(lines)} files, {sum(lines.values())} lines, longest is {longest}")
    found = folder.get_file_sync(longest)
    assert found is not None
    return Report(summary, found)


@env.task
async def main(parts: int = 3) -> list[str]:
    """Write some files, count their lines, and sum up in another file.

    :param parts: how many files.
    """
    folder = await produce(parts)
    files = [file async for file in folder.walk()]
    report = await summarize.aio(folder, {file.name or "": await count(file) for file in files})
    async with report.summary.open("r") as text:
        return [f"{report.summary.name}: {await text.read()}", f"sha256 of the summary: {report.summary.hash}"]


if __name__ == "__main__":
    for line in flyte.run(main).result:
        print(line)
