"""Data files: found, fetched from a local server in every way it can go wrong, read, split."""

import gzip
import http.server
import io
import multiprocessing
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from bfn_core import ContinuousFlow, ExactBFN, GaussianParameters, data
from bfn_core.data import files, images, text
from bfn_core.data.strings import sums
from bfn_core.data.toy import GaussianMixture, ring, two_letters

CONTENT = bytes(range(256)) * 400
FILE_SHA256 = files.digest(CONTENT)
UNREACHABLE = "http://127.0.0.1:9/file.bin"  # the discard port: nobody listens
REAL = Path(__file__).parents[2] / "shared" / "data"


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves CONTENT, well or badly, by the path asked for."""

    def do_GET(self):
        self.server.requests.append(self.path)
        kind = self.path.split("/")[1]
        if kind == "missing":
            return self.send_error(404)
        body = {"truncated": CONTENT[:-1], "wrong": b"x" * len(CONTENT)}.get(kind, CONTENT)
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT if kind == "dying" else body)))
        self.end_headers()
        if kind == "dying":
            self.wfile.write(CONTENT[: len(CONTENT) // 2])
            self.wfile.flush()
            return self.connection.shutdown(2)
        if kind == "slow":
            time.sleep(0.5)
        self.wfile.write(body)

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.requests = []
        server.url = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("BFN_DATA_DIR", str(tmp_path))
    return tmp_path


def remote(*urls):
    return files.RemoteFile("file.bin", FILE_SHA256, urls)


def left_in(folder):
    return sorted(p.name for p in folder.rglob("*") if p.is_file())


def test_a_file_is_fetched_once_and_then_found(server, folder):
    file = remote(f"{server.url}/right/file.bin")
    for _ in range(2):
        path = files.locate(file, ("set", ""))
        assert path == folder / "set" / "file.bin"
        assert files.read_checked(path, file) == CONTENT
    assert len(server.requests) == 1
    assert left_in(folder) == ["file.bin"]


def test_who_waits_for_a_file_is_told(server, folder, capsys):
    file = replace(remote(f"{server.url}/missing/x", f"{server.url}/ok/file.bin"), megabytes=170)
    files.locate(file, ("",))
    shown = capsys.readouterr()
    line = "Fetching file.bin (170 MB) from 127.0.0.1, once.\n"
    assert (shown.out, shown.err) == ("", 2 * line)  # from its mirror too
    files.locate(file, ("",))
    assert capsys.readouterr() == ("", "")


def test_who_sees_the_terminal_sees_how_much_has_come(server, folder, monkeypatch):
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", terminal)
    files.locate(remote(f"{server.url}/ok/file.bin"), ("",))
    assert "100%" in terminal.getvalue() and "102k/102k" in terminal.getvalue()


def test_who_waits_for_another_process_is_told(folder, monkeypatch, capsys):
    monkeypatch.setattr(files, "PATIENCE", 0.1)

    def wait():
        with files.locked(folder):
            pass

    with ThreadPoolExecutor() as pool:
        with files.locked(folder):
            waiting = pool.submit(wait)
            for _ in range(100):
                if err := capsys.readouterr().err:
                    break
                time.sleep(0.05)
            assert not waiting.done()
        waiting.result(timeout=10)
    assert err == f"Waiting for another process that is at work in {folder}.\n"
    assert capsys.readouterr().err == ""


@pytest.mark.skipif(sys.platform == "win32", reason="permissions are another thing there")
@pytest.mark.parametrize("mask", [0o022, 0o002, 0o077])
def test_a_fetched_file_may_be_read_by_whom_the_umask_lets(server, folder, mask):
    before = os.umask(mask)
    try:
        path = files.locate(remote(f"{server.url}/right/file.bin"), ("set",))
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o666 & ~mask
    assert path.parent.stat().st_mode & 0o777 == 0o777 & ~mask


def test_a_file_that_lies_there_is_never_fetched(folder):
    (folder / "file.bin").write_bytes(CONTENT)
    assert files.locate(remote(UNREACHABLE), ("set", "")) == folder / "file.bin"


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("missing", "answered 404"),
        ("truncated", "SHA-256 differs"),
        ("wrong", "SHA-256 differs"),
        ("dying", "broke off"),
    ],
)
def test_a_bad_download_is_one_sentence_and_leaves_nothing(server, folder, kind, reason):
    url = f"{server.url}/{kind}/file.bin"
    with pytest.raises(files.DataError, match=reason) as caught:
        files.locate(remote(url), ("set",))
    assert not isinstance(caught.value, files.NoNetwork)
    assert url in str(caught.value) and "\n" not in str(caught.value)
    assert left_in(folder) == []


@pytest.mark.parametrize("kind", ["missing", "truncated", "wrong", "dying"])
def test_the_mirror_serves_when_the_first_home_fails(server, folder, kind):
    file = remote(f"{server.url}/{kind}/file.bin", f"{server.url}/right/file.bin")
    assert files.locate(file, ("set",)).read_bytes() == CONTENT
    assert left_in(folder) == ["file.bin"]


def test_no_home_reached_is_no_network(folder):
    with pytest.raises(files.NoNetwork, match="could not be reached"):
        files.locate(remote(UNREACHABLE, UNREACHABLE), ("set",))
    assert left_in(folder) == []


def test_a_folder_that_cannot_be_written_is_named(server, folder, monkeypatch):
    def refuse(folder):  # permission bits do not stop root, under which these tests may run
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(files, "_mode_of_new_files", refuse)
    with pytest.raises(files.DataError, match="Permission denied.*BFN_DATA_DIR"):
        files.locate(remote(f"{server.url}/right/file.bin"), ("set",))
    assert server.requests == [] and left_in(folder) == []


def test_a_file_in_the_place_of_the_folder_is_named(folder, monkeypatch):
    (folder / "plain").write_text("", "utf-8")
    monkeypatch.setenv("BFN_DATA_DIR", str(folder / "plain"))
    with pytest.raises(files.DataError, match="plain.*cannot be written.*BFN_DATA_DIR"):
        files.locate(remote(UNREACHABLE), ("set",))


def test_a_folder_that_cannot_even_be_looked_into_is_named(monkeypatch):
    monkeypatch.setenv("BFN_DATA_DIR", "/" + 300 * "x")  # root may look into any other
    assert files.find("file.bin", ("",)) is None
    with pytest.raises(files.DataError, match="cannot be written.*BFN_DATA_DIR"):
        files.locate(remote(UNREACHABLE), ("set",))


def _locate(url):
    files.locate(remote(url), ("set",))


def test_two_processes_at_once_fetch_once(server, folder):
    context = multiprocessing.get_context("spawn")
    both = [
        context.Process(target=_locate, args=(f"{server.url}/slow/file.bin",)) for _ in range(2)
    ]
    for process in both:
        process.start()
    for process in both:
        process.join(60)
    assert [process.exitcode for process in both] == [0, 0]
    assert server.requests == ["/slow/file.bin"]
    assert (folder / "set" / "file.bin").read_bytes() == CONTENT
    assert left_in(folder) == ["file.bin"]


def test_a_damaged_file_is_named_with_what_was_expected_and_not_touched(folder):
    path = folder / "mnist" / "train-images-idx3-ubyte.gz"
    path.parent.mkdir()
    path.write_bytes(b"half a file")
    with pytest.raises(data.DataError) as caught:
        data.mnist()
    message = str(caught.value)
    assert str(path) in message and images.MNIST_FILES[0].sha256 in message
    assert images.MNIST_FILES[0].urls[0] in message and "\n" not in message
    assert path.read_bytes() == b"half a file"


def small_mnist(monkeypatch, url):
    """Three images and their labels in MNIST's format, and the files' bytes by name."""
    header = bytes([0, 0, 8, 3]) + b"".join(n.to_bytes(4, "big") for n in (3, 28, 28))
    pixels = bytes(i % 251 for i in range(3 * 784))
    labels = bytes([0, 0, 8, 1]) + (3).to_bytes(4, "big") + bytes([7, 2, 1])
    contents = [gzip.compress(c) for c in (header + pixels, labels)] * 2
    served = [
        files.RemoteFile(file.name, files.digest(content), (url,))
        for file, content in zip(images.MNIST_FILES, contents, strict=True)
    ]
    monkeypatch.setattr(images, "MNIST_FILES", tuple(served))
    return {f.name: c for f, c in zip(served, contents, strict=True)}, pixels


@pytest.mark.parametrize("layout", ["mnist", "."])
def test_idx_files_are_read_in_either_layout(folder, monkeypatch, layout):
    contents, pixels = small_mnist(monkeypatch, UNREACHABLE)
    (folder / layout).mkdir(exist_ok=True)
    for name, content in contents.items():
        (folder / layout / name).write_bytes(content)
    digits = data.mnist()
    assert digits.name == "MNIST" and not digits.stand_in
    assert digits.train.shape == (3, 1, 28, 28) and digits.train.dtype == torch.uint8
    assert bytes(digits.train.flatten().tolist()) == pixels
    assert digits.test_labels.tolist() == [7, 2, 1]


def test_without_network_the_stand_in_is_loud_and_named(folder, monkeypatch):
    small_mnist(monkeypatch, UNREACHABLE)
    with pytest.warns(data.StandInWarning, match="NO NETWORK.*no figure.*MNIST"):
        digits = data.mnist()
    assert digits.name == "digits stand-in" and digits.stand_in
    assert digits.train.shape == (1500, 1, 28, 28) and digits.test.shape == (297, 1, 28, 28)
    with pytest.raises(data.NoNetwork):
        data.mnist(stand_in=False)


def test_an_error_that_is_not_the_network_does_not_bring_the_stand_in(server, folder, monkeypatch):
    small_mnist(monkeypatch, f"{server.url}/missing/x")
    with pytest.raises(data.DataError, match="404"):
        data.mnist()


@pytest.mark.parametrize("load", [data.mnist, data.cifar10, data.text8])
def test_a_stand_in_that_was_asked_for_touches_no_network(folder, monkeypatch, load):
    def fail(*args, **kwargs):
        raise AssertionError("the network was touched")

    monkeypatch.setattr("socket.socket.connect", fail)
    found = load(stand_in=True)
    assert "stand-in" in found.name and found.stand_in
    assert left_in(folder) == []


def test_the_stand_ins_are_what_scikit_learn_says_they_are():
    from sklearn.datasets import load_digits

    digits, found = load_digits(), data.mnist(stand_in=True)
    assert torch.cat([found.train_labels, found.test_labels]).tolist() == list(digits.target)
    # Enlarged, but as bright where the small digit is: its mean over the image is kept.
    images = torch.cat([found.train, found.test]).double()
    small = torch.from_numpy(digits.images / 16).mean((1, 2)) * (20 / 28) ** 2
    assert (images.mean((1, 2, 3)) / 255 - small).abs().max() < 0.01


def test_photograph_crops_do_not_overlap_between_training_and_test():
    crops = data.cifar10(stand_in=True)
    assert crops.train.shape[1:] == crops.test.shape[1:] == (3, 32, 32)
    assert len(crops.train) > 1500 and len(crops.test) > 200
    # A shared row of 32 pixels of a photograph would be found in both.
    rows = [
        set(map(bytes, part[:, 0, ::16].reshape(-1, 32).numpy()))
        for part in (crops.train, crops.test)
    ]
    common = rows[0] & rows[1]
    assert all(len(set(row)) < 8 for row in common)  # flat sky can repeat by chance


def test_cifar_records_are_label_then_planes():
    content = bytes([3]) + bytes([1]) * 1024 + bytes([2]) * 1024 + bytes([9]) * 1024
    labels, pixels = images._records(content * 2)
    assert labels.tolist() == [3, 3] and pixels.shape == (2, 3, 32, 32)
    assert pixels[0].float().mean((1, 2)).tolist() == [1, 2, 9]


def test_binarisation_is_drawn_per_pixel_and_anew():
    pixels = torch.arange(256, dtype=torch.uint8).repeat(4000, 1)
    generator = torch.Generator().manual_seed(0)
    x = data.binarise(pixels, generator=generator)
    assert x.dtype == torch.int64 and set(x.unique().tolist()) == {0, 1}
    wanted = torch.arange(256) / 255
    error = (x.float().mean(0) - wanted).abs() / (wanted * (1 - wanted) / 4000 + 1e-9).sqrt()
    assert error.max() < 4.5  # standard errors, over 256 of them
    assert (x[:, 0] == 0).all() and (x[:, 255] == 1).all()
    # Two pixels of one image are independent, given their grey: one threshold per image fails this.
    a, b = x[:, 100].double(), x[:, 150].double()
    assert (a * b).mean() - a.mean() * b.mean() == pytest.approx(0, abs=0.02)
    assert not torch.equal(x, data.binarise(pixels, generator=generator))
    again = data.binarise(pixels, generator=torch.Generator().manual_seed(0))
    assert torch.equal(x, again)


@pytest.mark.parametrize("bins", [2, 16, 256])
def test_quantisation_gives_bin_centres_of_equal_share(bins):
    pixels = torch.arange(256, dtype=torch.uint8)
    x = data.quantise(pixels, bins)
    centres = (2 * torch.arange(bins) + 1) / bins - 1
    values, counts = x.unique(return_counts=True)
    assert torch.allclose(values, centres) and (counts == 256 // bins).all()
    assert (x.diff() >= 0).all()
    if bins == 256:
        assert torch.equal(data.to_bytes(x), pixels)


@pytest.mark.parametrize("bins", [1, 257, True, 16.0])
def test_quantise_names_bad_bins(bins):
    with pytest.raises(ValueError, match=f"bins must be .*got {bins}"):
        data.quantise(torch.zeros(1, dtype=torch.uint8), bins)


BYTES = torch.arange(256, dtype=torch.uint8)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_pixels_in_floats_from_0_to_1_are_taken_for_the_same_bytes(dtype):
    """As torchvision, imageio and the like give them: 1 is white, not the byte 1."""
    shares = (BYTES.double() / 255).to(dtype)
    for bins in (2, 16, 256):
        assert torch.equal(data.quantise(shares, bins), data.quantise(BYTES, bins))
    ink = data.binarise(shares.repeat(2000, 1), generator=torch.Generator().manual_seed(0))
    same = data.binarise(BYTES.repeat(2000, 1), generator=torch.Generator().manual_seed(0))
    assert ink.dtype == torch.int64
    if dtype in (torch.float64, torch.float32):
        assert torch.equal(ink, same)
    else:  # the shares themselves are rounded
        assert (ink.float().mean(0) - same.float().mean(0)).abs().max() < 0.005


def test_pixels_in_bools_are_black_and_white():
    ink = torch.tensor([[True, False], [False, True]])
    assert torch.equal(data.binarise(ink), ink.long())
    assert torch.equal(data.quantise(ink, 4), torch.where(ink, 0.75, -0.75))


@pytest.mark.parametrize("take", [data.binarise, data.quantise])
@pytest.mark.parametrize(
    ("pixels", "complaint"),
    [
        (BYTES.int() * 257, "got torch.int32.*16-bit numbers by"),
        (BYTES.long(), r"got torch.int64.*pixels.to\(torch.uint8\)"),
        (torch.tensor([0, 1]), "got torch.int64.*zeros and ones by pixels.bool"),
        (BYTES.float(), "torch.float32 must be in .*got values from 0 to 255.*pixels / 255"),
        (BYTES / 127.5 - 1, r"got values from -1 to 1.*\(pixels \+ 1\) / 2"),
        (torch.tensor([0.5, float("nan")]), "without NaN"),
        (BYTES.numpy(), "got <class 'numpy.ndarray'>; torch.as_tensor makes one"),
    ],
    ids=["16-bit", "int64", "zeros-and-ones", "float-bytes", "minus-1-to-1", "NaN", "numpy"],
)
def test_pixels_that_might_mean_anything_are_refused_by_name(take, pixels, complaint):
    with pytest.raises(ValueError, match=f"pixels .*{complaint}"):
        take(pixels)


def test_to_bytes_refuses_whole_numbers_and_takes_16_bits():
    x = data.quantise(BYTES)
    for dtype in (torch.float64, torch.float16, torch.bfloat16):
        assert torch.equal(data.to_bytes(x.to(dtype)), BYTES)
    with pytest.raises(ValueError, match="x must be a float tensor.*got torch.int64"):
        data.to_bytes(BYTES.long())


def test_shades_are_of_one_channel_from_black_to_white():
    classes = torch.tensor([[[0, 1]]])  # one image of one row
    assert torch.equal(data.shades(classes), torch.tensor([[[0.0, 1.0]]]))
    numbers = torch.tensor([-1.0, 0.0, 1.0]).view(1, 3, 1, 1).expand(1, 3, 2, 2)
    assert torch.equal(data.shades(numbers), torch.zeros(1, 2, 2))
    assert torch.equal(data.shades(numbers[:, 2:]), torch.ones(1, 2, 2))


@pytest.mark.parametrize(
    ("classes", "complaint"),
    [
        (torch.tensor([3, -1]), "classes must lie in 0…26, got values from -1 to 3"),
        (torch.tensor([[3, 27]]), "classes must lie in 0…26"),
        (torch.tensor([3.0]), "classes must be a tensor of whole numbers, got torch.float32"),
        ([3], "classes must be .* got <class 'list'>"),
    ],
)
def test_decoding_refuses_what_is_no_class(classes, complaint):
    """−1 would be a z."""
    with pytest.raises(ValueError, match=complaint):
        data.decode(classes)
    with pytest.raises(ValueError, match=complaint.replace("classes", "x").replace("26", "11")):
        sums().decode(classes)
    assert data.decode(np.array([[1], [2]])) == ["a", "b"]


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"std": 0.0}, "std must be above 0"),
        ({"means": ()}, "means must hold at least one"),
        ({"weights": (1.0, 1.0)}, "weights must be 4 numbers"),
        ({"weights": (1.0, 1.0, 1.0, -1.0)}, "weights must be 4 numbers, nonnegative"),
        ({"weights": (0.0, 0.0, 0.0, 0.0)}, "sum above 0"),
    ],
)
def test_a_mixture_that_is_none_is_refused(options, complaint):
    with pytest.raises(ValueError, match=complaint):
        GaussianMixture(**options)


def test_a_mixtures_draws_follow_its_density():
    mixture = GaussianMixture((-0.5, 0.25), 0.1, (1.0, 3.0))
    fine = torch.linspace(-1, 1, 2001, dtype=torch.float64)
    mass = torch.cat([torch.zeros(1), torch.cumulative_trapezoid(mixture.density(fine), fine)])
    assert float(mass[-1]) == pytest.approx(1, abs=1e-5)
    drawn = mixture.sample(100_000, torch.Generator().manual_seed(0)).squeeze(1).double()
    shares = torch.histc(drawn, 20, -1, 1) / len(drawn)
    torch.testing.assert_close(shares, mass[::100].diff(), rtol=0, atol=0.005)
    points, weights = mixture.grid(401)
    assert float(weights.sum()) == pytest.approx(1, abs=1e-5)
    assert float(weights @ points.squeeze(1)) == pytest.approx(0.0625, abs=1e-4)  # ¾ ¼ − ¼ ½


@pytest.mark.parametrize("t", [0.02, 0.3, 0.7, 1.0])
def test_a_mixtures_guess_is_that_of_the_perfect_network(t):
    mixture = GaussianMixture(weights=(1.0, 2.0, 3.0, 4.0))
    perfect = ExactBFN(ContinuousFlow(0.05), *mixture.grid(1201))
    beta = float(perfect.flow.beta(torch.tensor(t, dtype=torch.float64)))
    mu = torch.tensor([-0.9, -0.31, 0.0, 0.02, 0.6], dtype=torch.float64)
    theta = GaussianParameters(mu.unsqueeze(1), torch.full((5,), 1 + beta, dtype=torch.float64))
    expected = perfect.output(theta, t).mean[:, 0].double()
    torch.testing.assert_close(mixture.guess(mu, beta), expected, atol=2e-4, rtol=0)


def test_a_mixtures_posterior_is_the_density_that_bayes_rule_gives():
    mixture = GaussianMixture((-0.5, 0.3), 0.15, (3.0, 1.0))
    v = torch.linspace(-3, 3, 6001, dtype=torch.float64)
    mu, beta = torch.tensor([[0.2], [-0.4]], dtype=torch.float64), torch.tensor([[7.0], [0.5]])
    evidence = (1 + beta) * mu / beta  # the mean of all messages, with their accuracy beta
    expected = mixture.density(v) * torch.exp(-0.5 * beta * (v - evidence) ** 2)
    expected /= torch.trapezoid(expected, v).unsqueeze(1)
    weights, means, std = mixture.posterior(mu, beta)
    assert weights.shape == means.shape == (2, 1, 2) and std.shape == (2, 1)
    for row in range(2):
        parts = tuple(means[row, 0].tolist()), float(std[row]), tuple(weights[row, 0].tolist())
        torch.testing.assert_close(GaussianMixture(*parts).density(v), expected[row], atol=1e-6,
                                   rtol=0)


def test_a_density_at_whole_numbers_is_refused():
    """In whole numbers all means would be 0."""
    with pytest.raises(ValueError, match="x must be a float tensor, got torch.int64"):
        GaussianMixture().density(torch.tensor([0, 1]))


def test_text_is_normalised_to_27_symbols():
    assert data.normalise("Anno 42: «Élan»,\n\tnaïve--") == "anno four two elan naive"
    assert data.normalise("№5 𝐁𝐈𝐆 ﬁsh") == "no five big fish"
    assert data.normalise("łódź Ødegård đak Straße GROẞ") == "lodz odegard dak strasse gross"
    assert data.normalise("ÆSIR œuvre þing ısı İzmir ǿ ħ") == "aesir oeuvre thing isi izmir o h"
    assert data.normalise("Ελλάδα 語 × ®") == ""
    sentence = "the quick brown fox"
    classes = data.encode(sentence)
    assert classes.dtype == torch.uint8 and classes[:5].tolist() == [20, 8, 5, 0, 17]
    assert data.decode(classes) == sentence
    assert data.decode(classes.repeat(2, 1)) == [sentence] * 2
    with pytest.raises(ValueError, match="'Q'"):
        data.encode("the Quick")


def test_any_text_file_can_stand_in(tmp_path):
    path = tmp_path / "book.txt"
    path.write_text("Call me Ishmael. " * 200, "utf-8")
    book = data.text_file(path)
    whole = torch.cat([book.train, book.validation, book.test])
    assert book.name == "book.txt" and data.decode(whole[:16]) == "call me ishmael "
    assert len(book.test) == len(book.validation) == len(whole) // 20
    path.write_text("short", "utf-8")
    with pytest.raises(data.DataError, match="has only 5 characters"):
        data.text_file(path)
    with pytest.raises(data.DataError, match="No such file"):
        data.text_file(tmp_path / "absent.txt")


SYMBOLS = "".join(map(chr, range(0x4E00, 0x4E00 + 300)))


@pytest.mark.parametrize(("alphabet", "complaint"), [
    (SYMBOLS, "an alphabet has 1 to 256 symbols, got 300"),
    ("", "an alphabet has 1 to 256 symbols, got 0"),
])
def test_an_alphabet_that_no_byte_can_count_is_refused(alphabet, complaint, tmp_path):
    with pytest.raises(ValueError, match=complaint):
        text.encode(SYMBOLS, alphabet)
    (tmp_path / "own.txt").write_text(4 * SYMBOLS, "utf-8")
    with pytest.raises(ValueError, match=complaint):
        data.text_file(tmp_path / "own.txt", alphabet)


def test_classes_in_few_bits_are_compared_with_numbers_that_need_more():
    classes = torch.tensor([1, 2], dtype=torch.int8)
    assert text.decode(classes, SYMBOLS[:200]) == SYMBOLS[1:3]
    with pytest.raises(ValueError, match="must lie in 0…199, got values from -1 to 2"):
        text.decode(torch.tensor([-1, 2], dtype=torch.int8), SYMBOLS[:200])


def test_the_prefix_of_text8_is_named_as_such(folder, monkeypatch):
    content = b"anarchism originated as a term of abuse " * 100
    monkeypatch.setattr(
        text, "TEXT8_PREFIX", files.RemoteFile("text8.prefix", files.digest(content), ("",))
    )
    (folder / "text8.prefix").write_bytes(content)
    found = data.text8()
    assert found.name == "text8 prefix"
    assert [len(p) for p in (found.train, found.validation, found.test)] == [3600, 200, 200]


def test_importing_data_does_not_import_what_only_some_data_needs():
    code = "import sys, bfn_core.data; print({'sklearn', 'pooch', 'requests'} & set(sys.modules))"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=True
    )
    assert result.stdout.strip() == "set()"


@pytest.mark.skipif(not (REAL / "unpack.py").exists(), reason="the real data are not beside us")
def test_the_real_files_are_read(folder):
    subprocess.run(
        [sys.executable, REAL / "unpack.py", folder, "mnist", "text8"],
        check=True,
        capture_output=True,
    )
    digits = data.mnist()
    assert digits.name == "MNIST" and not digits.notice
    assert digits.train.shape == (60000, 1, 28, 28) and digits.test.shape == (10000, 1, 28, 28)
    assert digits.train_labels[:5].tolist() == [5, 0, 4, 1, 9]
    assert data.decode(data.text8().train[:20]) == " anarchism originate"


def test_a_ring_is_round_and_the_same_for_the_same_seed():
    x = ring(500, seed=0)
    assert x.shape == (500, 2) and x.norm(dim=1).mean() == pytest.approx(0.7, abs=0.01)
    assert x.mean(0).abs().max() < 0.1
    assert torch.equal(x, ring(500, seed=0)) and not torch.equal(x, ring(500, seed=1))


def test_letters_agree_as_often_as_they_should():
    words, weights = two_letters(0.7)
    assert float(weights.sum()) == pytest.approx(1)
    same = words[:, 0] == words[:, 1]
    assert float(weights[same].sum()) == pytest.approx(0.7 + 0.3 / 3)
    for letter in range(2):
        shares = torch.zeros(3).double().index_add_(0, words[:, letter], weights)
        assert torch.allclose(shares, torch.full((3,), 1 / 3).double())
