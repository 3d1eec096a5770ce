"""Options: one model, four sources, one line for every mistake."""

import json
from pathlib import Path
from typing import Annotated, Any

import msgspec
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from natlens.config import Options, describe, effective, load, schema
from natlens.errors import ConfigError
from natlens.ui.document import configuration
from natlens.ui.flags import Parser, add_flags, given_flags

SECONDS = "a number of seconds of at least"


def load_file(tmp_path: Path, text: str, **flags: str) -> Options:
    path = tmp_path / "natlens.yaml"
    path.write_text(text)
    return load({"config": str(path), **flags}, {}).options


def message(flags: dict[str, object], environ: dict[str, str]) -> str:
    with pytest.raises(ConfigError) as error:
        load(flags, environ)
    assert error.value.exit_status == 2
    return str(error.value)


def test_defaults() -> None:
    options = load({}, {"HOME": "/root", "OTEL_EXPORTER_OTLP_ENDPOINT": "x"}).options
    assert options == Options()
    assert (options.interval, options.idle_timeout, options.tcp_idle_timeout, options.settle) == (10, 30, 600, 0.25)
    assert (options.window_rows, options.window_translations, options.max_connections) == (131072, 65536, 500_000)
    assert (options.include_interfaces, options.exclude_interfaces, options.attach) == (["*"], [], "auto")
    assert (options.queue_bytes, options.shutdown_grace, options.timeout, options.headers) == (64 << 20, 10, None, {})
    assert (options.endpoint, options.output, options.identity_file) == (None, None, None)
    assert (options.protocol, options.compression, options.requests_in_flight) == (None, None, 4)
    assert (options.ca_file, options.client_certificate_file, options.client_key_file) == (None, None, None)
    assert (options.format, options.log_level, options.debug) == ("table", "info", False)


def test_flags_over_variables_over_file_over_defaults(tmp_path: Path) -> None:
    path = tmp_path / "natlens.yaml"
    path.write_text("interval: 1\nsettle: 1\nidle_timeout: 11\n")
    environ = {"NATLENS_INTERVAL": "2", "NATLENS_SETTLE": "2", "NATLENS_CONFIG": str(path)}
    options, origins = load({"interval": "3"}, environ)
    assert (options.interval, options.settle, options.idle_timeout, options.tcp_idle_timeout) == (3, 2, 11, 600)
    assert [origins[name] for name in ("interval", "settle", "idle_timeout", "tcp_idle_timeout")] == [
        "--interval",
        "NATLENS_SETTLE",
        f"{path}:3",
        "default",
    ]


def test_config_flag_wins_over_its_variable(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("interval: 1")
    assert load({"config": str(tmp_path / "a")}, {"NATLENS_CONFIG": "/none"}).options.interval == 1


@pytest.mark.parametrize(
    ("text", "size"),
    [("64MiB", 64 << 20), ("1.5 GiB", 3 << 29), ("2097152", 2 << 20), ("2048KiB", 2 << 20), ("1048576B", 1 << 20)],
)
def test_sizes(tmp_path: Path, text: str, size: int) -> None:
    assert load({"queue_bytes": text}, {}).options.queue_bytes == size
    assert load({}, {"NATLENS_QUEUE_BYTES": text}).options.queue_bytes == size
    assert load_file(tmp_path, f"queue_bytes: {text}").queue_bytes == size


def test_lists_and_mappings_as_text() -> None:
    environ = {"NATLENS_EXCLUDE_INTERFACES": "lo, docker*,", "NATLENS_HEADERS": "authorization=Basic%20YQ==, x-a=b%2Cc"}
    options = load({"include_interfaces": "eth0"}, environ).options
    assert options.include_interfaces == ["eth0"]
    assert options.exclude_interfaces == ["lo", "docker*"]
    assert options.headers == {"authorization": "Basic YQ==", "x-a": "b,c"}


def test_empty_text() -> None:
    assert load({"endpoint": ""}, {"NATLENS_INTERVAL": "", "NATLENS_ENDPOINT": "http://c:4317"}).options == Options()


def test_empty_file_is_defaults(tmp_path: Path) -> None:
    assert load_file(tmp_path, "# nothing\n") == Options()


@pytest.mark.parametrize(
    "variable",
    ["NATLENS_SERVICE_HOST", "NATLENS_PORT", "NATLENS_PORT_4317_TCP_ADDR", "NATLENS_METRICS_SERVICE_PORT_HTTP"],
)
def test_variables_that_the_kubelet_makes_for_a_service_are_no_mistakes(variable: str) -> None:
    assert load({}, {variable: "tcp://10.96.0.1:4317"}).options == Options()


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("interval: fast", f"FILE:1: interval is 'fast'; it must be {SECONDS} 0.1 and at most 86400"),
        ("interval: '5'", f"FILE:1: interval is '5'; it must be {SECONDS} 0.1 and at most 86400"),
        ("#\nsettle: -1", f"FILE:2: settle is -1; it must be {SECONDS} 0 and at most 10"),
        ("interval: .nan", f"FILE:1: interval is nan; it must be {SECONDS} 0.1 and at most 86400"),
        (
            "window_rows: 1.5",
            "FILE:1: window_rows is 1.5; it must be a whole number of at least 1024 and at most 16777216",
        ),
        ("interval: 5\n\nintervall: 6", "FILE:3: unknown option 'intervall' (value 6); did you mean interval?"),
        ("zebra: [1]", "FILE:1: unknown option 'zebra' (value [1]); natlens run --help lists all"),
        (
            "exclude_interfaces: eth0",
            "FILE:1: exclude_interfaces is 'eth0'; "
            "it must be a list of text, in a variable or flag separated by commas",
        ),
        ("attach: bpf", "FILE:1: attach is 'bpf'; it must be one of auto, tcx, clsact"),
        ("cluster_name: 7", "FILE:1: cluster_name is 7; it must be text or nothing"),
        ("debug: maybe", "FILE:1: debug is 'maybe'; it must be true or false"),
        (
            "headers: {authorization: 5}",
            "FILE:1: headers is a value not shown here; "
            "it must be a mapping of text to text, in a variable or flag name=value separated by commas",
        ),
        ("header: {token: hush}", "FILE:1: unknown option 'header' (a value not shown here); did you mean headers?"),
        ("interval: 1\ninterval: 2", "FILE:2: 'interval' is there twice, first in line 1; remove one"),
        ("- interval", "FILE: expected 'option: value' lines, found ['interval']; see docs/configuration.md"),
        (
            "a: 1\n b: 2",
            "FILE:2: is not valid YAML (mapping values are not allowed here); write 'option: value' lines",
        ),
        (
            "interval: !!python/name:os.system x",
            "FILE:1: is not valid YAML (could not determine a constructor for the tag "
            "'tag:yaml.org,2002:python/name:os.system'); write 'option: value' lines",
        ),
    ],
)
def test_mistake_in_the_file_is_one_line(tmp_path: Path, text: str, line: str) -> None:
    with pytest.raises(ConfigError) as error:
        load_file(tmp_path, text)
    assert str(error.value) == line.replace("FILE", f"{tmp_path}/natlens.yaml")


@pytest.mark.parametrize(
    ("environ", "line"),
    [
        ({"NATLENS_INTERVAL": "0"}, f"NATLENS_INTERVAL is '0'; it must be {SECONDS} 0.1 and at most 86400"),
        ({"NATLENS_INTERVL": "5"}, "unknown variable 'NATLENS_INTERVL' (value '5'); did you mean NATLENS_INTERVAL?"),
        (
            {"NATLENS_HEADER": "authorization=hush"},
            "unknown variable 'NATLENS_HEADER' (a value not shown here); did you mean NATLENS_HEADERS?",
        ),
        (
            {"NATLENS_HEADERS": "hush"},
            "NATLENS_HEADERS is a value not shown here; "
            "it must be a mapping of text to text, in a variable or flag name=value separated by commas",
        ),
        ({"NATLENS_DEBUG": "si"}, "NATLENS_DEBUG is 'si'; it must be true or false"),
        (
            {"NATLENS_QUEUE_BYTES": "64MB"},
            "NATLENS_QUEUE_BYTES is '64MB'; it must be a whole number of bytes, or a size such as 64MiB, "
            "of at least 1MiB and at most 1024GiB",
        ),
        (
            {"NATLENS_PROTOCOL": "http/json"},
            "NATLENS_PROTOCOL is 'http/json'; it must be one of grpc, http/protobuf or nothing",
        ),
        (
            {"NATLENS_TIMEOUT": "-1"},
            "NATLENS_TIMEOUT is '-1'; it must be a number of seconds above 0 and at most 3600 or nothing",
        ),
    ],
)
def test_mistake_in_a_variable_is_one_line(environ: dict[str, str], line: str) -> None:
    assert message({}, environ) == line


def test_mistake_in_a_flag_is_one_line() -> None:
    assert message({"interval": "9\n9"}, {}) == (f"--interval is '9\\n9'; it must be {SECONDS} 0.1 and at most 86400")
    assert message({"interval": "x" * 10_000}, {}).isprintable()
    assert len(message({"interval": "x" * 10_000}, {})) < 200


def test_unreadable_files(tmp_path: Path) -> None:
    assert message({"config": f"{tmp_path}/none"}, {}) == (
        f"{tmp_path}/none: cannot be read (No such file or directory); check --config and the file's mode"
    )
    (tmp_path / "latin").write_bytes(b"\xff")
    assert message({"config": f"{tmp_path}/latin"}, {}) == f"{tmp_path}/latin: is not UTF-8 text; save it as UTF-8"


def test_aliases_that_stand_for_billions_stay_one_short_line(tmp_path: Path) -> None:
    levels = "\n".join(f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 10)}]" for n in range(1, 12))
    with pytest.raises(ConfigError) as error:
        load_file(tmp_path, f"l0: &l0 [x]\n{levels}\n")
    assert len(str(error.value)) < 300


@given(st.text(max_size=40) | st.binary(max_size=40))
def test_arbitrary_files_load_or_are_refused(tmp_path_factory: pytest.TempPathFactory, content: str | bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass"))
    try:
        load({"config": str(path)}, {})
    except ConfigError as error:
        problem = str(error)
    else:
        problem = ""
    assert "\n" not in problem


TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
OPTIONS = st.builds(
    Options,
    interval=st.floats(0.1, 86400),
    settle=st.floats(0, 10),
    window_rows=st.integers(1024, 1 << 24),
    include_interfaces=st.lists(TEXT, max_size=3),
    attach=st.sampled_from(["auto", "tcx", "clsact"]),
    identity_file=st.none() | TEXT,
    cluster_name=st.none() | TEXT,
    timeout=st.none() | st.floats(0.001, 3600),
    protocol=st.sampled_from([None, "grpc", "http/protobuf"]),
    compression=st.sampled_from([None, "none", "gzip", "zstd"]),
    queue_bytes=st.integers(1 << 20, 1 << 40),
    requests_in_flight=st.integers(1, 64),
    ca_file=st.none() | TEXT,
    debug=st.booleans(),
)


@given(OPTIONS)
def test_printed_options_load_to_the_same(tmp_path_factory: pytest.TempPathFactory, options: Options) -> None:
    path = tmp_path_factory.getbasetemp() / "printed.yaml"
    loaded = load({}, {})._replace(options=options)
    path.write_text(effective(loaded), encoding="utf-8")
    assert load({"config": str(path)}, {}).options == options


def test_printed_options_say_where_each_is_from_and_hide_secrets() -> None:
    text = effective(load({"interval": "3"}, {"NATLENS_HEADERS": "authorization=hush", "NATLENS_DEBUG": "true"}))
    assert "interval: 3.0  # --interval\n" in text
    assert "settle: 0.25  # default\n" in text
    assert "debug: true  # NATLENS_DEBUG\n" in text
    assert "# headers: 'authorization' (values not shown)  # NATLENS_HEADERS\n" in text
    assert "hush" not in text


def test_schema_refuses_unknown_keys_and_describes_every_option() -> None:
    found = schema()["$defs"]["Options"]
    assert found["additionalProperties"] is False
    assert set(found["properties"]) == {option.name for option in describe()}
    assert all(one["description"] for one in found["properties"].values())
    assert found["properties"]["interval"]["minimum"] == 0.1
    assert found["properties"]["queue_bytes"]["type"] == ["integer", "string"]


def test_documentation_is_current() -> None:
    text = (Path(__file__).parent.parent / "docs" / "configuration.md").read_text(encoding="utf-8")
    assert text == configuration(), "run: python -m natlens.ui.document > docs/configuration.md"


def test_example_in_the_documentation_loads(tmp_path: Path) -> None:
    example = configuration().split("```yaml\n")[1].split("```")[0]
    assert load_file(tmp_path, example).queue_bytes == 128 << 20
    assert yaml.safe_load(example)["interval"] == 5


# The promise: an option is one field. Here is the field; everything else follows.
Extended: Any = msgspec.defstruct(
    "Extended",
    [
        (
            "sample_rate",
            Annotated[int, msgspec.Meta(ge=1, description="One connection in so many. For very large nodes.")],
            1,
        )
    ],
    bases=(Options,),
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
)


def test_one_new_field_is_an_option_everywhere(tmp_path: Path) -> None:
    parser = Parser(prog="natlens run")
    add_flags(parser, Extended)
    flags = given_flags(parser.parse_args(["--sample-rate", "7"]), Extended)
    assert load(flags, {}, Extended).options.sample_rate == 7
    assert "one connection in so many (1)" in parser.format_help()
    assert load({}, {"NATLENS_SAMPLE_RATE": "8"}, Extended).options.sample_rate == 8
    (tmp_path / "f").write_text("sample_rate: 9")
    assert load({"config": str(tmp_path / "f")}, {}, Extended).options.sample_rate == 9
    assert "sample_rate: 9  # " in effective(load({"config": str(tmp_path / "f")}, {}, Extended))
    assert schema(Extended)["$defs"]["Extended"]["properties"]["sample_rate"]["minimum"] == 1
    assert (
        "| `sample_rate` | `NATLENS_SAMPLE_RATE` | `--sample-rate` | a whole number of at least 1 | `1` "
        "| One connection in so many. For very large nodes. |\n"
    ) in configuration(Extended)
    with pytest.raises(ConfigError) as error:
        load({"sample_rate": "0"}, {}, Extended)
    assert str(error.value) == "--sample-rate is '0'; it must be a whole number of at least 1"
    assert json.dumps(schema(Extended))
