"""text8, any other text in its place, and the 27 symbols both are written in."""

from __future__ import annotations

import codecs
import re
import unicodedata
import warnings
import zipfile
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from bfn_core.checks import within
from bfn_core.data.files import (
    DataError,
    NoNetwork,
    RemoteFile,
    data_dir,
    find,
    locate,
    read_checked,
)
from bfn_core.data.images import HeldAsBytes, StandInWarning

ALPHABET = " abcdefghijklmnopqrstuvwxyz"  # text8's 27 symbols; a symbol's index is its class
_DIGITS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]


@dataclass(frozen=True)
class Text(HeldAsBytes):
    """A text, held as one byte per character: its index in the alphabet."""

    name: str  # what it really is: "text8", or "Python documentation stand-in"
    train: Tensor  # (N,), uint8
    validation: Tensor  # (V,), uint8
    test: Tensor  # (M,), uint8
    notice: str = ""  # one sentence on what stands in for what, and why; empty for the real data
    alphabet: str = ALPHABET  # its symbols; a symbol's index is its class


def text8(stand_in: bool | None = None) -> Text:
    """text8, 100 million characters of Wikipedia, split into 90, 5 and 5 million as is usual.

    If only the beginning of text8 lies in the data folder, as text8.prefix, that is taken, split in
    the same proportions, and named "text8 prefix": its test part is not text8's.

    Args:
        stand_in: True gives Python's own documentation instead and touches neither network nor
            disk; False never does; None does, with a StandInWarning, if text8 is not at hand and
            there is no network.

    Raises:
        DataError: a file is damaged or cannot be had.
    """
    if stand_in:
        return _documentation("This is not text8: Python's documentation stands in, as asked.")
    try:
        return _text8()
    except NoNetwork:
        if stand_in is False:
            raise
    data = _documentation(
        f"NO NETWORK, and text8 is not in {data_dir()}: Python's documentation stands in for it, "
        "so no figure from here on is a figure on text8."
    )
    warnings.warn(data.notice, StandInWarning, stacklevel=2)
    return data


def text_file(path: str | Path, alphabet: str | None = None) -> Text:
    """Any text file in text8's place, split 90/5/5 %.

    Args:
        alphabet: the symbols to expect, see `alphabet_of`; None normalises the text to text8's
            27.

    Raises:
        DataError: the file cannot be read as `read_text` does, holds a symbol that is not in
            the alphabet, or fewer than 1,000 characters.
        ValueError: the alphabet has no symbol, or more than 256.
    """
    _check_alphabet(ALPHABET if alphabet is None else alphabet)
    content = read_text(path)
    if alphabet is None:
        content = normalise(content)
    try:
        classes = encode(content, alphabet or ALPHABET)
    except ValueError as error:
        raise DataError(f"{path} is another text than before: {error}") from None
    if len(classes) < 1000:
        once = " once normalised" if alphabet is None else ""
        raise DataError(f"{path} has only {len(classes)} characters{once}; 1,000 is the least")
    return replace(_split(Path(path).name, classes), alphabet=alphabet or ALPHABET)


def alphabet_of(path: str | Path) -> str:
    """The symbols of a text file, each once, in the order of their code points.

    Raises:
        DataError: as `text_file` does, or if there are fewer than 2 or more than 256.
    """
    symbols = "".join(sorted(set(read_text(path))))
    if not 2 <= len(symbols) <= 256:
        raise DataError(f"{path} has {len(symbols):,} different symbols, and 2 to 256 can be told "
                        "apart; normalised to text8's 27 symbols it may do")
    return symbols


def read_text(path: str | Path) -> str:
    """The content of a text file in UTF-8, or in UTF-16 or UTF-32, which its first bytes or its
    zeros betray.

    Raises:
        DataError: which says what else it may be and what to do.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror})") from None
    return _decoded(content, path).replace("\r\n", "\n")


# The longer marks first: UTF-32's begins with UTF-16's.
_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16",
}


def _decoded(content: bytes, path: str | Path) -> str:
    """The text of a file's content.

    Raises:
        DataError: with the place of a wrong byte.
    """
    marked = next((codec for mark, codec in _MARKS.items() if content.startswith(mark)), None)
    zeros = content.count(0)
    if marked is None and zeros:
        for codec in () if _marred(content) else _wide(content):
            if text := _text(content, codec):
                return text
        raise DataError(f"{path} is no text: byte {content.index(0):,} is 0")
    try:
        return content.decode(marked or "utf-8")
    except UnicodeDecodeError as error:
        wrong = f"byte {error.start:,} is {content[error.start]:#04x}"
    if marked:
        name = marked.removesuffix("-sig").upper()
        raise DataError(f"{path} begins as {name} text does, but is damaged ({wrong})")
    if _DEVICE_CONTROLS & set(content):
        raise DataError(f"{path} is no text: {wrong}, and there are control characters")
    advice = "save it as UTF-8 with the program that wrote it"
    mostly_ascii = 3 * len(content.translate(None, bytes(range(128)))) < len(content)
    if mostly_ascii and _text(content, "cp1252"):
        advice += ", or, as it may be Windows's text in a western language, convert it: "
        advice += "iconv -f windows-1252 -t utf-8"
    raise DataError(f"{path} is not UTF-8 text ({wrong}); {advice}")


def _marred(content: bytes) -> bool:
    """Whether it is text in UTF-8 but for a zero here and there, an accident and no encoding.

    Logs hold what terminals are sent as well; all other control characters are rare in text, and
    many in 2 bytes a symbol, where one is half of each Cyrillic letter.
    """
    odd = sum(content.count(c) for c in _DEVICE_CONTROLS - set(b"\0\a\b\x1b"))
    rare = max(4 * content.count(0), 16 * odd) < len(content)
    return rare and bool(_text(content.translate(None, bytes(_DEVICE_CONTROLS)), "utf-8"))


_DEVICE_CONTROLS = set(range(32)) - set(b"\t\n\v\f\r\x1a")  # DOS ends a text with \x1a


def _wide(content: bytes) -> tuple[str, ...]:
    """The encodings in 4 and 2 bytes a symbol, the likelier order of the two bytes first: spaces
    and line ends have one zero in every script, as their second byte or as their first.
    """
    little = content[1::2].count(0) >= content[::2].count(0)
    pair = ("utf-16-le", "utf-16-be") if little else ("utf-16-be", "utf-16-le")
    return ("utf-32-le", "utf-32-be", *pair)


def _text(content: bytes, codec: str) -> str:
    """The content as text, or nothing where it is not text in that encoding."""
    try:
        text = content.decode(codec)
    except UnicodeDecodeError:
        return ""
    kinds = {unicodedata.category(c) for c in set(text) if ord(c) not in _SPACING}
    return "" if kinds & {"Cc", "Cn", "Co"} else text  # controls, and what has no meaning


_SPACING = set(range(32)) - _DEVICE_CONTROLS


def normalise(text: str) -> str:
    """Text in text8's 27 symbols: lower case, digits spelled out, letters without their accents and
    strokes, and one space for all that is left.
    """
    # Twice: № is an upper-case letter only once it is taken apart, and ẞ two letters in lower case.
    text = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    text = text.translate({ord(c): _plain(c) for c in set(text) if not c.isascii()})
    text = re.sub("[0-9]", lambda digit: f" {_DIGITS[int(digit[0])]} ", text)
    return re.sub("[^a-z]+", " ", text).strip()


_LETTERS = {"æ": "ae", "œ": "oe", "ð": "d", "þ": "th", "ŋ": "ng", "ı": "i", "ĸ": "k", "ə": "e"}


def _plain(character: str) -> str:
    """What stands for a character beyond ASCII: nothing for an accent, the base letter of "LATIN
    SMALL LETTER L WITH STROKE", else the character itself.
    """
    if unicodedata.combining(character):
        return ""
    found = re.fullmatch("LATIN SMALL LETTER ([A-Z]+) WITH .*", unicodedata.name(character, ""))
    if found and len(found[1]) <= 2:  # AE WITH ACUTE has two, DOTLESS J WITH STROKE is another
        return found[1].lower()
    return _LETTERS.get(character, character)


def _check_alphabet(alphabet: str) -> None:
    """Raise ValueError unless a byte can say which symbol it is."""
    if not 1 <= len(alphabet) <= 256:
        raise ValueError(f"an alphabet has 1 to 256 symbols, got {len(alphabet)}")


def encode(text: str | bytes, alphabet: str = ALPHABET) -> Tensor:
    """The classes, (len(text),) uint8, of a text over an alphabet of at most 256 symbols.

    Raises:
        ValueError: on any other symbol, or an alphabet without one or with more.
    """
    _check_alphabet(alphabet)
    text = text.decode("latin-1") if isinstance(text, bytes) else text
    points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
    symbols = np.frombuffer(alphabet.encode("utf-32-le", "surrogatepass"), np.uint32)
    order = symbols.argsort()
    found = symbols[order].searchsorted(points).clip(max=len(symbols) - 1)
    classes = order[found]
    if len(wrong := (symbols[classes] != points).nonzero()[0]):
        kind = "none of text8's 27 symbols" if alphabet == ALPHABET else "not in the alphabet"
        raise ValueError(f"text holds {text[wrong[0]]!r}, which is {kind}")
    return torch.from_numpy(classes.astype(np.uint8))


def check_classes(name: str, x: Tensor, classes: int) -> None:
    """Raise ValueError unless x, a tensor or an array, holds whole numbers in 0…classes − 1."""
    dtype = getattr(x, "dtype", type(x))
    if not str(dtype).removeprefix("torch.").startswith(("int", "uint")):
        raise ValueError(f"{name} must be a tensor of whole numbers, got {dtype}")
    if not within(torch.as_tensor(x), 0, classes - 1):
        raise ValueError(
            f"{name} must lie in 0…{classes - 1}, got values from {x.min()} to {x.max()}"
        )


def decode(classes: Tensor, alphabet: str = ALPHABET) -> str | list:
    """The text of classes of shape (length,), or the list of texts of (B, length).

    Raises:
        ValueError: for numbers that are not whole, or name no symbol of the alphabet.
    """
    check_classes("classes", classes, len(alphabet))
    if classes.ndim > 1:
        return [decode(row, alphabet) for row in classes]
    return "".join(alphabet[c] for c in classes.tolist())


TEXT8_FOLDERS = ("text8", "")
TEXT8_ARCHIVE = RemoteFile(
    "text8.zip",
    "a6640522afe85d1963ad56c05b0ede0a0c000dddc9671758a6cc09b7a38e5232",
    ("http://mattmahoney.net/dc/text8.zip", "https://data.deepai.org/text8.zip"),
)
TEXT8_PLAIN = replace(
    TEXT8_ARCHIVE,
    name="text8",
    sha256="6e890197040d37d85beb962ae1f041ff1d9a9ca8d20c7d99c85027eebf51dca7",
)
TEXT8_PREFIX = replace(
    TEXT8_ARCHIVE,
    name="text8.prefix",
    sha256="1b40ab68e13d520469aa90315b92b1466810394246571fadf742c971c3b65a25",
)


def _text8() -> Text:
    archive = find(TEXT8_ARCHIVE.name, TEXT8_FOLDERS)
    if archive is None:
        for file in (TEXT8_PLAIN, TEXT8_PREFIX):
            if path := find(file.name, TEXT8_FOLDERS):
                name = file.name.replace(".", " ")
                return _split(name, encode(read_checked(path, file)))
        archive = locate(TEXT8_ARCHIVE, TEXT8_FOLDERS)
    with zipfile.ZipFile(BytesIO(read_checked(archive, TEXT8_ARCHIVE))) as z:
        content = z.read("text8")
    return _split("text8", encode(content))


def _split(name: str, classes: Tensor, notice: str = "") -> Text:
    part = len(classes) // 20
    train, validation, test = classes.split([len(classes) - 2 * part, part, part])
    return Text(name, train, validation, test, notice)


def _documentation(notice: str) -> Text:
    from pydoc_data.topics import topics

    text = normalise(" ".join(topics[key] for key in sorted(topics)))
    return _split("Python documentation stand-in", encode(text), notice)
