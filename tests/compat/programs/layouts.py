"""Files, modules and packages that flyte run and python find."""

import subprocess
import sys
from pathlib import Path

Path("pkg/sub").mkdir(parents=True)
Path("pkg/__init__.py").write_text("")
Path("pkg/sub/__init__.py").write_text("")
Path("helper.py").write_text("def add(a, b):\n    return a + b\n")
Path("pkg/envs.py").write_text("import flyte\nenv = flyte.TaskEnvironment('shared')\n")
TASK = '''
@env.task
async def main(x: int = 1) -> int:
    print("BODY", add(x, 1), __name__ == "__main__", flush=True)
    return x
'''
Path("top.py").write_text("import flyte\nfrom helper import add\nenv = flyte.TaskEnvironment('top')\n" + TASK)
Path("pkg/inner.py").write_text("from helper import add\nfrom pkg.envs import env\n" + TASK)
Path("pkg/sub/relative.py").write_text("from helper import add\nfrom ..envs import env\n" + TASK)
Path("two.py").write_text('''
import flyte
from pkg.envs import env as shared
first = flyte.TaskEnvironment("first")
second = flyte.TaskEnvironment("second", depends_on=[first])


@first.task
async def one(x: int) -> int:
    return x + 1


@second.task
async def two(x: int) -> int:
    print("BODY", await one(x), flush=True)
    return x


renamed = two.override(short_name="other")

if __name__ == "__main__":
    flyte.init()
    print("BODY script", flyte.run(two, 5).outputs()[0])
''')
Path("broken.py").write_text("import nowhere_to_be_found\n")
Path("empty.py").write_text("x = 1\n")


def call(*command):
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60)
    # python3, python3.11, ...: the same interpreter under another name.
    names = (Path(part).name if part.startswith("/") and "bin" in part else part for part in command)
    print("$", *("python" if name.startswith("python") else name for name in names))
    for line in (done.stdout + done.stderr).splitlines():
        if line.startswith("BODY"):
            print("   ", line)
    print("    exit", "0" if done.returncode == 0 else "failure", flush=True)


flyte = str(Path(sys.executable).parent / "flyte")
call(flyte, "run", "--local", "top.py", "main", "--x", "3")
call(flyte, "run", "--local", "./top.py", "main")
call(flyte, "run", "--local", "pkg/../top.py", "main")
call(flyte, "run", "--local", "pkg/inner.py", "main")
call(flyte, "run", "--local", "pkg/sub/relative.py", "main")
call(flyte, "run", "--local", "top", "main")
call(flyte, "run", "--local", "pkg.inner", "main")
call(flyte, "run", "--local", "two.py", "two", "--x", "1")
call(flyte, "run", "--local", "two.py", "first.one", "--x", "1")
call(flyte, "run", "--local", "two.py", "renamed", "--x", "1")
call(flyte, "run", "--local", "broken.py", "main")
call(flyte, "run", "--local", "empty.py", "main")
call(flyte, "run", "--local", "two.py")
call(flyte, "run", "--local", "two.py", "--help")
call(flyte, "run", "--local", "--root-dir", ".", "top.py", "main")
call(flyte, "run", "--project", "p", "--domain", "d", "--local", "top.py", "main")
call(flyte, "run", "--name", "n1", "--local", "top.py", "main")
call(flyte, "run", "--local", "--image", "img:1", "top.py", "main")
call(flyte, "run", "--local", "--service-account", "s", "top.py", "main")
call(flyte, "run", "--local", "--copy-style", "all", "top.py", "main")
call(flyte, "run", "--local", "--no-sync-local-sys-paths", "top.py", "main")
call(flyte, "run", "--local", "-e", "A=1", "top.py", "main")
call(flyte, "-vv", "run", "--local", "top.py", "main")
call(flyte, "--output-format", "json", "run", "--local", "top.py", "main")
call(sys.executable, "two.py")
call(sys.executable, "-m", "two")
