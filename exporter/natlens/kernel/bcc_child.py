"""Compile the programs with bcc, load them, hand their file descriptors over: the work of a process of its own.

So LLVM (some 220 MiB while it compiles) is gone when this ends. It runs under whichever Python has bcc (3.9 or
later), so nothing of natlens is imported here.

Usage: ``bcc_child.py SOCKET``: the descriptor of a SOCK_SEQPACKET socket. Takes one message, the request::

    {"sources": folder of the C sources,  "main": the file with the programs,
     "macros": {name: value},             defined before anything is included
     "after": the #include behind which   "names": {name: value} are defined: maps that exist already, by descriptor}

and answers with one, ``{"programs": [name, …], "version": bcc's, "peak_kib": own peak}`` and the programs' descriptors,
or ``{"failed": "import" | "package" | "compile" | "load", "why": text}``. What clang and the verifier say goes to
standard error. An empty request asks for the version only.
"""

from __future__ import annotations

import json
import os
import resource
import socket
import sys
from typing import Any

CFLAGS = (
    "-DNATLENS_BCC",
    "-fms-extensions",  # kernels are built with it since 6.19: their structs embed others by name
    "-Wno-everything",  # warnings are the kernel headers' own
    "-Werror=implicit-function-declaration",  # else it is a call to nowhere, which only the verifier tells of
)


class Failed(Exception):
    """``args`` are the step that failed, and why."""


def import_bcc() -> Any:
    """Return the module bcc; raises Failed where there is none, or another package of that name."""
    here = os.path.dirname(os.path.realpath(__file__))  # noqa: PTH120  # its modules must not stand before the library's
    sys.path[:] = [entry for entry in sys.path if os.path.realpath(entry or ".") != here]
    try:
        import bcc
    except (ImportError, OSError) as error:  # OSError: libbcc.so is not there
        raise Failed("import", str(error)) from error
    if not hasattr(getattr(bcc, "BPF", None), "load_funcs"):
        raise Failed("package", str(getattr(bcc, "__file__", None) or next(iter(bcc.__path__))))
    return bcc


def source_text(request: dict[str, Any]) -> str:
    """Return the main source with the maps' names defined where the maps are declared otherwise."""
    path = os.path.join(request["sources"], request["main"])  # noqa: PTH118
    with open(path, encoding="utf-8") as file:  # noqa: PTH123
        text = file.read()
    names = "".join(f"#define {name} {value}\n" for name, value in request["names"].items())
    before, include, after = text.partition(f'#include "{request["after"]}"\n')
    line = before.count("\n") + 2
    return f'{before}{include}{names}#line {line} "{request["main"]}"\n{after}'


def compile_and_load(request: dict[str, Any]) -> tuple[dict[str, Any], list[int]]:
    """Return the answer and the descriptors of the loaded programs."""
    bcc = import_bcc()
    version = str(getattr(bcc, "__version__", "of unknown version"))
    if not request:
        return {"programs": [], "version": version}, []
    macros = [f"-D{name}={value}" for name, value in request["macros"].items()]
    try:
        compiled = bcc.BPF(text=source_text(request), cflags=[f"-I{request['sources']}", *CFLAGS, *macros])
    except Exception as error:  # bcc raises nothing more special
        raise Failed("compile", str(error)) from error
    try:
        functions = compiled.load_funcs(bcc.BPF.SCHED_CLS)
    except Exception as error:
        raise Failed("load", str(error)) from error
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    answer = {"programs": [one.name.decode() for one in functions], "version": version, "peak_kib": peak}
    return answer, [one.fd for one in functions]


def main(descriptor: int) -> None:
    """Answer one request."""
    with socket.socket(fileno=descriptor) as agent:
        request = json.loads(agent.recv(65536))
        try:
            answer, fds = compile_and_load(request)
        except Failed as failed:
            step, why = failed.args
            answer, fds = {"failed": step, "why": why}, []
        socket.send_fds(agent, [json.dumps(answer).encode()], fds)
    sys.stderr.flush()
    os._exit(0)  # bcc's own cleaning up at exit has nothing left to do


if __name__ == "__main__":
    main(int(sys.argv[1]))
