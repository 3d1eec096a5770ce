"""Make ``schema_pb2.py`` and its types from ``schema.proto``: ``python -m tests.identity.api.generate_schema``."""

import tempfile
from importlib.resources import files
from pathlib import Path

from grpc_tools import protoc  # type: ignore[import-untyped]

__all__ = ["generate"]

ROOT = Path(__file__).parents[3] / "exporter"
PACKAGE = Path("natlens/identity/api")
MARK = '# ruff: noqa\n# fmt: off\n# mypy: disable-error-code="type-arg"\n'  # of what protoc writes


def generate() -> dict[Path, str]:
    """Return the generated files by their paths under ``exporter``."""
    with tempfile.TemporaryDirectory() as made:
        proto = str(PACKAGE / "schema.proto")
        status = protoc.main(
            [
                "protoc",
                f"-I{ROOT}",
                f"-I{files('grpc_tools') / '_proto'}",
                f"--python_out={made}",
                f"--pyi_out={made}",
                proto,
            ]
        )
        if status:
            raise SystemExit(status)
        return {path.relative_to(made): MARK + path.read_text() for path in Path(made).rglob("*.py*")}


if __name__ == "__main__":
    for path, text in generate().items():
        (ROOT / path).write_text(text)
