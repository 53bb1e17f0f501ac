"""A text file of one's own in text8's place: `--text FILE`."""

import shlex
from dataclasses import replace

import pytest
import torch

from bfn_core import data, training
from bfn_core.data.text import read_text
from bfn_core.training import __main__, on_text, settings_for
from bfn_core.training.runs import Run
from bfn_core.training.scales import command

TINY = replace(
    settings_for("text8", "smoke"), steps=6, batch=8, length=16, log_every=2, checkpoint_every=3,
    validate_every=4, held_out=4, test_examples=4, sample_count=3, sample_steps=2, warmup=2,
)
SMALL = (
    "--scale smoke --steps 6 --set batch=8 --set length=16 --set log_every=2 --set decay=false "
    "--set checkpoint_every=3 --set test_examples=4 --set sample_steps=2"
)
VERSE = "Ich weiß nicht,\nwas soll es bedeuten; 1823!\n"


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def verses(tmp_path):
    path = tmp_path / "verses.txt"
    path.write_text(VERSE * 100, encoding="utf-8")
    return path


def run(words, folder):
    words = shlex.split(words.replace("\\", "\\\\"))  # which part Windows's folders
    return __main__.main([*words, "--run", str(folder)])


def losses(folder):
    return [line["loss"] for line in Run(folder).read_metrics() if "loss" in line]


def test_a_file_is_normalised_or_keeps_its_own_symbols(verses):
    assert data.decode(data.text_file(verses).train[:20]) == "ich weiss nicht was "
    symbols = data.alphabet_of(verses)
    assert symbols == "".join(sorted(set(VERSE)))
    text = data.text_file(verses, symbols)
    assert text.alphabet == symbols
    assert data.decode(text.train[: len(VERSE)], symbols) == VERSE
    whole = torch.cat([text.train, text.validation, text.test])
    assert len(whole) == len(VERSE) * 100 and len(text.test) == len(whole) // 20


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "has only 0 characters"),
        (b"Too short.", "has only 9 characters once normalised"),
        ("Füße".encode("latin-1") * 500, r"not UTF-8 text \(byte 1 is 0xfc\)"),
        ("„Füße im Gras“ ".encode("cp1252") * 99, "western.*iconv -f windows-1252 -t utf-8$"),
        ("文字化け".encode("shift-jis") * 500, "save it as UTF-8 with the program that wrote it$"),
        (b"\xff\xfe" + "words".encode("utf-16-le") * 500 + b"!", "begins as UTF-16.*damaged"),
        (b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 9, "no text: byte 8 is 0$"),
        (bytes(range(1, 256)) * 9, "no text: .*control characters"),
        (b"words and \0 " * 500, "no text: byte 10 is 0$"),
        (b"\x1b[31mwords\x1b[0m, and\0" + b"\x1b[31mmore\x1b[0m." * 900, "no text: byte 19 is 0$"),
        (b"12 !" * 200 + b"\n" * 3, "characters once normalised"),
    ],
)
def test_a_file_that_will_not_do_is_one_clear_sentence(content, complaint, tmp_path, capsys):
    path = tmp_path / "bad.txt"
    path.write_bytes(content)
    if complaint != "characters once normalised":
        with pytest.raises(data.DataError, match=complaint):
            data.text_file(path)
        assert run(f"text8 {SMALL} --text {path}", tmp_path / "run") == 1
        error = capsys.readouterr().err
        assert error.startswith("error: ") and error.count("\n") == 1 and str(path) in error
    else:  # digits are spelled out, so there is something to learn
        assert data.decode(data.text_file(path).train[:8]) == "one two "


@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("codec", ["utf-8", "utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
@pytest.mark.parametrize(
    "content", [VERSE, "Лёд идёт,\r\nи тает.\n", "一二三 四五 1、2\n語😀\n", "Ελλάδα 12\n",
                "कौन है\n"]
)
def test_a_text_in_any_encoding_of_unicode_is_read(content, codec, mark, tmp_path):
    path = tmp_path / "text.txt"
    path.write_bytes((mark + content * 9).encode(codec))
    assert read_text(path) == content.replace("\r\n", "\n") * 9


def test_a_file_too_short_for_the_sequences_says_how_long_it_must_be(verses, tmp_path, capsys):
    assert run(f"text8 --scale laptop --text {verses} --set length=512", tmp_path / "run") == 1
    assert "needs at least 10,240" in capsys.readouterr().err
    with pytest.raises(data.DataError, match="No such file"):
        data.alphabet_of(tmp_path / "absent.txt")


def test_too_many_or_too_few_symbols_are_refused(tmp_path):
    path = tmp_path / "many.txt"
    path.write_text("".join(map(chr, range(0x4E00, 0x4E00 + 300))) * 9, encoding="utf-8")
    with pytest.raises(data.DataError, match="300 different symbols"):
        data.alphabet_of(path)
    path.write_text("a" * 2000, "utf-8")
    with pytest.raises(data.DataError, match="1 different symbols"):
        data.alphabet_of(path)


def test_another_symbol_than_before_is_refused(verses):
    symbols = data.alphabet_of(verses)
    verses.write_text(VERSE * 100 + "Ω", encoding="utf-8")
    with pytest.raises(data.DataError, match="'Ω', which is not in the alphabet"):
        data.text_file(verses, symbols)


def test_any_alphabet_goes_there_and_back():
    alphabet = "\n !Aaz€语😀"
    text = "语zA!\n€ 😀a"
    assert data.encode(text, alphabet).tolist() == [alphabet.index(c) for c in text]
    assert data.decode(data.encode(text, alphabet), alphabet) == text


def test_only_text8_takes_a_text(verses, tmp_path, capsys):
    with pytest.raises(ValueError, match="but not of mnist"):
        on_text(settings_for("mnist", "smoke"), verses)
    assert run(f"mnist --scale smoke --text {verses}", tmp_path / "run") == 1
    assert run("text8 --scale smoke --own-alphabet", tmp_path / "run") == 1
    assert "add --text FILE" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("own", [False, True])
def test_a_run_on_a_text_is_resumed_and_evaluated(own, verses, tmp_path, monkeypatch, capsys):
    flags = f"--text {verses.name}" + (" --own-alphabet" if own else "")
    monkeypatch.chdir(verses.parent)
    assert run(f"text8 {SMALL} {flags}", tmp_path / "whole") == 0
    assert "verses.txt (" in capsys.readouterr().out
    settings = Run(tmp_path / "whole").read_settings()["settings"]
    assert settings.levels == (len(set(VERSE)) if own else 27)
    assert settings.levels * settings.beta_1 == pytest.approx(27 * 0.5625)

    monkeypatch.chdir("/")  # the rest works from anywhere
    stop = replace(settings, steps=3)
    training.train(stop, tmp_path / "half")
    assert run("text8 --resume --steps 6", tmp_path / "half") == 0
    assert losses(tmp_path / "half")[-1] == losses(tmp_path / "whole")[-1]
    lines = (tmp_path / "half" / "samples.txt").read_text(encoding="utf-8").splitlines()
    allowed = set(VERSE.replace("\n", "↵")) if own else set(data.ALPHABET)
    assert len(lines) == 4 and all(len(line) == 16 and set(line) <= allowed for line in lines)
    assert run("text8 --evaluate --n 3", tmp_path / "half") == 0
    assert training.load(tmp_path / "half").flow.classes == settings.levels


def test_a_text_may_move_but_not_change_between_resumptions(verses, tmp_path, capsys):
    training.train(on_text(replace(TINY, steps=3), verses), tmp_path / "run")
    (tmp_path / "elsewhere").mkdir()
    other = verses.rename(tmp_path / "elsewhere" / verses.name)
    assert run(f"text8 --resume --steps 6 --text {other}", tmp_path / "run") == 0
    other.write_text(VERSE.replace("Ich", "(ICH)") * 100, encoding="utf-8")
    assert run("text8 --resume --steps 9", tmp_path / "run") == 0  # normalised, it is the same
    other.write_text(VERSE * 101, encoding="utf-8")
    assert run("text8 --resume --steps 12", tmp_path / "run") == 1
    assert "was begun on verses.txt (" in capsys.readouterr().err


@pytest.mark.parametrize("alphabet", [None, " Iabcdefhilmnorstuw"])
def test_the_command_of_a_run_names_its_text(alphabet, verses):
    words = command(on_text(TINY, verses, alphabet))
    assert f"--text {shlex.quote(str(verses))}" in words
    assert ("--own-alphabet" in words) == bool(alphabet)
    assert "levels" not in words and "beta_1" not in words
    options = __main__.arguments(shlex.split(words)[3:])
    assert options.text == str(verses) and options.own_alphabet == bool(alphabet)
