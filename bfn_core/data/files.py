"""Finding, fetching and checking the files of the public data sets.

A file is looked for in BFN_DATA_DIR, or in the user's cache, and fetched if it is not there. What
arrives is checked by its SHA-256 before it gets its name, so a file under its own name is whole.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

TIMEOUT = (5, 20)  # seconds to wait for a connection, and for a byte, before giving up
PATIENCE = 1.0  # seconds to wait for another process without a word
LOCK = ".bfn_core.lock"  # the empty file that `locked` locks, and takes away again


class DataError(Exception):
    """A data file is damaged, cannot be fetched or cannot be kept; the message is one sentence."""


class NoNetwork(DataError):
    """None of a file's homes could be reached."""


@dataclass(frozen=True)
class RemoteFile:
    """A file, its digest, and the addresses it may be fetched from, the first one first."""

    name: str
    sha256: str | None  # None: not known, so whatever arrives whole is taken
    urls: tuple[str, ...]
    megabytes: int | None = None  # said to who waits for it, where it takes long
    newest: bool = False  # its addresses give what the newest bfn_core ships by this name


def data_dir() -> Path:
    """The folder that holds the data: BFN_DATA_DIR, else bfn_core's folder in the user's cache."""
    if chosen := os.environ.get("BFN_DATA_DIR"):
        return Path(chosen).expanduser()
    import pooch

    return Path(pooch.os_cache("bfn_core"))


def find(name: str, folders: tuple[str, ...]) -> Path | None:
    """The first file `name` in one of `folders`, which are relative to `data_dir()`, or None.

    In a folder that may not be entered there is none (of which Path.is_file makes an error).
    """
    candidates = (data_dir() / folder / name for folder in folders)
    return next((path for path in candidates if os.path.isfile(path)), None)


def digest(content: bytes | Path) -> str:
    """The SHA-256 of some bytes or of a file of any size, in hexadecimal."""
    if isinstance(content, bytes):
        return hashlib.sha256(content).hexdigest()
    found = hashlib.sha256()
    with content.open("rb") as file:
        while part := file.read(1 << 20):
            found.update(part)
    return found.hexdigest()


def read_checked(path: Path, file: RemoteFile) -> bytes:
    """The bytes of a file that lies at `path`.

    Raises:
        DataError: they are not those of `file`.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror})") from None
    if (found := digest(content)) != file.sha256:
        raise DataError(
            f"{path} is damaged: it has {len(content):,} bytes with SHA-256 {found}, but "
            f"{file.sha256} was expected; delete it, and it is fetched again from {file.urls[0]}"
        )
    return content


def locate(file: RemoteFile, folders: tuple[str, ...], checked: bool = False) -> Path:
    """The path of `file`: where it lies already, else in the first of `folders`, freshly fetched.

    Args:
        checked: what lies there under its name, but is another, such as an older version's, is
            fetched again. (Files of data may be the reader's own: see `read_checked`.)

    Raises:
        NoNetwork: none of its addresses can be reached.
        DataError: what arrives is not the file or cannot be kept. In every such case nothing is
            left behind.
    """
    path = find(file.name, folders)
    if path and not (checked and _differs(path, file)):
        return path
    target = data_dir() / folders[0] / file.name
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with locked(target.parent):
            # Another process may have fetched it while this one waited.
            if not target.is_file() or (checked and _differs(target, file)):
                fetch(file, target)
    except OSError as error:
        raise DataError(
            f"{target} cannot be written ({error.strerror or error}); set BFN_DATA_DIR to a folder "
            "that can"
        ) from None
    return target


def _differs(path: Path, file: RemoteFile) -> bool:
    """Whether what lies at `path` is not `file`, or cannot be read."""
    try:
        return digest(path) != file.sha256
    except OSError:
        return True


def fetch(file: RemoteFile, target: Path, home: Path | None = None) -> None:
    """Fetch `file` to `target` from the first of its addresses that gives it whole.

    Args:
        home: the folder into which readers may put it themselves, where that is not the target's.

    Raises:
        NoNetwork, DataError: as for `locate`.
        OSError: the target cannot be written.
    """
    import logging

    import pooch
    from requests import ConnectionError, RequestException, Timeout

    mode = _mode_of_new_files(target.parent)
    pooch.get_logger().setLevel(logging.WARNING)
    reasons, unreachable = [], 0
    size = f" ({file.megabytes} MB)" if file.megabytes else ""
    for url in file.urls:
        try:
            tell(f"Fetching {file.name}{size} from {urlsplit(url).hostname}, once.")
            # pooch writes to a temporary file, and renames it once its digest is right.
            pooch.retrieve(
                url, file.sha256 and f"sha256:{file.sha256}", target.name, target.parent,
                downloader=cast(Any, partial(_download, mode=mode)),
            )
            return
        except RequestException as error:
            # A connection that dies half-way is a ConnectionError too, but the network is there.
            broken = "Connection broken" in str(error) or "Read timed out" in str(error)
            if isinstance(error, (ConnectionError, Timeout)) and not broken:
                unreachable += 1
                reasons.append(f"{url} could not be reached")
            elif (response := getattr(error, "response", None)) is not None:
                reasons.append(f"{url} answered {response.status_code} {response.reason}")
            else:
                reasons.append(f"the download from {url} broke off")
        except ValueError:  # pooch's, on another digest
            reasons.append(f"what came from {url} was not the file (its SHA-256 differs)")
    kind = NoNetwork if unreachable == len(file.urls) else DataError
    update = ", or update bfn_core" if file.newest else ""
    raise kind(
        f"{file.name} could not be fetched: {'; '.join(reasons)}; try again later{update}, or put "
        f"the file into {home or target.parent} yourself"
    )


def _download(url: str, output: str, pooch: Any, mode: int) -> None:
    """Fetch `url` into the temporary file `output`, which only its owner may read, and open it up.

    Before it gets its name, so that whoever shares the folder never meets a file they cannot read.
    """
    from pooch import HTTPDownloader

    seen = sys.stderr is not None and sys.stderr.isatty()
    HTTPDownloader(progressbar=seen, timeout=TIMEOUT)(url, output, pooch)
    with contextlib.suppress(OSError):  # some file systems have no permissions
        os.chmod(output, mode)


def tell(sentence: str) -> None:
    """Say on stderr why it takes a while; what a program or a notebook prints stays as it is."""
    if sys.stderr is not None:  # as in a program without a console
        print(sentence, file=sys.stderr, flush=True)


def _mode_of_new_files(folder: Path) -> int:
    """The permissions that a new file gets in `folder`; OSError if none can be made there.

    Asked before the network is, so that an unwritable folder is named as such at once.
    """
    new = folder / f"{os.getpid()}.{threading.get_ident()}.part"
    try:
        new.touch()
        return stat.S_IMODE(new.stat().st_mode)
    finally:
        new.unlink(missing_ok=True)


@contextlib.contextmanager
def locked(folder: Path, timeout: float = -1) -> Iterator[None]:
    """Let one process at a time work in `folder`.

    The lock is the operating system's, on the file `LOCK` in the folder, so a process that is
    killed leaves that empty file at most, and nobody shut out. In a folder that cannot be written
    to, or on a file system without locks, the work goes on without one.

    Args:
        timeout: how many seconds to wait for another process, for ever if negative.

    Raises:
        BlockingIOError: they are over.
    """
    lock = _lock(folder / LOCK)
    try:
        # Older versions of filelock take it, on Windows, for a folder that another process holds.
        _mode_of_new_files(folder)
        try:
            lock.acquire(PATIENCE if timeout < 0 else timeout)
        except TimeoutError:
            if timeout >= 0:
                raise
            tell(f"Waiting for another process that is at work in {folder}.")
            lock.acquire()
    except TimeoutError:
        raise BlockingIOError(f"another process is at work in {folder}") from None
    except (OSError, NotImplementedError):
        pass
    try:
        yield
    finally:
        if lock.is_locked:
            # Before it is let go: who waits for it sees then that it has lost its name, and makes
            # another. Windows does not remove what is open; there filelock does it afterwards.
            with contextlib.suppress(OSError):
                Path(lock.lock_file).unlink()
            lock.release()


def _lock(path: Path):
    """filelock's lock on a file, which must not become a mere file where there are no locks.

    Such a file would outlive a killed process. (Only newer versions can be told.)
    """
    from filelock import FileLock

    try:
        return FileLock(path, fallback_to_soft=False)
    except TypeError:
        return FileLock(path)


def replace(new: Path, path: Path) -> None:
    """Give a file the name of another in one step, as `os.replace`, and OSError, but patiently.

    Windows refuses it while any program has the other open, and scanners of viruses open what is
    fresh: it is tried again for about a second.
    """
    for wait in (0.05, 0.1, 0.3, 0.6):
        with contextlib.suppress(PermissionError):
            return os.replace(new, path)
        time.sleep(wait)
    os.replace(new, path)


def write_whole(path: Path, content: bytes) -> None:
    """Write a file that appears under its name only when it is complete.

    Raises:
        OSError: it cannot be written.
    """
    new = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        new.write_bytes(content)
        replace(new, path)
    finally:
        new.unlink(missing_ok=True)
