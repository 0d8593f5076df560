"""Tables as people have them: read where the meaning is certain, otherwise a line that says why."""

from __future__ import annotations

import csv
import gzip
import io
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from i2vbench.errors import UserError
from i2vbench.suites.table import read_table

KNOWN = ("file", "prompt", "id", "category")
ROW = {"file": "cat.png", "prompt": "a red cat"}


def read(folder: Path, content: str | bytes, name: str = "prompts.csv") -> list[dict[str, object]]:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return [row.cells for row in read_table(path, KNOWN, required=("file",))]


def refusal(folder: Path, content: str | bytes, name: str = "prompts.csv") -> str:
    with pytest.raises(UserError) as caught:
        read(folder, content, name)
    message = str(caught.value)
    assert message.isprintable()
    return message.removeprefix(str(folder / name)).strip(": ")


@pytest.mark.parametrize(
    "text",
    [
        ",file,prompt\n0,cat.png,a red cat\n",
        "Unnamed: 0,file,prompt\n7,cat.png,a red cat\n",
        '"",file,prompt\n"1","cat.png","a red cat"\n',
        "file,prompt,\ncat.png,a red cat,\n",
        "file,prompt,,,\ncat.png,a red cat\n",
        "file,prompt\ncat.png,a red cat,,\n",
        "file,,prompt\ncat.png,,a red cat\n",
        "sep=;\nfile;prompt\ncat.png;a red cat\n",
        '"sep=;"\r\nfile;prompt\r\ncat.png;a red cat\r\n',
        "SEP=,\nfile,prompt\ncat.png,a red cat\n",
        "sep=\t\nfile\tprompt\ncat.png\ta red cat\n",
        "file|prompt\ncat.png|a red cat\n",
        'file, prompt\ncat.png, "a red cat"\n',
        'file ,prompt\n "cat.png" ,\t"a red cat"  \n',
        "file,prompt\rcat.png,a red cat\r",
        "\n\nfile,prompt\n\n,\ncat.png,a red cat\n \n",
        "FILE,Prompt\ncat.png,a red cat",
        '[{"file": "cat.png", "prompt": "a red cat"}]',
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_what_is_certain_is_read(tmp_path: Path, text: str, encoding: str) -> None:
    name = "prompts.jsonl" if text.startswith("[") else "prompts.csv"
    assert read(tmp_path, text.encode(encoding), name) == [ROW]


@pytest.mark.parametrize(
    ("text", "prompt"),
    [
        ('file,prompt\nx, "one, two"\n', "one, two"),
        ("file\tprompt\nx\tone, two; three\n", "one, two; three"),
        ("file;prompt\nx;one, two\n", "one, two"),
        ("file;prompt;pace, fast or slow, in words\nx;one;0,5\n", "one"),
        ('"a, b, c, d";prompt;file\n1;one;x\n', "one"),
        ('file,prompt\nx,5" tall\n', '5" tall'),
        ('file,prompt\nx,"he said ""go"" , then"\n', 'he said "go" , then'),
        ('file,prompt\nx,"one\r\n\r\ntwo"\n', "one\r\n\r\ntwo"),
        (f"file,prompt\nx,{'a' * 300_000}\n", "a" * 300_000),
        ("file,prompt\nx,=1+1\n", "=1+1"),
    ],
)
def test_prompts_come_through(tmp_path: Path, text: str, prompt: str) -> None:
    (row,) = read(tmp_path, text)
    assert (row["file"], row["prompt"]) == ("x", prompt)


def test_an_index_with_gaps_is_passed_over(tmp_path: Path) -> None:
    rows = read(tmp_path, ",file\n0,a\n3,b\n12,c\n")
    assert rows == [{"file": "a"}, {"file": "b"}, {"file": "c"}]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (",file\nred,a\n", "line 1: its header has a column without a name, the 1. ('red'"),
        (",file\n2,a\n1,b\n", "column without a name, the 1. ('2' on line 2); name it"),
        ("file,\na,\nb,x\n", "the 2. ('x' on line 3); name it, or delete it (pandas: to"),
        ("file,prompt\na,b,c\n", "line 2: has 3 cells, the header 2; quote a cell that"),
        ("file,prompt\na\n", "line 2: has 1 cells, the header 2"),
        ("sep=:\nfile:prompt\n", "line 1: is not CSV: it states the separator ':'; accepted"),
        ('file,prompt\na,b\nc,"d\ne,f\n', "line 3: is not CSV: it opens a quote that is never"),
        ('file,prompt\na,"b" or c\n', "line 2: is not CSV: it has 'or c' behind a closing quote"),
        ('file,prompt\na,"b \\"c\\" d"\n', "behind a closing quote; double the quotes"),
        ('file,prompt\n"a\nb","c" d\n', "line 3: is not CSV: it has 'd' behind a closing quote"),
        ("file,prompt,file\na,b,c\n", "line 1: its header has the column 'file' twice; rename one"),
        ("file,Prompt,prompt\na,b,c\n", "line 2: fills two columns 'prompt', once in capitals"),
        ("file,prompt\n", "has no rows; it needs the columns file"),
        ("sep=;\n", "has no rows"),
        (b"", "has no rows"),
        (b"\xef\xbb\xbf", "has no rows"),
        ("file,prompt\na,caf\u00e9\n".encode("latin-1"), "is not UTF-8 (byte 17); save it as"),
        ("file,prompt\na,b\n".encode("utf-16-le"), "line 1 holds a NUL, so it is no UTF-8 text"),
        ("file,prompt\na,b\n".encode("utf-16")[:-1], "is not UTF-16, as its mark says"),
        ("file,prompt\na,b\0\n", "line 2 holds a NUL"),
        (gzip.compress(b"file,prompt\na,b\n"), "is compressed by gzip; unpack it"),
        (b"PK\x03\x04" + bytes(40), "is a workbook or an archive (ZIP), no text; save it as CSV"),
        ('"a\nb",prompt\nx,y\n', "has no column 'file'; it has a\\nb, prompt"),
        ("cat.png,a red cat\ndog.png,a dog\n", "has no column 'file'; it has a red cat, cat.png"),
    ],
)  # fmt: skip
def test_what_is_not_certain_is_said(tmp_path: Path, content: str | bytes, said: str) -> None:
    assert said in refusal(tmp_path, content)


@pytest.mark.parametrize("name", ["list.jsonl", "list.json"])
@pytest.mark.parametrize(
    "text",
    [
        '[{"file": "a", "prompt": "x"}, {"file": "b", "prompt": null}]',
        '\n[\n {"file": "a",\n "prompt": "x"}\n,\n {"file": "b"}\n]\n',
        '{"file": "a", "prompt": "x"}\r\n\r\n{"file": "b"}\r\n',
        '{"file": "a", "prompt": "x"}\r{"File": "b"}',
    ],
)
def test_json_is_lines_or_an_array(tmp_path: Path, name: str, text: str) -> None:
    assert read(tmp_path, text, name) == [{"file": "a", "prompt": "x"}, {"file": "b"}]


def test_json_of_one_object_over_several_lines_is_a_row(tmp_path: Path) -> None:
    assert read(tmp_path, json.dumps(ROW, indent=2), "list.json") == [ROW]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[{"file": "a"},\n\n {"file": ["x"]}]', "line 3: 'file' is ['x']; accepted: text"),
        ('[{"file": "a"},\n 7]', "line 2: is no JSON object"),
        ('[{"file": "a"}', "line 1: is not JSON"),
        ('["a"]\n["b"]\n', "line 1: is not JSON (Extra data"),
        ("[" * 10**5, "line 1: is not JSON (it is nested more than 100 levels deep"),
        ('{"file": ' + "9" * 5000 + "}", "an integer of 5,000 digits"),
        ('{"file": "a", "": 1}', "line 1: has a column ''; accepted: a name"),
        ('{"file": "a", "\\ud800": 1}', "line 1: has a column '\\ud800'; accepted: a name"),
        ('{"file": "a"}\n{"File": "b", "file": "c"}', "line 2: fills two columns 'file', once"),
        ("[]", "has no rows"),
        ('{"data": [{"file": "a"}]}', "line 1: 'data' is [{'file': 'a'}]; accepted: text"),
    ],
)
def test_other_json_is_said(tmp_path: Path, text: str, said: str) -> None:
    assert said in refusal(tmp_path, text, "list.jsonl")


CELLS = st.text(alphabet='ab,;|"\n\r \té🦊=\\', max_size=8)


@settings(max_examples=150, deadline=None)
@given(
    rows=st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=4),
    delimiter=st.sampled_from(",;\t|"),
)
def test_what_csv_writes_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]], delimiter: str
) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=delimiter, quoting=csv.QUOTE_ALL)
    writer.writerows([("file", "prompt"), *((f"x{first}", second) for first, second in rows)])
    found = read(tmp_path_factory.mktemp("fuzz"), text.getvalue())
    assert [(row["file"], row.get("prompt", "")) for row in found] == [
        (f"x{first}".strip(), second.strip()) for first, second in rows
    ]


@settings(max_examples=300, deadline=None)
@given(
    content=st.one_of(
        st.binary(max_size=40),
        st.text(alphabet='file,prompt;|"\n\r\t sep=[{}]:\\0🦊', max_size=60).map(str.encode),
        st.text(alphabet='a,;"\n \t', max_size=40).map(
            lambda tail: f"file,prompt\n{tail}".encode()
        ),
        st.text(alphabet='{}[]":,0e\\ud8\n -', max_size=40).map(lambda t: f'{{"file":{t}'.encode()),
    ),
    name=st.sampled_from(["a.csv", "a.tsv", "a.jsonl", "a.json"]),
)
def test_any_file_is_rows_or_a_line(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, name: str
) -> None:
    folder = tmp_path_factory.mktemp("fuzz")
    try:
        assert read(folder, content, name)
    except UserError as error:
        assert str(error).isprintable()  # noqa: PT017 (either outcome is right)
