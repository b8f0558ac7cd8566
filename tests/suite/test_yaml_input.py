"""YAML from users: what is wrong or far too much ends in one line, quickly and in little memory."""

import resource
import subprocess
import sys

import counted_calls
import pytest

from suite.cli.app import main
from suite.config import ConfigError
from suite.interface.errors import brief
from suite.yaml_input import MOST_BYTES, MOST_VALUES, load, load_file

BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{below}'] * 9)}]\n"
    for below, name in zip("abcdefghi", "bcdefghij", strict=True)
)
MOST_CALLS = 300 * MOST_VALUES  # PyYAML makes some 160 for a value
TOO_DEEP = "more than 50 collections inside each other"
TOO_MANY = "more than 20,000 values, aliases expanded"
FAULTS = {
    "bomb": (BOMB, f"line 5: {TOO_MANY}"),
    "merge bomb": (
        "a0: &a0 {x: 1}\n"
        + "".join(f"a{i}: &a{i} {{<<: [*a{i - 1}, *a{i - 1}]}}\n" for i in range(1, 40)),
        TOO_MANY,
    ),
    "many values": (f"[{'1,' * 40_000}]", TOO_MANY),
    "flow": ("[" * 20_000, f"line 1: {TOO_DEEP}"),
    "block": ("- " * 20_000, TOO_DEEP),
    "chain of aliases": (
        "- &a0 [1]\n" + "".join(f"- &a{i} [*a{i - 1}]\n" for i in range(1, 900)),
        TOO_DEEP,
    ),
    "endless": ("&a [*a]", "line 1: alias *a stands inside what it names"),
    "large": ("x" * (MOST_BYTES + 1), "more than 100,000 bytes, the most that is read"),
    "twice": ("seeds: [0]\nname: 1\nseeds: [1]\n", "line 3: key seeds is in line 1 already"),
    "twice inside": ("x: {a: 1, a: 2}", "line 1: key a is in line 1 already"),
    "equal, written otherwise": ("1: a\n0x1: b", "line 2: key 0x1 is in line 1 already"),
    "binary": (bytes(range(256)), "not a text in UTF-8 (byte 0x80 at 128)"),
    "nul": ("a: \x00", "unacceptable character #x0000"),
    "no date": ("on: 2020-13-45", "month must be in 1..12"),
    "no number": ("a: 0x_", "invalid literal for int()"),
    "code": ("!!python/object/apply:os.system [ls]", "line 1: could not determine a constructor"),
    "wrong tag": ("!!timestamp now", "a value that does not fit its tag"),
    "unhashable key": ("? !!set x\n: 1", "a value that does not fit its tag"),
}


@pytest.mark.parametrize(("text", "message"), FAULTS.values(), ids=FAULTS)
def test_a_fault_is_one_short_line_that_names_the_place(text, message):
    with counted_calls.at_most(MOST_CALLS), pytest.raises(ConfigError) as caught:
        load(text, "my.yaml")
    line = str(caught.value)
    assert line.startswith("my.yaml: ")
    assert message in line
    assert "\n" not in line
    assert len(line) < 300


def test_what_is_within_bounds_is_read_as_yaml_reads_it():
    text = "base: &base {x: 1, y: 2}\nrow: {<<: *base, y: 3}\nlist: [*base, 1.5, null, yes]\n"
    assert load(text, "") == {
        "base": {"x": 1, "y": 2},
        "row": {"x": 1, "y": 3},
        "list": [{"x": 1, "y": 2}, 1.5, None, True],
    }
    assert load(f"[{','.join(['1'] * (MOST_VALUES - 1))}]", "") == [1] * (MOST_VALUES - 1)
    assert load("\ufeffa: é".encode(), "") == {"a": "é"}


def test_a_file_is_not_read_beyond_the_limit(tmp_path):
    path = tmp_path / "huge.yaml"
    with path.open("wb") as file:
        file.truncate(10**12)  # sparse: takes no room, but would fill the memory
    with pytest.raises(ConfigError, match=r"huge\.yaml: more than 100,000 bytes"):
        load_file(path)
    with pytest.raises(ConfigError, match=r": Is a directory"):
        load_file(tmp_path)


@pytest.mark.parametrize(
    "words",
    [
        ["sweep", "FILE"],
        ["sweep", "--executor=slurm", "--cluster=FILE"],
        ["search", "FILE"],
        ["train", "FILE"],
        ["sweep", "dskd_digits", "--set", "recipe=FILE"],
        ["sweep", "dskd_digits", "--set", "tuned=FOLDER/ methods=[kd]"],
    ],
    ids=["experiment", "cluster", "search", "run", "recipe", "tuned"],
)
def test_every_file_that_a_user_gives_is_read_within_bounds(words, tmp_path, capsys):
    path = tmp_path / "kd.yaml"
    path.write_text(BOMB)
    places = {"FILE": str(path), "FOLDER": str(tmp_path)}
    for name, place in places.items():
        words = [word.replace(name, place) for word in words]
    with pytest.raises(SystemExit, match="2"):
        main([*words, f"--runs-root={tmp_path}"])
    assert TOO_MANY in capsys.readouterr().err


def test_an_override_is_read_within_bounds(tmp_path, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["sweep", "--set", f"seeds={'[' * 20_000}", f"--runs-root={tmp_path}"])
    err = capsys.readouterr().err
    assert TOO_DEEP in err
    assert len(err) < 1000


def test_a_bomb_needs_no_memory(tmp_path):
    path = tmp_path / "bomb.yaml"
    path.write_text(BOMB)
    code = f"""
import resource, suite.yaml_input as it
from pathlib import Path
before = resource.getrusage(resource.RUSAGE_SELF)
try:
    it.load_file(Path({str(path)!r}))
except it.ConfigError as error:
    after = resource.getrusage(resource.RUSAGE_SELF)
    print(after.ru_maxrss - before.ru_maxrss)
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CPU, (30, 30)),
    )
    assert int(done.stdout) < 10_000  # KiB


def test_a_value_that_is_much_too_long_is_abbreviated():
    inner = ["x"] * 9
    for _ in range(30):
        inner = [inner] * 9  # 9**31 values; only the first levels are looked at
    assert len(brief(inner)) <= 200
    assert brief("warm") == "'warm'"
    assert brief({"a": 1, "b": [1, 2]}) == "{'a': 1, 'b': [1, 2]}"


def test_very_many_faults_are_counted_but_not_all_told(tmp_path, capsys):
    path = tmp_path / "many.yaml"
    path.write_text("".join(f"key{i}: 1\n" for i in range(500)))
    with pytest.raises(SystemExit, match="2"):
        main(["sweep", str(path), f"--runs-root={tmp_path}"])
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].endswith("504 fault(s)")  # and recipe, pairs, methods, seeds are missing
    assert lines[-1] == "  and 484 more"
    assert len(lines) == 22
