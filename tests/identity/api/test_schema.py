from pathlib import Path

import pytest
from google.protobuf.message import DecodeError

from natlens.identity.api import schema_pb2

pytest.importorskip("grpc_tools")

from tests.identity.api.generate_schema import ROOT, generate


def test_the_generated_files_are_current() -> None:
    made = generate()
    assert {path.name for path in made} == {"schema_pb2.py", "schema_pb2.pyi"}
    for path, text in made.items():
        assert (ROOT / path).read_text() == text, "python -m tests.identity.api.generate_schema"


def test_texts_that_are_no_utf8_are_refused_while_parsing() -> None:
    raw = schema_pb2.Plain(metadata=schema_pb2.ObjectMeta(name="abc")).SerializeToString()
    with pytest.raises(DecodeError):
        schema_pb2.Plain.FromString(raw.replace(b"abc", b"\xff\xfe\xfd"))
    assert Path(schema_pb2.__file__).name == "schema_pb2.py"
