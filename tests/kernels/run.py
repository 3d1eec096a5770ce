"""Run a command under another kernel: ``python -m tests.kernels.run KERNEL [options] -- COMMAND …``.

KERNEL is a name of ``tests.kernels.packages.KERNELS`` (5.10, 6.1, 6.12, newest). The command runs as root in this
working tree with this Python environment first in PATH; it sees this machine's files read-only at their own paths (and
may write anywhere: into memory). Output is passed on; so is the exit status. What it puts into ``/exchange`` is copied
to ``--output``. ``--headers`` provides ``/lib/modules/RELEASE/build``. Examples::

    python -m tests.kernels.run 6.1 -- uname -r
    python -m tests.kernels.run 5.10 -- python -m pytest -p no:cacheprovider tests/scenarios/test_services.py
    python -m tests.kernels.run newest --append lockdown=integrity -- sh -c 'dmesg | tail'
"""

import argparse
import shutil
import sys
from pathlib import Path

from tests.kernels.packages import KERNELS, Unavailable, fetch, headers
from tests.kernels.vm import Vm, VmError

SKIPPED = 77  # what automake calls a test that could not be run


def main() -> int:
    """Run the command; returns its exit status, 77 where the kernel cannot be had."""
    options = _parse()
    kernel = next(one for one in KERNELS if one.name == options.kernel)
    try:
        image = fetch(kernel)
        found = [headers(kernel, image.release)] if options.headers else []
        return _run(
            options,
            Vm(
                image,
                options.command,
                environment={"VM_HEADERS": str(found[0])} if found else {},
                append=options.append,
                memory_mib=options.memory,
                timeout_s=options.timeout,
                share=[*found, *options.share],
                keep=options.console,
            ),
        )
    except Unavailable as error:
        print(f"skipped: {error}", file=sys.stderr)
        return SKIPPED
    except VmError as error:
        print(error, file=sys.stderr)
        return 1


def _run(options: argparse.Namespace, vm: Vm) -> int:
    with vm:
        done = vm.wait(echo=True)
        if options.output:
            shutil.copytree(vm.exchange, options.output, dirs_exist_ok=True)
    return done.status


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.kernels.run", description="Run a command under a kernel.")
    parser.add_argument("kernel", choices=[kernel.name for kernel in KERNELS])
    parser.add_argument("--append", default="", help="to the kernel's command line")
    parser.add_argument("--memory", type=int, default=1024, help="MiB")
    parser.add_argument("--timeout", type=float, default=600, help="seconds, boot included")
    parser.add_argument("--share", type=Path, action="append", default=[], help="another directory to be seen")
    parser.add_argument("--headers", action="store_true", help="the kernel's headers, as /lib/modules/RELEASE/build")
    parser.add_argument("--output", type=Path, help="where to copy what the command left in /exchange")
    parser.add_argument("--console", type=Path, help="where to keep the console's log")
    parser.add_argument("command", nargs="+", help="after --")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
