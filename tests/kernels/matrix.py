"""All kernels: ``python -m tests.kernels.matrix [KERNEL …] [CASE …]`` runs the cases in each and keeps the results.

As many machines run beside each other as there are two cores for; logs are left in ``.cache/kernels``.
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from tests.bench.figure import say
from tests.kernels.cases import CASES
from tests.kernels.packages import KERNELS, Kernel, Unavailable, fetch
from tests.kernels.results import Result, keep, read_exchange
from tests.kernels.vm import COMPILED, TREE, Vm, VmError

__all__ = ["LOGS", "RESULTS", "run_all"]

LOGS = TREE / ".cache/kernels"
RESULTS = LOGS / "results.json"
BESIDE = 2
SECONDS = 1500.0
GUESTS_IMPORT = "tests/scenarios", "tests/kernels/inside"


def run_all(names: Sequence[str] = ()) -> list[Result]:
    """Run the matrix; returns one result a kernel, also for one that cannot be had. Names are kernels' and cases'."""
    begin = time.monotonic()
    kernels = [kernel for kernel in KERNELS if kernel.name in names] or list(KERNELS)
    cases = [case.name for case in CASES if case.name in names]
    LOGS.mkdir(parents=True, exist_ok=True)
    _compile()
    with ThreadPoolExecutor(BESIDE) as pool:
        results = list(pool.map(lambda kernel: run_one(kernel, cases), kernels))
    minutes = (time.monotonic() - begin) / 60
    keep(results, minutes, RESULTS)
    say("matrix_minutes", minutes, "min")
    return results


def _compile() -> None:
    """Compile Python's modules for the guests, by importing all that they do: there it takes minutes."""
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", *GUESTS_IMPORT]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment["PYTHONPYCACHEPREFIX"] = str(COMPILED)
    subprocess.run(command, cwd=TREE, env=environment, stdout=subprocess.DEVNULL, check=True)


def run_one(kernel: Kernel, cases: Sequence[str] = ()) -> Result:
    """Boot one kernel and run its cases, or some of them."""
    result = Result(kernel.name)
    begin = time.monotonic()
    logs = LOGS / kernel.name
    shutil.rmtree(logs, ignore_errors=True)
    try:
        image = fetch(kernel)
        logs.mkdir()
        command = ["python", "-m", "tests.kernels.guest", kernel.name, "/exchange", *cases]
        with Vm(image, command, timeout_s=SECONDS, keep=logs / "console.txt") as vm:
            _finish(vm, result)
            shutil.copytree(vm.exchange, logs, dirs_exist_ok=True)
            read_exchange(logs, result)
    except Unavailable as error:
        result.missing = str(error)
    result.seconds = round(time.monotonic() - begin, 1)
    _say(result)
    return result


def _finish(vm: Vm, result: Result) -> None:
    try:
        done = vm.wait()
    except VmError as error:
        result.broken = str(error)
    else:
        if done.status:
            result.broken = f"status {done.status}: {done.stderr[-2000:]}"


def _say(result: Result) -> None:
    counts = {how: sum(one.how == how for one in result.outcomes) for how in ("passed", "failed", "skipped")}
    said = result.missing or result.broken or ", ".join(f"{count} {how}" for how, count in counts.items())
    print(f"{result.kernel}: {said} ({result.seconds:.0f} s)", file=sys.stderr, flush=True)
    for one in result.again:
        print(f"{result.kernel}: {one.case}: {one.test} {one.why[:300]}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    run_all(sys.argv[1:])
