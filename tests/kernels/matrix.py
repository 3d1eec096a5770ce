"""All kernels: ``python -m tests.kernels.matrix [KERNEL …]`` runs the cases in each and keeps the results.

As many machines run beside each other as there are two cores for; logs are left in ``.cache/kernels``.
"""

import shutil
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from tests.kernels.packages import KERNELS, Kernel, Unavailable, fetch
from tests.kernels.results import Result, keep, read_exchange
from tests.kernels.vm import TREE, Vm, VmError

__all__ = ["LOGS", "RESULTS", "run_all"]

LOGS = TREE / ".cache/kernels"
RESULTS = LOGS / "results.json"
BESIDE = 2
SECONDS = 1500.0


def run_all(names: Sequence[str] = ()) -> list[Result]:
    """Run the matrix; returns one result a kernel, also for one that cannot be had."""
    chosen = [kernel for kernel in KERNELS if not names or kernel.name in names]
    LOGS.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(BESIDE) as pool:
        results = list(pool.map(run_one, chosen))
    keep(results, RESULTS)
    return results


def run_one(kernel: Kernel) -> Result:
    """Boot one kernel and run its cases."""
    result = Result(kernel.name)
    begin = time.monotonic()
    logs = LOGS / kernel.name
    shutil.rmtree(logs, ignore_errors=True)
    try:
        image = fetch(kernel)
        logs.mkdir()
        command = ["python", "-m", "tests.kernels.guest", "/exchange"]
        with Vm(image, command, timeout_s=SECONDS, keep=logs / "console.log") as vm:
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


if __name__ == "__main__":
    run_all(sys.argv[1:])
